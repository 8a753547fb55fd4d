// Owns bringing forth tasks: one poll a process for all schedules, each occurrence a task, made and moved on in one transaction.

import type { DueEntry } from "../due-index/due-index.ts";
import { type Clock, monotonicMs } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { RunLoop } from "../runtime/run-loop.ts";
import type { Connection, Database } from "../store/database.ts";
import { failureLevel, isDataFault, LockTimeoutError } from "../store/errors.ts";
import {
  insertOccurrences,
  lockLooks,
  type LookPosition,
  type MadeTask,
  type Move,
  moveOn,
  type NewOccurrence,
  readLooks,
  readNextLookMs,
  setScheduleAside,
} from "../store/occurrences.ts";
import type { ScheduleRow } from "../store/schedule-rows.ts";
import { jitteredDueAt, planOccurrences } from "./plan.ts";
import { takeUpTimeZones } from "./time-zones.ts";

/** The poll that runs underneath, whatever is told. */
const pollMs = 1_000;
const schedulesPerBatchMax = 100;
/** A batch of which the missed occurrences are more ends with the schedule that reaches it. */
const tasksPerBatchMax = 3_000;
/** Schedules looked at this late are behind: their tasks are made less than 10 s ahead. */
const behindMs = 5_000;
/** How often rows are looked for that an older time-zone database reckoned: an older version may run beside this one. */
const timeZonesMs = 60_000;

export interface ProducerParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Of this process: `process.versions.tz`. */
  readonly tzVersion: string;
  /** Tasks wait. A hint, as from intake. */
  readonly onMade: (entries: readonly DueEntry[]) => void;
}

export class Producer {
  readonly #parts: ProducerParts;
  readonly #loop: RunLoop;
  #timeZonesAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: ProducerParts) {
    this.#parts = parts;
    this.#loop = new RunLoop({
      tick: () => this.#tick(),
      onError: (error) => parts.log[failureLevel(error)]({ err: error }, "producer.round_failed"),
      errorSleepMs: pollMs,
    });
  }

  start(): void {
    this.#loop.start();
  }

  /** A schedule was made or changed: a hint, the poll finds it too. */
  wake(): void {
    this.#loop.wake();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  /** Looks at all schedules whose time has come, then sleeps until the next, for a second at most. */
  async #tick(): Promise<number> {
    const { database, metrics, clock, tzVersion } = this.#parts;
    await this.#takeUpTimeZones();
    let behind = 0;
    for (let after: LookPosition | null = null; ; ) {
      const request = { after, limit: schedulesPerBatchMax, tzVersion };
      const looks: LookPosition[] = await database.query((connection) => readLooks(connection, request));
      behind += looks.filter(({ lookAt }) => lookAt < clock.now() - behindMs).length;
      await this.#produce(looks.map(({ id }) => id));
      after = looks.at(-1) ?? null;
      if (looks.length < schedulesPerBatchMax) break;
    }
    metrics.setSchedulesBehind(behind);
    const nextMs = await database.query(readNextLookMs);
    // One that is overdue still is locked by somebody.
    return nextMs === null || nextMs <= 0 ? pollMs : Math.min(pollMs, nextMs);
  }

  async #takeUpTimeZones(): Promise<void> {
    if (monotonicMs() - this.#timeZonesAtMs < timeZonesMs) return;
    await takeUpTimeZones(this.#parts);
    this.#timeZonesAtMs = monotonicMs();
  }

  /** What holds one of them up, a value that the server refuses or a stranger's lock, is found by halving, and harms no other. */
  async #produce(ids: readonly string[]): Promise<void> {
    const [id] = ids;
    if (id === undefined) return;
    try {
      const left = await this.#produceTogether(ids);
      await this.#produce(left);
    } catch (error) {
      if (!isDataFault(error) && !(error instanceof LockTimeoutError)) throw error;
      if (ids.length > 1) {
        const middle = Math.ceil(ids.length / 2);
        await this.#produce(ids.slice(0, middle));
        return this.#produce(ids.slice(middle));
      }
      if (isDataFault(error)) await this.#setAside(id, "a value of it is out of range");
    }
  }

  /** Resolves to those that the batch had no room for. */
  async #produceTogether(ids: readonly string[]): Promise<readonly string[]> {
    const { database, onMade, metrics } = this.#parts;
    const batch = await database.transaction((trx) => this.#makeBatch(trx, ids));
    failpoint("schedule.committed");
    for (const { id, reason } of batch.damaged) await this.#setAside(id, reason);
    metrics.occurrencesMade(batch.tasks.length);
    const waiting = batch.tasks.filter(({ state }) => state === "scheduled");
    if (waiting.length > 0) onMade(waiting.map(({ queue, id, nextAttemptAt }) => ({ queue, id, at: nextAttemptAt })));
    failpoint("schedule.told");
    return batch.left;
  }

  async #makeBatch(trx: Connection, ids: readonly string[]): Promise<Batch> {
    const rows = await lockLooks(trx, ids);
    failpoint("schedule.locked");
    const planned: Planned[] = [];
    const damaged: Batch["damaged"][number][] = [];
    let count = 0;
    for (const row of rows) {
      if (count >= tasksPerBatchMax) break;
      const plan = this.#plan(row);
      if ("reason" in plan) damaged.push({ id: row.id, reason: plan.reason });
      else planned.push(plan);
      count += "reason" in plan ? 0 : plan.occurrences.length;
    }
    const occurrences = planned.flatMap((plan) => plan.occurrences);
    const createdAt = this.#parts.clock.after(0);
    const tasks = occurrences.length === 0 ? [] : await insertOccurrences(trx, occurrences, createdAt);
    const moves = planned.map(({ move }) => move);
    if (moves.length > 0) await moveOn(trx, moves, this.#parts.tzVersion);
    const done = planned.length + damaged.length;
    return { tasks, damaged, left: rows.slice(done).map(({ id }) => id) };
  }

  #plan(row: ScheduleRow): Planned | { readonly reason: string } {
    const { id, now, next_occurrence_at: nextAt, trigger, jitter_ms: jitterMs } = row;
    // Its last occurrence is there, and none follows.
    if (nextAt === null) return { move: { id, nextAt: null, lastAt: null, hasEnded: true }, occurrences: [] };
    try {
      const plan = planOccurrences({ trigger, coalesce: row.coalesce, nextAt }, now);
      const occurrences = plan.occurrences.map((occurrenceAt) => ({
        scheduleId: id,
        occurrenceAt,
        dueAt: jitteredDueAt({ trigger, jitterMs }, occurrenceAt, this.#parts.random),
      }));
      const lastAt = plan.occurrences.at(-1) ?? null;
      return {
        move: { id, nextAt: plan.nextAt, lastAt, hasEnded: plan.nextAt === null && lastAt === null },
        occurrences,
      };
    } catch (error) {
      this.#parts.log.warn({ err: error, scheduleId: id }, "schedule.damaged");
      return { reason: "its trigger cannot be understood" };
    }
  }

  async #setAside(id: string, reason: string): Promise<void> {
    const { database, log, metrics } = this.#parts;
    await setScheduleAside(database, id, `The schedule can bring forth no task: ${reason}`);
    log.error({ scheduleId: id, reason }, "schedule.set_aside");
    metrics.event("schedule.set_aside");
  }
}

interface Planned {
  readonly move: Move;
  readonly occurrences: readonly NewOccurrence[];
}

interface Batch {
  readonly tasks: readonly MadeTask[];
  readonly damaged: readonly { readonly id: string; readonly reason: string }[];
  /** Locked, and with no room in this batch. */
  readonly left: readonly string[];
}
