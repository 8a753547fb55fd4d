// Owns what callers may do to schedules: each call once, in one transaction with what it cancels, its outcome a value.

import type { Clock } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import type { Connection, Database } from "../store/database.ts";
import { isUniqueViolation, LockTimeoutError } from "../store/errors.ts";
import { limitLockWaits } from "../store/lock-waits.ts";
import { insertOccurrences } from "../store/occurrences.ts";
import type { KnownQueues } from "../store/queues.ts";
import { findRow } from "../store/reads.ts";
import type { NewSchedule, Schedule, ScheduleChanges, ScheduleDefinition } from "../store/schedule.ts";
import { type ScheduleRow, toDefinition, toSchedule } from "../store/schedule-rows.ts";
import {
  cancelAhead,
  deleteSchedule,
  findSchedule,
  insertSchedule,
  listSchedules,
  lockSchedule,
  lockScheduleByName,
  type ScheduleFilter,
  type ScheduleId,
  type Standing,
  writeSchedule,
} from "../store/schedules.ts";
import { type TaskRow, toOneTask } from "../store/task-rows.ts";
import type { Task } from "../task/task.ts";
import { nextOccurrence } from "../trigger/trigger.ts";
import type { IdempotencyScope, StoredAnswer } from "./idempotency.ts";
import { Once, type OnceOutcome } from "./once.ts";
import { ended, firstStanding, nextStanding, standingOf } from "./schedule-standing.ts";
import type { IntakeSignals } from "./signals.ts";

/** How long a create waits for a lock on a connection that all share; then on one of those for who waits. */
const lockWaitMsMax = 20;
/** How often a name may change hands under a single create before the caller is told to try again. */
const looksMax = 10;

export type CreateScheduleOutcome =
  | { readonly kind: "created"; readonly schedule: Schedule }
  /** A schedule with this name stands: the very same request came before, or the caller said `keep`. */
  | { readonly kind: "existing"; readonly schedule: Schedule }
  /** The standing schedule took the new definition. */
  | { readonly kind: "replaced"; readonly schedule: Schedule }
  /** A schedule has this name; null where the caller cannot see it. Nothing was stored. */
  | { readonly kind: "conflict"; readonly holder: Schedule | null }
  | { readonly kind: "locked" };

/** The outcome of pause, resume and change. */
export type ScheduleOutcome =
  | { readonly kind: "done"; readonly schedule: Schedule }
  | { readonly kind: "wrong-state"; readonly schedule: Schedule }
  | { readonly kind: "version-mismatch"; readonly schedule: Schedule }
  | { readonly kind: "name-conflict" }
  | { readonly kind: "not-found" };

export interface SchedulesParts {
  readonly database: Database;
  readonly queues: KnownQueues;
  readonly clock: Clock;
  readonly signals: IntakeSignals;
  /** Of this process: `process.versions.tz`. */
  readonly tzVersion: string;
  /** A schedule must be looked at soon. A hint. */
  readonly onChanged: () => void;
}

/** What a transaction leaves to be told once it is committed. */
interface Changed<Outcome> {
  readonly outcome: Outcome;
  readonly cancelled: readonly Pick<TaskRow, "id" | "queue">[];
}

export class Schedules {
  readonly #parts: SchedulesParts;
  readonly #once: Once;

  constructor(parts: SchedulesParts) {
    this.#parts = parts;
    this.#once = new Once(parts.database);
  }

  /** Makes a schedule. `reach`: the queues that the caller can see. */
  async create(schedule: NewSchedule, reach: ScheduleId["reach"]): Promise<CreateScheduleOutcome> {
    await this.#parts.queues.ensure([schedule.queue]);
    try {
      const made = await this.#createAtOnce(schedule);
      if (made !== null) return made;
      return await this.#transact((trx) => this.#createIn(trx, schedule, reach));
    } catch (error) {
      if (error instanceof LockTimeoutError) return { kind: "locked" };
      throw error;
    }
  }

  /** Null where its name stands, or is locked. */
  async #createAtOnce(schedule: NewSchedule): Promise<CreateScheduleOutcome | null> {
    const storing = this.#parts.database.transaction(async (trx) => {
      await limitLockWaits(trx, lockWaitMsMax);
      return this.#insertIn(trx, schedule);
    });
    const made = await storing.catch((error: unknown) => {
      if (error instanceof LockTimeoutError) return null;
      throw error;
    });
    if (made === null) return null;
    this.#parts.onChanged();
    return { kind: "created", schedule: made };
  }

  /** The same under an Idempotency-Key; `render` makes the answer that is kept. */
  async createOnce(
    schedule: NewSchedule,
    { reach, idempotency }: { reach: ScheduleId["reach"]; idempotency: IdempotencyScope },
    render: (outcome: CreateScheduleOutcome) => StoredAnswer,
  ): Promise<OnceOutcome> {
    await this.#parts.queues.ensure([schedule.queue]);
    return this.#once.answer<Changed<CreateScheduleOutcome>>({
      idempotency,
      work: (trx) => this.#createIn(trx, schedule, reach),
      render: ({ outcome }) => render(outcome),
      locked: { outcome: { kind: "locked" }, cancelled: [] },
      onCommitted: (changed) => this.#tell(changed),
    });
  }

  read(schedule: ScheduleId): Promise<Schedule | null> {
    return this.#parts.database.query((connection) => findSchedule(connection, schedule));
  }

  list(filter: ScheduleFilter, page: { limit: number; after: string | null }) {
    return listSchedules(this.#parts.database, filter, page);
  }

  /** Changes it in place and reckons anew from now; with `expectedVersion`, only that version of it. A new trigger revives one that has ended. */
  async change(id: ScheduleId, changes: ScheduleChanges, expectedVersion: number | null): Promise<ScheduleOutcome> {
    if (changes.queue !== undefined) await this.#parts.queues.ensure([changes.queue]);
    try {
      return await this.#change(id, async (trx, row) => {
        if (expectedVersion !== null && row.version !== expectedVersion)
          return unchanged({ kind: "version-mismatch", schedule: toSchedule(row) });
        return this.#redefine(trx, row, {
          definition: { ...toDefinition(row), ...changes },
          hasNewTrigger: changes.trigger !== undefined,
        });
      });
    } catch (error) {
      if (isUniqueViolation(error)) return { kind: "name-conflict" };
      throw error;
    }
  }

  /** From here on no task of it begins that has not begun, until it is resumed. */
  pause(id: ScheduleId): Promise<ScheduleOutcome> {
    return this.#change(id, async (trx, row) => {
      if (row.state !== "active") return standing(row, "paused");
      const cancelled = await cancelAhead(trx, row.id, null);
      return { outcome: await this.#write(trx, row, { state: "paused", nextAt: null }), cancelled };
    });
  }

  /** Counts from now: what came during the pause is forgotten. */
  resume(id: ScheduleId): Promise<ScheduleOutcome> {
    return this.#change(id, async (trx, row) => {
      if (row.state !== "paused") return standing(row, "active");
      const nextAt = nextOccurrence(row.trigger, row.now);
      const next: Standing = nextAt === null ? ended : { state: "active", nextAt };
      return unchanged(await this.#write(trx, row, next));
    });
  }

  /** Removes it and cancels what it made ahead; its other tasks stay. False where there is none. */
  async remove(id: ScheduleId): Promise<boolean> {
    return this.#transact(async (trx): Promise<Changed<boolean>> => {
      const row = await lockSchedule(trx, id);
      if (row === null) return unchanged(false);
      const cancelled = await cancelAhead(trx, row.id, null);
      await deleteSchedule(trx, row.id);
      failpoint("define.changed");
      return { outcome: true, cancelled };
    });
  }

  /** Makes a task of it that is due now, whatever its state; null where there is none. */
  async run(id: ScheduleId): Promise<Task | null> {
    const { database, clock, signals } = this.#parts;
    const task = await database.patient.transaction(async (trx) => {
      const row = await lockSchedule(trx, id);
      if (row === null) return null;
      const now = clock.after(0);
      const [made] = await insertOccurrences(trx, [{ scheduleId: row.id, occurrenceAt: null, dueAt: now }], now);
      const stored = made === undefined ? null : await findRow(trx, made.id, null);
      if (stored === null) throw new Error(`the task of schedule ${row.id} was made, and is not there`);
      return toOneTask(trx, stored);
    });
    if (task?.state === "scheduled") signals.due([{ queue: task.queue, id: task.id, at: task.nextAttemptAt }]);
    return task;
  }

  async #createIn(
    trx: Connection,
    schedule: NewSchedule,
    reach: ScheduleId["reach"],
  ): Promise<Changed<CreateScheduleOutcome>> {
    for (let looks = 0; looks < looksMax; looks += 1) {
      const made = await this.#insertIn(trx, schedule);
      if (made !== null) return unchanged({ kind: "created", schedule: made });
      const row = await lockScheduleByName(trx, schedule.name);
      if (row !== null) return this.#meet(trx, row, { schedule, reach });
    }
    return unchanged({ kind: "locked" });
  }

  /** Null where its name stands. */
  async #insertIn(trx: Connection, schedule: NewSchedule): Promise<Schedule | null> {
    const createdAt = this.#parts.clock.after(0);
    const next = firstStanding(schedule.trigger, createdAt);
    const made = await insertSchedule(trx, schedule, { ...next, createdAt, tzVersion: this.#parts.tzVersion });
    failpoint("define.stored");
    return made;
  }

  /** Does what the caller said of a schedule that has the name. */
  async #meet(
    trx: Connection,
    row: ScheduleRow,
    { schedule, reach }: { schedule: NewSchedule; reach: ScheduleId["reach"] },
  ): Promise<Changed<CreateScheduleOutcome>> {
    if (reach !== null && !reach.includes(row.queue)) return unchanged({ kind: "conflict", holder: null });
    const { onConflict, requestHash } = schedule;
    if (onConflict === "keep" || (onConflict === "reject" && row.request_hash === requestHash))
      return unchanged({ kind: "existing", schedule: toSchedule(row) });
    if (onConflict === "reject") return unchanged({ kind: "conflict", holder: toSchedule(row) });
    const { onConflict: _onConflict, traceparent: _traceparent, requestHash: _requestHash, ...definition } = schedule;
    const { outcome, cancelled } = await this.#redefine(trx, row, { definition, requestHash, hasNewTrigger: true });
    return { outcome: { kind: "replaced", schedule: outcome.schedule }, cancelled };
  }

  /** What was made ahead is cancelled, and made anew of the new definition. What was missed before stays missed, under the same trigger. */
  async #redefine(
    trx: Connection,
    row: ScheduleRow,
    change: { definition: ScheduleDefinition; requestHash?: string; hasNewTrigger: boolean },
  ): Promise<Changed<Extract<ScheduleOutcome, { kind: "done" }>>> {
    const { definition, hasNewTrigger, ...hash } = change;
    const cancelled = await cancelAhead(trx, row.id, row.now);
    const isRevived = row.state === "ended" && hasNewTrigger;
    const next =
      row.state === "active" || isRevived ? nextStanding(row, definition.trigger, hasNewTrigger) : standingOf(row);
    const outcome = await this.#write(trx, row, { ...next, definition, ...hash });
    return { outcome, cancelled };
  }

  async #write(trx: Connection, row: ScheduleRow, write: Omit<Parameters<typeof writeSchedule>[2], "tzVersion">) {
    const schedule = await writeSchedule(trx, row.id, { ...write, tzVersion: this.#parts.tzVersion });
    failpoint("define.changed");
    return { kind: "done", schedule } as const;
  }

  #change(
    id: ScheduleId,
    work: (trx: Connection, row: ScheduleRow) => Promise<Changed<ScheduleOutcome>>,
  ): Promise<ScheduleOutcome> {
    return this.#transact(async (trx) => {
      const row = await lockSchedule(trx, id);
      return row === null ? unchanged<ScheduleOutcome>({ kind: "not-found" }) : work(trx, row);
    });
  }

  async #transact<Outcome>(work: (trx: Connection) => Promise<Changed<Outcome>>): Promise<Outcome> {
    const changed = await this.#parts.database.patient.transaction(work);
    this.#tell(changed);
    return changed.outcome;
  }

  #tell({ cancelled }: Changed<unknown>): void {
    if (cancelled.length > 0) this.#parts.signals.gone(cancelled.map(({ id, queue }) => ({ id, queue })));
    this.#parts.onChanged();
  }
}

function unchanged<Outcome>(outcome: Outcome): Changed<Outcome> {
  return { outcome, cancelled: [] };
}

/** One that is in the wanted state already is done; any other cannot get there. */
function standing(row: ScheduleRow, wanted: Schedule["state"]): Changed<ScheduleOutcome> {
  return unchanged({ kind: row.state === wanted ? "done" : "wrong-state", schedule: toSchedule(row) });
}
