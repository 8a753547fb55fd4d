// Owns what callers may do to tasks: each call once, with its outcome as a value.

import type { Clock } from "../runtime/clock.ts";
import { changeTask, pauseTask, resumeTask, retryTask, runTask } from "../store/changes.ts";
import type { Connection, Database } from "../store/database.ts";
import { isUniqueViolation } from "../store/errors.ts";
import type { KnownQueues } from "../store/queues.ts";
import type { TaskId } from "../store/reach.ts";
import { findLiveRow, findRow } from "../store/reads.ts";
import { type TaskRow, toOneTask } from "../store/task-rows.ts";
import type { TaskChanges, TaskRequest } from "../task/new-task.ts";
import { Acceptor } from "./acceptor.ts";
import { BulkChanger } from "./bulk.ts";
import { Canceller } from "./canceller.ts";
import { dueTime } from "./due-time.ts";
import type { IdempotencyScope, StoredAnswer } from "./idempotency.ts";
import { acceptOnce, Once, type OnceOutcome } from "./once.ts";
import type {
  AcceptOutcome,
  BulkFilter,
  BulkOutcome,
  CancelOutcome,
  ChangeOutcome,
  ConfirmOutcome,
  TaskRef,
  TogetherOutcome,
} from "./outcomes.ts";
import type { IntakeSignals } from "./signals.ts";

export interface IntakeParts {
  readonly database: Database;
  readonly queues: KnownQueues;
  readonly clock: Clock;
  readonly signals: IntakeSignals;
}

type Write = (connection: Connection) => Promise<TaskRow | null>;

export class Intake {
  readonly #parts: IntakeParts;
  readonly #once: Once;
  readonly #acceptor: Acceptor;
  readonly #canceller: Canceller;
  readonly #bulk: BulkChanger;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#once = new Once(parts.database);
    this.#acceptor = new Acceptor(parts);
    this.#canceller = new Canceller(parts);
    this.#bulk = new BulkChanger(parts.database, parts.queues, parts.signals);
  }

  /** Accepts one task. Once this resolves to `created`, no crash of any part loses it. */
  accept(task: TaskRequest): Promise<AcceptOutcome> {
    return this.#acceptor.accept(task);
  }

  /** Accepts some of very many, at most 500, no two of which may have one key. */
  acceptTogether(tasks: readonly TaskRequest[]): Promise<TogetherOutcome[]> {
    return this.#acceptor.acceptTogether(tasks);
  }

  /** Accepts many, each for itself, or with `atomic` all or none. Outcomes come in order. */
  acceptMany(tasks: readonly TaskRequest[], { atomic }: { atomic: boolean }): Promise<AcceptOutcome[]> {
    return atomic ? this.#acceptor.acceptAtomically(tasks) : this.#acceptor.acceptEach(tasks);
  }

  /** Accepts under an Idempotency-Key; `render` makes the answer that is kept. */
  acceptOnce(
    tasks: readonly TaskRequest[],
    { atomic, idempotency }: { atomic: boolean; idempotency: IdempotencyScope },
    render: (outcomes: AcceptOutcome[]) => StoredAnswer,
  ): Promise<OnceOutcome> {
    return acceptOnce(this.#once, this.#acceptor, { tasks, atomic, idempotency, render });
  }

  /** Cancels a task. After `cancelled` no attempt of it starts; `waitMs` waits for one in flight. */
  cancel(ref: TaskRef, waitMs: number): Promise<CancelOutcome> {
    return this.#canceller.cancel(ref, waitMs);
  }

  /** For receivers, before they act. */
  confirm(task: TaskId, attempt: number): Promise<ConfirmOutcome> {
    return this.#canceller.confirm(task, attempt);
  }

  /** Changes a task that waits; with `expectedVersion`, only that version of it. */
  async change(task: TaskId, changes: TaskChanges, expectedVersion: number | null): Promise<ChangeOutcome> {
    const { due } = changes;
    const dueAt = due === undefined ? null : dueTime(due, this.#parts.clock);
    const outcome = await this.#change(task, (connection) =>
      changeTask(connection, { ...task, changes, dueAt, expectedVersion }),
    );
    if (outcome.kind !== "wrong-state" || expectedVersion === null || outcome.task.version === expectedVersion)
      return outcome;
    return { kind: "version-mismatch", task: outcome.task };
  }

  pause(task: TaskId): Promise<ChangeOutcome> {
    return this.#change(task, (connection) => pauseTask(connection, task.id, task.reach), "paused");
  }

  resume(task: TaskId): Promise<ChangeOutcome> {
    return this.#change(task, (connection) => resumeTask(connection, task.id, task.reach), "scheduled");
  }

  run(task: TaskId): Promise<ChangeOutcome> {
    return this.#change(task, (connection) => runTask(connection, task.id, task.reach));
  }

  async retry(task: TaskId): Promise<ChangeOutcome> {
    try {
      return await this.#change(task, (connection) => retryTask(connection, task.id, task.reach));
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      return this.#parts.database.query(async (connection) => {
        const row = await findRow(connection, task.id, task.reach);
        if (row === null || row.key === null) return { kind: "not-found" };
        const holder = await findLiveRow(connection, row.queue, row.key);
        return { kind: "key-conflict", holder: holder === null ? null : await toOneTask(connection, holder) };
      });
    }
  }

  cancelMany(filter: BulkFilter, options: { tombstoneMs: number | null; dryRun: boolean }): Promise<BulkOutcome> {
    return this.#bulk.cancel(filter, options);
  }

  pauseMany(filter: BulkFilter, options: { dryRun: boolean }): Promise<BulkOutcome> {
    return this.#bulk.pause(filter, options);
  }

  resumeMany(filter: BulkFilter, options: { dryRun: boolean }): Promise<BulkOutcome> {
    return this.#bulk.resume(filter, options);
  }

  retryMany(filter: BulkFilter, options: { dryRun: boolean }): Promise<BulkOutcome> {
    return this.#bulk.retry(filter, options);
  }

  /** Resolves once all that was accepted so far is written. */
  drained(): Promise<void> {
    return this.#acceptor.drained();
  }

  /** Makes a guarded write; where it did not win, a task that is in `alreadyDone` counts as done. */
  #change({ id, reach }: TaskId, write: Write, alreadyDone?: "paused" | "scheduled"): Promise<ChangeOutcome> {
    return this.#parts.database.patient.query(async (connection) => {
      const changed = await write(connection);
      if (changed !== null) {
        this.#signal(changed);
        return { kind: "done", task: await toOneTask(connection, changed) };
      }
      const row = await findRow(connection, id, reach);
      if (row === null) return { kind: "not-found" };
      return { kind: row.state === alreadyDone ? "done" : "wrong-state", task: await toOneTask(connection, row) };
    });
  }

  #signal(row: TaskRow): void {
    if (row.state === "scheduled") this.#parts.signals.due([{ queue: row.queue, id: row.id, at: row.next_attempt_at }]);
    else this.#parts.signals.gone([{ queue: row.queue, id: row.id }]);
  }
}
