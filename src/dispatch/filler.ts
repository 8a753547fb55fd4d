// Owns filling the Redis index from Postgres: what is due within the horizon, queue by queue, anew where entries were lost.

import { v7 as uuidv7 } from "uuid";
import { horizonMs } from "../due-index/due-index.ts";
import type { SwitchingIndex } from "../due-index/switching-index.ts";
import type { Clock } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import type { Database } from "../store/database.ts";
import { type DuePosition, readWindow } from "../store/due.ts";
import { leastId } from "../store/task-rows.ts";

const pageRowsMax = 2_000;
/** A queue is filled further once its mark is this much short of the horizon. */
const stepMs = 30_000;
/** The last part of what was filled is read again, for rows committed behind the reader's back. */
const overlapMs = 60_000;

export class Filler {
  readonly #database: Database;
  readonly #index: SwitchingIndex;
  readonly #clock: Clock;
  readonly #filling = new Set<string>();

  constructor({ database, index, clock }: { database: Database; index: SwitchingIndex; clock: Clock }) {
    this.#database = database;
    this.#index = index;
    this.#clock = clock;
  }

  /** Looks at each queue's fill mark and fills what is missing; at least one queue, so that Redis is found when it comes back. */
  async fillQueues(queues: readonly string[]): Promise<void> {
    await Promise.allSettled((queues.length === 0 ? ["default"] : queues).map((queue) => this.#fillQueue(queue)));
  }

  async #fillQueue(queue: string): Promise<void> {
    if (this.#filling.has(queue)) return;
    this.#filling.add(queue);
    try {
      const token = uuidv7();
      const until = this.#clock.now() + horizonMs;
      const filledUntil = await this.#index.beginFill(queue, token);
      failpoint("fill.begun");
      if (filledUntil === 0) this.#index.distrust(queue);
      if (filledUntil > until - stepMs) await this.#index.endFill(queue, token, filledUntil);
      else await this.#fillFrom(queue, token, { from: filledUntil === 0 ? 0 : filledUntil - overlapMs, until });
    } finally {
      this.#filling.delete(queue);
    }
  }

  /** Pages go in due order and the mark moves with each, so that the near future is served while the rest is still read. */
  async #fillFrom(queue: string, firstToken: string, { from, until }: { from: number; until: number }): Promise<void> {
    let position: DuePosition = { queue, nextAttemptAt: from, id: leastId };
    let token = firstToken;
    while (true) {
      const rows = await this.#database.query((connection) =>
        readWindow(connection, position, { until, limit: pageRowsMax }),
      );
      await this.#index.put(rows.map(({ id, nextAttemptAt }) => ({ queue, id, at: nextAttemptAt })));
      if (rows.length > 0) failpoint("fill.entered");
      const last = rows.at(-1);
      const isLastPage = rows.length < pageRowsMax || last === undefined;
      const isWhole = await this.#index.endFill(queue, token, isLastPage ? until : last.nextAttemptAt);
      if (isLastPage || !isWhole) return;
      token = uuidv7();
      const mark = await this.#index.beginFill(queue, token);
      if (mark === 0 && last.nextAttemptAt > 0) return this.#index.distrust(queue);
      position = { queue, nextAttemptAt: last.nextAttemptAt, id: last.id };
    }
  }
}
