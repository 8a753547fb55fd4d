// Owns what arrivals meet that find their key taken and would not replace: one read for all that wait side by side, and no transaction.

import type { Clock } from "../runtime/clock.ts";
import { GroupCommit } from "../runtime/group-commit.ts";
import { findStandingByKeys } from "../store/accept.ts";
import type { Arrival } from "../store/arrivals.ts";
import type { Database } from "../store/database.ts";
import { toTasks } from "../store/task-rows.ts";
import { awaitsTombstone } from "../store/tombstones.ts";
import { keyName } from "../task/key-name.ts";
import type { Task } from "../task/task.ts";
import type { AcceptOutcome } from "./outcomes.ts";

/** As many as a flush has. */
const metTogetherMax = 500;

/** What a task that stands, of the hash, means to an arrival that does not replace. */
export function metOutcome({ task }: Arrival, requestHash: string | null, standing: Task): AcceptOutcome {
  const isSame = task.onConflict === "keep" || requestHash === task.requestHash;
  return { kind: isSame ? "existing" : "conflict", task: standing };
}

export class Meeting {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #reads: GroupCommit<Arrival, AcceptOutcome | null>;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
    this.#reads = new GroupCommit({
      write: (arrivals) => this.#meet(arrivals),
      batchMax: metTogetherMax,
      writersMax: 1,
    });
  }

  /** Null where it must be looked at singly: what stands is a tombstone, will be followed by one, is gone again, or would be replaced. */
  async meet(arrival: Arrival): Promise<AcceptOutcome | null> {
    const { key, onConflict } = arrival.task;
    return key === null || onConflict === "replace" ? null : this.#reads.add(arrival);
  }

  #meet(arrivals: readonly Arrival[]): Promise<(AcceptOutcome | null)[]> {
    return this.#database.query(async (connection) => {
      const rows = await findStandingByKeys(connection, arrivals);
      const tasks = await toTasks(connection, rows);
      const byName = new Map(rows.map((row, i) => [keyName(row), { row, task: tasks[i] }]));
      return arrivals.map((arrival) => {
        const { row, task } = byName.get(keyName(arrival.task)) ?? {};
        if (row === undefined || task === undefined || awaitsTombstone(row, this.#clock.now())) return null;
        return row.id === arrival.id ? { kind: "created", task } : metOutcome(arrival, row.request_hash, task);
      });
    });
  }
}
