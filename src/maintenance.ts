// Owns what runs beside everything else: measuring Postgres's clock, the heartbeat, and removing what is past.

import { v7 as uuidv7 } from "uuid";
import { type Clock, monotonicMs } from "./runtime/clock.ts";
import { DeepLooks } from "./runtime/deep-looks.ts";
import type { Log } from "./runtime/log.ts";
import { RunLoop } from "./runtime/run-loop.ts";
import type { Database } from "./store/database.ts";
import { removeExpiredApiKeys } from "./store/api-keys.ts";
import { beat } from "./store/catch-up.ts";
import { readTime } from "./store/due.ts";
import { failureLevel } from "./store/errors.ts";
import { removeOldEvents } from "./store/events.ts";
import { removeOldAnswers } from "./store/idempotency.ts";
import { removeOldActivity } from "./store/queue-stats.ts";
import { foldTallies, pruneEnded, removeSpentTombstones } from "./store/retention.ts";

const measureMs = 10_000;
/** After a failed measurement: Postgres is away, and its clock may be another server's when it is back. */
const measureAgainMs = 500;
const removeMs = 5_000;
const foldMs = 60_000;
/** Rows a removal takes at most: a short transaction, so that firing never waits for it. */
const removedMax = 1_000;
/** Ended tasks are removed in still smaller parts, each with a rest as long as it took: what ended in a burst, too, is due at once. */
const prunedMax = 500;
const pruneMs = 1_000;

export interface MaintenanceParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly retentionMs: number;
  /** Whether this process dispatches: such a one removes what is past, and its heart beats. */
  readonly isDispatching: boolean;
}

export class Maintenance {
  readonly #parts: MaintenanceParts;
  readonly #measuring: RunLoop;
  readonly #removing: RunLoop;
  readonly #pruning: RunLoop;
  #foldedAtMs = Number.NEGATIVE_INFINITY;
  readonly #deepPrunes = new DeepLooks();
  /** When the last task that was removed had ended. */
  #prunedUntil: number | null = null;

  constructor(parts: MaintenanceParts) {
    this.#parts = parts;
    this.#measuring = new RunLoop({
      tick: () => this.#measure(),
      onError: () => parts.clock.forget(),
      errorSleepMs: measureAgainMs,
    });
    const onError = (error: unknown): void =>
      parts.log[failureLevel(error)]({ err: error }, "maintenance.round_failed");
    this.#removing = new RunLoop({ tick: () => this.#remove(), onError, errorSleepMs: removeMs });
    this.#pruning = new RunLoop({ tick: () => this.#prune(), onError, errorSleepMs: removeMs });
  }

  start(): void {
    this.#measuring.start();
    if (this.#parts.isDispatching) for (const loop of [this.#removing, this.#pruning]) loop.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#measuring, this.#removing, this.#pruning].map((loop) => loop.stop()));
  }

  /** One measurement a round; a series where the ones before count no more. */
  async #measure(): Promise<number> {
    const { clock, database } = this.#parts;
    if (clock.isMeasured) await clock.measure(() => readTime(database));
    else await clock.settle(() => readTime(database));
    return measureMs;
  }

  async #prune(): Promise<number> {
    const { database, retentionMs } = this.#parts;
    const startedMs = monotonicMs();
    const pruned = await this.#deepPrunes.look((isWhole) =>
      pruneEnded(database, uuidv7(), { retentionMs, limit: prunedMax, from: isWhole ? null : this.#prunedUntil }),
    );
    this.#prunedUntil = pruned.lastEndedAt ?? this.#prunedUntil;
    return pruned.count < prunedMax ? pruneMs : monotonicMs() - startedMs;
  }

  /** Goes on at once while there is a full batch to remove. */
  async #remove(): Promise<number> {
    const { database } = this.#parts;
    await database.query(beat);
    await database.query(removeExpiredApiKeys);
    const counts = [
      await database.query((connection) => removeSpentTombstones(connection, removedMax)),
      await database.query((connection) => removeOldAnswers(connection, removedMax)),
      await database.query((connection) => removeOldEvents(connection, removedMax)),
      await database.query((connection) => removeOldActivity(connection, removedMax)),
    ];
    if (monotonicMs() - this.#foldedAtMs >= foldMs) {
      // Each flush and each removal leaves one: thousands a minute.
      const isMore = await foldTallies(database, uuidv7());
      if (!isMore) this.#foldedAtMs = monotonicMs();
    }
    return counts.some((count) => count >= removedMax) ? 0 : removeMs;
  }
}
