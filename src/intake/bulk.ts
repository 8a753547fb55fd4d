// Owns the calls that mean many tasks: cancel, with tombstones, and pause, resume and retry.

import { v7 as uuidv7 } from "uuid";
import { failpoint } from "../runtime/failpoint.ts";
import {
  type BulkCandidate,
  bulkTasksMax,
  cancelAll,
  findCandidates,
  isKeyTaken,
  pauseAll,
  resumeAll,
} from "../store/bulk.ts";
import { retryTask } from "../store/changes.ts";
import type { Connection, Database } from "../store/database.ts";
import { isUniqueViolation } from "../store/errors.ts";
import type { KnownQueues } from "../store/queues.ts";
import type { TaskRow } from "../store/task-rows.ts";
import { leaveTombstones, makeTombstones } from "../store/tombstones.ts";
import { keyName } from "../task/key-name.ts";
import { liveStates, retryableStates, type TaskState } from "../task/task.ts";
import type { BulkFilter, BulkOutcome, BulkRefusal } from "./outcomes.ts";
import type { IntakeSignals } from "./signals.ts";

/** How often creates may slip in between a cancel and its tombstones before the call gives up. */
const tombstoneRoundsMax = 10;

export interface BulkOptions {
  readonly dryRun: boolean;
}

interface Change {
  readonly write: (connection: Connection, ids: readonly string[]) => Promise<TaskRow[]>;
  /** The states that it changes, and the one that says that it is done. */
  readonly from: readonly TaskState[];
  readonly alreadyDone: TaskState;
  /** The states of tasks that labels mean: none that it leads to, or a call that is repeated while there are others would never end. */
  readonly meant: readonly TaskState[];
}

const cancelling: Change = { write: cancelAll, from: liveStates, alreadyDone: "cancelled", meant: liveStates };
const pausing: Change = {
  write: pauseAll,
  from: ["scheduled"],
  alreadyDone: "paused",
  meant: ["scheduled", "running"],
};
const resuming: Change = { write: resumeAll, from: ["paused"], alreadyDone: "scheduled", meant: ["paused"] };

export class BulkChanger {
  readonly #database: Database;
  readonly #queues: KnownQueues;
  readonly #signals: IntakeSignals;

  constructor(database: Database, queues: KnownQueues, signals: IntakeSignals) {
    this.#database = database;
    this.#queues = queues;
    this.#signals = signals;
  }

  /** Cancels; with `tombstoneMs`, whoever comes with one of the keys within that time is cancelled on arrival. */
  async cancel(
    filter: BulkFilter,
    { tombstoneMs, dryRun }: BulkOptions & { tombstoneMs: number | null },
  ): Promise<BulkOutcome> {
    const outcome = await this.#change(filter, cancelling, dryRun);
    if (tombstoneMs === null || dryRun || filter.keys === undefined) return outcome;
    return this.#withTombstones(filter, outcome, tombstoneMs);
  }

  pause(filter: BulkFilter, { dryRun }: BulkOptions): Promise<BulkOutcome> {
    return this.#change(filter, pausing, dryRun);
  }

  resume(filter: BulkFilter, { dryRun }: BulkOptions): Promise<BulkOutcome> {
    return this.#change(filter, resuming, dryRun);
  }

  /** Retries failed and missed tasks; of several with one key only the newest. */
  async retry(filter: BulkFilter, { dryRun }: BulkOptions): Promise<BulkOutcome> {
    return this.#database.patient.query(async (connection) => {
      const found = await findCandidates(connection, { ...filter, labelStates: retryableStates });
      const candidates = found.slice(0, bulkTasksMax);
      const newest = newestOfEachKey(candidates);
      const done: string[] = [];
      const notDone: BulkRefusal[] = [];
      for (const candidate of candidates.toReversed()) {
        const reason = await this.#retryOne(connection, candidate, { dryRun, isNewest: newest.has(candidate.id) });
        if (reason === null) done.push(candidate.id);
        else notDone.push({ id: candidate.id, state: candidate.state, reason });
      }
      return {
        done: done.toReversed(),
        notDone: notDone.toReversed(),
        tombstones: [],
        more: found.length > bulkTasksMax,
      };
    });
  }

  /** Null where the task was retried (or, in a dry run, could be). */
  async #retryOne(
    connection: Connection,
    candidate: BulkCandidate,
    { dryRun, isNewest }: BulkOptions & { isNewest: boolean },
  ): Promise<string | null> {
    if (!isRetryable(candidate)) return "wrong-state";
    if (!isNewest) return "key-conflict";
    if (dryRun) return (await isKeyTaken(connection, candidate)) ? "key-conflict" : null;
    try {
      const row = await retryTask(connection, candidate.id);
      if (row === null) return "wrong-state";
      this.#signals.due([{ queue: row.queue, id: row.id, at: row.next_attempt_at }]);
      return null;
    } catch (error) {
      if (isUniqueViolation(error)) return "key-conflict";
      throw error;
    }
  }

  async #change(
    filter: BulkFilter,
    { write, from, alreadyDone, meant }: Change,
    dryRun: boolean,
  ): Promise<BulkOutcome> {
    const { found, changed } = await this.#database.patient.transaction(async (trx) => {
      const candidates = await findCandidates(trx, { ...filter, labelStates: meant });
      const ids = candidates.slice(0, bulkTasksMax).map((candidate) => candidate.id);
      const rows = dryRun ? [] : await write(trx, ids);
      failpoint("cancel.all_written");
      return { found: candidates, changed: rows };
    });
    failpoint("cancel.all_committed");
    this.#signalChanged(changed);
    const states = new Map(changed.map((row) => [row.id, row.state as TaskState]));
    const done: string[] = [];
    const notDone: BulkRefusal[] = [];
    for (const candidate of found.slice(0, bulkTasksMax)) {
      const after = states.get(candidate.id) ?? (dryRun ? outcomeOf(candidate, from, alreadyDone) : candidate.state);
      if (after === alreadyDone) done.push(candidate.id);
      else notDone.push({ id: candidate.id, state: after });
    }
    return { done, notDone, tombstones: [], more: found.length > bulkTasksMax };
  }

  #signalChanged(rows: readonly TaskRow[]): void {
    const waiting = rows.filter((row) => row.state === "scheduled");
    if (waiting.length > 0)
      this.#signals.due(waiting.map((row) => ({ queue: row.queue, id: row.id, at: row.next_attempt_at })));
    const gone = rows.filter((row) => row.state === "cancelled" || row.state === "paused");
    if (gone.length > 0) this.#signals.gone(gone.map((row) => ({ queue: row.queue, id: row.id })));
  }

  /**
   * Makes the tombstones after the cancel. A create that slipped in between stands in the same unique index: it is cancelled in its turn,
   * and the tombstone tried again.
   */
  async #withTombstones(filter: BulkFilter, cancelled: BulkOutcome, lifetimeMs: number): Promise<BulkOutcome> {
    const queue = filter.queue ?? "default";
    await this.#queues.ensure([queue]);
    const left = new Set(filter.keys);
    const done = new Set(cancelled.done);
    const notDone = new Map(cancelled.notDone.map((refusal) => [refusal.id, refusal]));
    for (let rounds = 0; left.size > 0 && rounds < tombstoneRoundsMax; rounds += 1) {
      const keys = [...left].toSorted();
      const stands = await this.#database.patient.transaction(async (trx) => {
        const made = await makeTombstones(trx, { ids: keys.map(() => uuidv7()), queue, keys, lifetimeMs });
        failpoint("cancel.tombstones_made");
        const remembered = await leaveTombstones(trx, { queue, keys, lifetimeMs });
        return [...made, ...remembered];
      });
      for (const key of stands) left.delete(key);
      if (left.size === 0) break;
      const again = await this.#change({ ...filter, queue, keys: [...left] }, cancelling, false);
      for (const id of again.done) done.add(id);
      for (const refusal of again.notDone) notDone.set(refusal.id, refusal);
    }
    for (const id of done) notDone.delete(id);
    return {
      ...cancelled,
      done: [...done],
      notDone: [...notDone.values()],
      tombstones: [...new Set(filter.keys)].filter((key) => !left.has(key)),
    };
  }
}

function outcomeOf(candidate: BulkCandidate, from: readonly TaskState[], done: TaskState): TaskState {
  const wouldChange =
    from.includes(candidate.state) && !(done === "cancelled" && (candidate.confirmed || candidate.state === "running"));
  return wouldChange ? done : candidate.state;
}

/** Candidates come oldest first; a task without a key stands for itself. */
function newestOfEachKey(candidates: readonly BulkCandidate[]): Set<string> {
  const newest = new Map<string, string>();
  for (const { id, queue, key } of candidates.filter(isRetryable))
    newest.set(key === null ? id : keyName({ queue, key }), id);
  return new Set(newest.values());
}

function isRetryable({ state }: BulkCandidate): boolean {
  return retryableStates.some((retryable) => retryable === state);
}
