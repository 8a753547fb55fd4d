// Owns cancelling one task, and the fence that receivers hold against it.

import { type Clock, monotonicMs, sleep } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import { GroupCommit } from "../runtime/group-commit.ts";
import { OneWaits } from "../runtime/one-waits.ts";
import { cancelTask, cancelTasksById, cancelTasksByKey } from "../store/cancel.ts";
import { confirmAttempt, refuseConfirm } from "../store/changes.ts";
import { type Database, hotCallMsMax } from "../store/database.ts";
import { LockTimeoutError } from "../store/errors.ts";
import type { TaskId } from "../store/reach.ts";
import { findRow, findRowByKey } from "../store/reads.ts";
import { type TaskRow, toOneTask, toTask } from "../store/task-rows.ts";
import { keyName } from "../task/key-name.ts";
import type { Task } from "../task/task.ts";
import type { CancelOutcome, ConfirmOutcome, TaskRef } from "./outcomes.ts";
import type { IntakeSignals } from "./signals.ts";

const cancelsPerWriteMax = 500;
/** Half of a write's cost is the statement's own (its plan): with two at once they were half as large, and cancels took 15 % more CPU time. */
const writersMax = 1;
/** How often a wait for an attempt in flight looks; an attempt's outcome is seen this much late at most. */
const waitLookMs = 50;
/** How often a key may change hands under one cancel before it counts as not found. */
const looksMax = 10;

type KeyRef = { readonly queue: string; readonly key: string };

export interface CancellerParts {
  readonly database: Database;
  readonly signals: IntakeSignals;
  readonly clock: Clock;
}

export class Canceller {
  readonly #database: Database;
  readonly #signals: IntakeSignals;
  readonly #byId: GroupCommit<TaskId, TaskRow | null>;
  readonly #byKey: GroupCommit<KeyRef, TaskRow | null>;
  readonly #waits = new OneWaits<TaskRow | LockTimeoutError | null>((outcome) => outcome instanceof LockTimeoutError);

  constructor({ database, signals, clock }: CancellerParts) {
    this.#database = database;
    this.#signals = signals;
    this.#byId = new GroupCommit({
      write: async (refs) => {
        // Callers of one key are together: they reach equally far.
        const groups = [...Map.groupBy(refs, ({ reach }) => reach)];
        const cancelled = await Promise.all(
          groups.map(([reach, group]) =>
            cancelTasksById(
              database,
              group.map(({ id }) => id),
              reach,
            ),
          ),
        );
        const rows = new Map(cancelled.flat().map((row) => [row.id, row]));
        return refs.map(({ id }) => rows.get(id) ?? null);
      },
      batchMax: cancelsPerWriteMax,
      writersMax,
      conflictName: ({ id }) => id,
    });
    this.#byKey = new GroupCommit({
      write: async (refs) => {
        const rows = new Map(
          (await cancelTasksByKey(database, refs, clock.now() + hotCallMsMax)).map((row) => [keyName(row), row]),
        );
        return refs.map((ref) => rows.get(keyName(ref)) ?? null);
      },
      batchMax: cancelsPerWriteMax,
      writersMax,
      conflictName: (ref) => keyName(ref),
    });
  }

  /** Cancels a task; with `waitMs`, waits that long for an attempt in flight to end and answers with what it led to. */
  async cancel(ref: TaskRef, waitMs: number): Promise<CancelOutcome> {
    const outcome = await this.#cancelNow(ref);
    if (outcome.kind !== "too-late" || waitMs === 0) return outcome;
    return this.#await(outcome.task.id, outcome, monotonicMs() + waitMs);
  }

  /** Lets the receiver of an attempt act, unless a cancel came first, a newer attempt has begun, or its outcome is written. */
  async confirm(task: TaskId, attempt: number): Promise<ConfirmOutcome> {
    return this.#database.patient.query(async (connection) => {
      const confirmed = await confirmAttempt(connection, { ...task, attempt });
      if (confirmed !== null) {
        failpoint("confirm.granted");
        return { kind: "confirmed", task: await this.#toTask(confirmed) };
      }
      failpoint("confirm.declined");
      await refuseConfirm(connection, { ...task, attempt });
      failpoint("confirm.refused");
      const row = await findRow(connection, task.id, task.reach);
      return row === null ? { kind: "not-found" } : { kind: "refused", task: await this.#toTask(row) };
    });
  }

  async #cancelNow(ref: TaskRef): Promise<CancelOutcome> {
    failpoint("cancel.asked");
    const row = "id" in ref ? await this.#byId.add(ref) : await this.#byKey.add(ref);
    if (row !== null) return this.#cancelled(row);
    return this.#cancelSingly(ref);
  }

  /** What a write with others passed over: the task is ended, confirmed, was told before, is not there, or is locked. */
  async #cancelSingly(ref: TaskRef): Promise<CancelOutcome> {
    failpoint("cancel.passed_over");
    for (let looks = 0; looks < looksMax; looks += 1) {
      const row = await this.#find(ref);
      const verdict = row === null ? ({ kind: "not-found" } as const) : await this.#judge(row);
      if (verdict !== null) return verdict;
      const changed = row === null ? null : await this.#waitFor(row.id);
      if (changed !== null) return this.#cancelled(changed);
    }
    return { kind: "not-found" };
  }

  /** Waits for the row's lock; null where it changed meanwhile. */
  async #waitFor(id: string): Promise<TaskRow | null> {
    const waited = await this.#waits.run(id, () =>
      this.#database.patient
        .query((connection) => cancelTask(connection, id))
        .catch((error: unknown) => {
          if (error instanceof LockTimeoutError) return error;
          throw error;
        }),
    );
    if (waited instanceof LockTimeoutError) throw waited;
    return waited;
  }

  /** Null where the task may be cancelled after all: it changed between the write and the look. */
  async #judge(row: TaskRow): Promise<CancelOutcome | null> {
    if (row.state === "cancelled") return { kind: "cancelled", task: await this.#toTask(row) };
    if (row.finished_at !== null || row.confirmed_attempt !== null)
      return { kind: "refused", task: await this.#toTask(row) };
    if (row.state === "running" && row.cancel_requested) return { kind: "too-late", task: await this.#toTask(row) };
    return null;
  }

  async #cancelled(row: TaskRow): Promise<CancelOutcome> {
    failpoint("cancel.committed");
    const task = await this.#toTask(row);
    if (row.state === "running") return { kind: "too-late", task };
    this.#signals.gone([{ queue: row.queue, id: row.id, at: row.next_attempt_at }]);
    return { kind: "cancelled", task };
  }

  async #await(id: string, tooLate: CancelOutcome, untilMs: number): Promise<CancelOutcome> {
    while (true) {
      const row = await this.#find({ id, reach: null });
      if (row === null) return { kind: "not-found" };
      if (row.state === "cancelled") return { kind: "cancelled", task: await this.#toTask(row) };
      if (row.finished_at !== null) return { kind: "refused", task: await this.#toTask(row) };
      const leftMs = untilMs - monotonicMs();
      if (leftMs <= 0) return tooLate;
      await sleep(Math.min(waitLookMs, leftMs));
    }
  }

  #find(ref: TaskRef): Promise<TaskRow | null> {
    return this.#database.query((connection) =>
      "id" in ref ? findRow(connection, ref.id, ref.reach) : findRowByKey(connection, ref.queue, ref.key),
    );
  }

  async #toTask(row: TaskRow): Promise<Task> {
    if (row.attempts === 0) return toTask(row, null);
    return this.#database.query((connection) => toOneTask(connection, row));
  }
}
