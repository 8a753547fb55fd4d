// Owns healing: once a second it compares what Postgres says is due with what the lanes do, and takes over from the dead.

import type { DueIndex } from "../due-index/due-index.ts";
import { failpoint } from "../runtime/failpoint.ts";
import { DeepLooks, latestMs } from "../runtime/deep-looks.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import { readClaimed, readOwned } from "../store/claims.ts";
import type { Database } from "../store/database.ts";
import { type DuePosition, type DueRow, readDueSoon } from "../store/due.ts";
import { adoptNewQueues } from "../store/queues.ts";
import { declareDead, takeOver } from "../store/owners.ts";
import type { Lease } from "./lease.ts";

/** How far ahead rows are entered that the index may not know; what was committed this long before its time is on time. */
const aheadMs = 3_000;
const rowsPerQueueMax = 2_000;

export interface HealerParts {
  readonly database: Database;
  readonly index: DueIndex;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Queues whose lanes have no free slot: what is due there waits for one, not for healing. */
  readonly fullQueues: () => readonly string[];
  readonly isInFlight: (id: string) => boolean;
  /** Due rows that no lane has claimed yet. */
  readonly onDue: (queue: string, ids: readonly string[]) => void;
  /** A row will be due at `at`. */
  readonly onSoon: (queue: string, at: number) => void;
  /** A task that this process owns and must fire. */
  readonly onClaimed: (task: ClaimedTask, lease: Lease) => void;
}

export class Healer {
  readonly #parts: HealerParts;
  /** Where each queue's last page ended that was full, so that rows which cannot be claimed do not hide the ones behind them. */
  #positions = new Map<string, DuePosition>();
  readonly #deepLooks = new DeepLooks();
  /** Owned rows that were not in flight here at the last look, by attempt. */
  #strays = new Map<string, number>();

  constructor(parts: HealerParts) {
    this.#parts = parts;
  }

  /** Hands rows already due to their lanes, and enters those due within 3 s into the index, where an entry only ever moves forward. */
  async healDue(): Promise<void> {
    const { database, index, onDue, onSoon, metrics, fullQueues, isInFlight } = this.#parts;
    await database.query(adoptNewQueues);
    const rows = await this.#deepLooks.look((isWhole) =>
      database.query((connection) =>
        readDueSoon(connection, {
          aheadMs,
          // What fell due longer ago was seen ten times.
          backMs: isWhole ? null : latestMs,
          limit: rowsPerQueueMax,
          except: fullQueues(),
          after: [...this.#positions.values()],
        }),
      ),
    );
    failpoint("heal.read");
    const byQueue = Map.groupBy(rows, (row) => row.queue);
    this.#positions = nextPositions(byQueue);
    const soon = rows.filter((row) => !row.isDue);
    if (soon.length > 0)
      await index
        .put(soon.map(({ queue, id, nextAttemptAt }) => ({ queue, id, at: nextAttemptAt })))
        .catch(() => undefined);
    if (soon.length > 0) failpoint("heal.entered");
    for (const [queue, ofQueue] of byQueue) {
      const due = ofQueue.filter((row) => row.isDue && !isInFlight(row.id)).map((row) => row.id);
      metrics.event("due.healed", due.length);
      if (due.length > 0) onDue(queue, due);
      const next = ofQueue.find((row) => !row.isDue);
      if (next !== undefined) onSoon(queue, next.nextAttemptAt);
    }
  }

  /** Takes over what the dead had in flight. Only one who has been connected for a whole lease judges others. */
  async takeOverFromDead(lease: Lease): Promise<void> {
    const { database, index, log, metrics, onClaimed } = this.#parts;
    if (!lease.mayTakeOver) return;
    for (const dead of await database.query((connection) => declareDead(connection, lease.id))) {
      failpoint("takeover.declared");
      for (let isComplete = false; !isComplete && lease.mayTakeOver; ) {
        const taken = await takeOver(database, dead, lease.id);
        const count = taken.claimed.length + taken.released.length;
        if (count > 0) failpoint("takeover.committed");
        metrics.event("attempt.lost", count);
        if (count > 0) log.warn({ dispatcher: dead, tasks: count }, "dispatcher.taken_over");
        for (const task of taken.claimed) onClaimed(task, lease);
        if (count > 0) failpoint("takeover.fired");
        const ended = taken.released.filter((task) => task.isEnded);
        await index.remove(ended).catch(() => undefined);
        // Nothing more to be had now: complete, or held by another taker or a stranger's lock.
        isComplete = taken.isComplete || count === 0;
      }
    }
  }

  /**
   * Finds tasks that this process owns and does not know: won by a claim whose answer was lost, or withheld while its lease was in doubt.
   * One seen at two looks in a row is fired: a claim's answer takes less.
   */
  async adoptStrays(lease: Lease): Promise<void> {
    const { database, isInFlight, onClaimed, metrics } = this.#parts;
    if (!lease.maySend) return;
    const owned = await database.query((connection) => readOwned(connection, lease.id));
    const unknown = owned.filter((task) => !isInFlight(task.id));
    const ids = unknown.filter(({ id, attempt }) => this.#strays.get(id) === attempt).map(({ id }) => id);
    const strays = ids.length === 0 ? [] : await database.query((connection) => readClaimed(connection, lease.id, ids));
    for (const task of strays) {
      if (isInFlight(task.id)) continue;
      failpoint("heal.stray_found");
      metrics.event("claim.adopted");
      onClaimed(task, lease);
    }
    this.#strays = new Map(unknown.filter((task) => !isInFlight(task.id)).map((task) => [task.id, task.attempt]));
  }
}

function nextPositions(byQueue: ReadonlyMap<string, readonly DueRow[]>): Map<string, DuePosition> {
  const positions = new Map<string, DuePosition>();
  for (const [queue, rows] of byQueue) {
    const last = rows.at(-1);
    if (last !== undefined && rows.length >= rowsPerQueueMax)
      positions.set(queue, { queue, nextAttemptAt: last.nextAttemptAt, id: last.id });
  }
  return positions;
}
