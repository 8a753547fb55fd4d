// Owns what this process fires, queue by queue, until it is told to Postgres: once a second, so that a queue's statistics hold over all
// processes and cost the attempts themselves nothing. What was not told when a process dies is lost; the attempts are not.

import type { Database } from "../store/database.ts";
import { type Activity, recordActivity } from "../store/queue-stats.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import { latenessBucket } from "../task/lateness.ts";

interface Counting extends Activity {
  fired: number;
  readonly lateness: Map<number, number>;
}

export class ActivityLog {
  readonly #database: Database;
  readonly #owner: () => string;
  #queues = new Map<string, Counting>();

  constructor(database: Database, owner: () => string) {
    this.#database = database;
    this.#owner = owner;
  }

  /** An attempt begins. */
  add({ queue, attempt, attemptsBefore, latenessMs }: ClaimedTask): void {
    const counting = this.#queues.get(queue) ?? { queue, fired: 0, lateness: new Map<number, number>() };
    this.#queues.set(queue, counting);
    counting.fired += 1;
    if (attempt !== attemptsBefore + 1) return;
    const bucket = latenessBucket(latenessMs);
    counting.lateness.set(bucket, (counting.lateness.get(bucket) ?? 0) + 1);
  }

  /** Tells what was added since it last did. Where that fails, it is gone: figures of a minute are not worth a repeat. */
  async tell(): Promise<void> {
    if (this.#queues.size === 0) return;
    const activities = [...this.#queues.values()];
    this.#queues = new Map();
    await this.#database.query((connection) => recordActivity(connection, this.#owner(), activities));
  }
}
