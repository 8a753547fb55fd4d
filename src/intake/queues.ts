// Owns what callers may do to queues.

import type { Clock } from "../runtime/clock.ts";
import type { Database } from "../store/database.ts";
import {
  cancelWaiting,
  changeQueue,
  listQueues,
  type QueuePageRequest,
  readQueue,
  readWaiting,
  type WaitingPosition,
} from "../store/queue-settings.ts";
import type { ForecastWindow } from "../store/forecast.ts";
import { QueueStatsReader } from "../store/queue-stats.ts";
import { type KnownQueues, makeQueues } from "../store/queues.ts";
import type { Reach } from "../store/reach.ts";
import type { Queue, QueueChanges, QueueStats } from "../task/queue.ts";
import { type Forecast, readForecast } from "./forecast.ts";
import type { IntakeSignals } from "./signals.ts";

/** Tasks that a purge cancels in one transaction: what falls due meanwhile, and whoever waits for one of them, is held up little. */
const purgedTogetherMax = 1_000;

export interface QueuesParts {
  readonly database: Database;
  readonly queues: KnownQueues;
  readonly clock: Clock;
  readonly signals: IntakeSignals;
}

/** Null, where something resolves to it: there is no queue of the name. */
export class Queues {
  readonly #parts: QueuesParts;
  readonly #stats: QueueStatsReader;

  constructor(parts: QueuesParts) {
    this.#parts = parts;
    this.#stats = new QueueStatsReader(parts.database);
  }

  /** A page by name; `next`: what the next one begins after. */
  async list(reach: Reach, { after, limit }: QueuePageRequest): Promise<{ items: Queue[]; next: string | null }> {
    const page = { after, limit: limit + 1 };
    const found = await this.#parts.database.query((connection) => listQueues(connection, reach, page));
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? (items.at(-1)?.name ?? null) : null };
  }

  read(name: string): Promise<Queue | null> {
    return this.#parts.database.query((connection) => readQueue(connection, name));
  }

  /** Makes the queue where it is new, and changes what is given. */
  async put(name: string, changes: QueueChanges): Promise<Queue> {
    await this.#parts.database.patient.query((connection) => makeQueues(connection, [name]));
    const queue = await this.change(name, changes);
    if (queue === null) throw new Error(`the queue ${name} was made, and is not there`);
    return queue;
  }

  /** Changes a queue that is there. Dispatchers are told: what a queue that was paused or full held back goes on at once. */
  async change(name: string, changes: QueueChanges): Promise<Queue | null> {
    const { database, queues, signals } = this.#parts;
    const queue = await database.patient.query(async (connection) => {
      const changed = await changeQueue(connection, name, changes);
      if (changed !== null || (await readQueue(connection, name)) === null) return changed;
      // Only SQL has named it yet.
      await makeQueues(connection, [name]);
      return changeQueue(connection, name, changes);
    });
    if (queue === null) return null;
    if (changes.defaults !== undefined) queues.forgetDefaults();
    if (!queue.paused) signals.queueChanged(name);
    return queue;
  }

  /** Cancels all tasks that waited when it was called; resolves to how many. Those that a stranger's lock holds are waited for. */
  async purge(name: string): Promise<number | null> {
    if ((await this.read(name)) === null) return null;
    const createdUntil = this.#parts.clock.after(0);
    let cancelled = 0;
    // One that is paused or resumed meanwhile is met in either state.
    for (const state of ["scheduled", "paused", "scheduled"] as const)
      cancelled += await this.#purgeState(name, state, createdUntil);
    return cancelled;
  }

  forecast(name: string, window: ForecastWindow): Promise<Forecast | null> {
    return readForecast(this.#parts.database, name, { window });
  }

  async stats(name: string): Promise<QueueStats | null> {
    return (await this.read(name)) === null ? null : this.#stats.read(name);
  }

  async #purgeState(queue: string, state: "scheduled" | "paused", createdUntil: number): Promise<number> {
    const { database, signals } = this.#parts;
    let cancelled = 0;
    let after: WaitingPosition | null = null;
    while (true) {
      const request = { state, createdUntil, after, limit: purgedTogetherMax };
      const page: WaitingPosition[] = await database.query((connection) => readWaiting(connection, queue, request));
      after = page.at(-1) ?? null;
      if (after === null) return cancelled;
      const ids = page.map(({ id }) => id);
      const rows = await database.patient.query((connection) => cancelWaiting(connection, ids));
      signals.gone(rows.map(({ id }) => ({ queue, id })));
      cancelled += rows.length;
    }
  }
}
