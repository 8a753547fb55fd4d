// Owns accepting: how new tasks become rows, alone, in a flush with others, or all or none.

import { v7 as uuidv7 } from "uuid";
import type { Clock } from "../runtime/clock.ts";
import { monotonicMs, sleep } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import { GroupCommit } from "../runtime/group-commit.ts";
import { OneWaits } from "../runtime/one-waits.ts";
import { randomIdBytes } from "../runtime/random-bytes.ts";
import { Turns } from "../runtime/turns.ts";
import {
  acceptedTask,
  doesTombstoneHold,
  findStanding,
  findStored,
  insertArrivals,
  insertArrivalsIn,
  replaceTask,
} from "../store/accept.ts";
import type { Arrival } from "../store/arrivals.ts";
import { type Connection, type Database, hotCallMsMax } from "../store/database.ts";
import { isDataFault, LockTimeoutError, StoreUnavailableError } from "../store/errors.ts";
import type { KnownQueues } from "../store/queues.ts";
import { type TaskRow, toOneTask } from "../store/task-rows.ts";
import type { TaskRequest } from "../task/new-task.ts";
import { withDefaults } from "./defaults.ts";
import { dueTime } from "./due-time.ts";
import { Meeting, metOutcome } from "./meeting.ts";
import type { AcceptOutcome } from "./outcomes.ts";
import type { IntakeSignals } from "./signals.ts";

/** Tasks a flush writes at most; beyond a few hundred rows the statement's time grows with them. */
const flushTasksMax = 500;
/** A flush whose answer was lost is sent again this often, so that a short break in the connection costs no caller an error. */
const resendsMax = 3;
const resendPauseMs = 100;
/** A server that is silent, where each send takes its whole timeout, is not waited for again. */
const resendMsMax = 2_000;
/** How often a key may change hands under a single accept before the caller is told to try again. */
const looksMax = 10;

/** Single looks of imports that run side by side: half of the connections that such looks have. */
const inTurnMax = 4;

/** What a flush leads to for one of its tasks: stored, or in need of a look of its own (its key is taken, or locked). */
type Flushed = "stored" | "look" | { readonly fault: unknown };

export interface AcceptorParts {
  readonly database: Database;
  readonly queues: KnownQueues;
  readonly clock: Clock;
  readonly signals: IntakeSignals;
}

export class Acceptor {
  readonly #parts: AcceptorParts;
  readonly #flushes: GroupCommit<Arrival, Flushed>;
  /** Keys that an accept waits for singly. */
  readonly #looks = new OneWaits<AcceptOutcome>((outcome) => outcome.kind === "locked");

  readonly #turns = new Turns(inTurnMax);
  readonly #meeting: Meeting;

  constructor(parts: AcceptorParts) {
    this.#parts = parts;
    this.#meeting = new Meeting(parts.database);
    this.#flushes = new GroupCommit({
      write: (arrivals) => this.#flush(arrivals),
      batchMax: flushTasksMax,
      writersMax: 2,
      conflictName: nameOf,
    });
  }

  /** Like `accept`. One that must be looked at singly waits in line for it, so that many leave connections to others. */
  acceptInTurn(task: TaskRequest): Promise<AcceptOutcome> {
    return this.accept(task, (look) => this.#turns.run(look));
  }

  /** Accepts one task in a flush with whatever waits beside it. Resolves once it is committed. */
  async accept(task: TaskRequest, inTurn = atOnce): Promise<AcceptOutcome> {
    await this.ensureQueues([task]);
    return this.#accept(this.#arrive(task), inTurn);
  }

  /** Accepts many, each for itself. */
  async acceptEach(tasks: readonly TaskRequest[]): Promise<AcceptOutcome[]> {
    await this.ensureQueues(tasks);
    return Promise.all(tasks.map((task) => this.#accept(this.#arrive(task), atOnce)));
  }

  async #accept(arrival: Arrival, inTurn: typeof atOnce): Promise<AcceptOutcome> {
    // A key that somebody waits for would hold up every flush that it joins.
    const isContended = this.#looks.has(nameOf(arrival) ?? "");
    const flushed = isContended ? "look" : await this.#flushes.add(arrival);
    if (flushed === "stored") return this.#signalled({ kind: "created", task: acceptedTask(arrival, "scheduled") });
    if (flushed !== "look") throw flushed.fault;
    const met = isContended ? null : await this.#meeting.meet(arrival);
    return this.#signalled(met ?? (await inTurn(() => this.#acceptSingly(arrival))));
  }

  /** Accepts all or none, in one transaction; where an outcome is a conflict, nothing was stored. */
  async acceptAtomically(tasks: readonly TaskRequest[]): Promise<AcceptOutcome[]> {
    await this.ensureQueues(tasks);
    let outcomes: AcceptOutcome[] = [];
    try {
      await this.#parts.database.patient.transaction(async (trx) => {
        outcomes = await this.acceptIn(trx, tasks);
        if (outcomes.some(isRefused)) throw new RefusedBatch();
      });
    } catch (error) {
      if (error instanceof LockTimeoutError) return tasks.map(() => ({ kind: "locked" }));
      if (!(error instanceof RefusedBatch)) throw error;
      return outcomes;
    }
    return outcomes.map((outcome) => this.#signalled(outcome));
  }

  /** Makes the queues' rows and has their defaults at hand, before a transaction that needs them. */
  ensureQueues(tasks: readonly TaskRequest[]): Promise<void> {
    return this.#parts.queues.ensure(tasks.map((task) => task.queue));
  }

  /** Accepts within a transaction under way; the caller signals after its commit. */
  async acceptIn(trx: Connection, tasks: readonly TaskRequest[]): Promise<AcceptOutcome[]> {
    const arrivals = tasks.map((task) => this.#arrive(task));
    const stored = await insertArrivalsIn(trx, arrivals, "scheduled");
    const outcomes: AcceptOutcome[] = [];
    for (const arrival of arrivals) {
      if (stored.has(arrival.id)) outcomes.push({ kind: "created", task: acceptedTask(arrival, "scheduled") });
      else outcomes.push(await this.#look(trx, arrival));
    }
    return outcomes;
  }

  /** Tells what a committed outcome means for the index. */
  signal(outcomes: readonly AcceptOutcome[]): void {
    for (const outcome of outcomes) this.#signalled(outcome);
  }

  drained(): Promise<void> {
    return this.#flushes.drained();
  }

  #arrive(request: TaskRequest): Arrival {
    failpoint("accept.arrived");
    const { clock, queues } = this.#parts;
    const createdAt = clock.after(0);
    const task = withDefaults(request, queues.defaultsOf(request.queue));
    return { id: uuidv7({ msecs: createdAt, rng: randomIdBytes }), task, createdAt, dueAt: dueTime(task.due, clock) };
  }

  /**
   * Writes a flush. A row or key that a stranger's transaction holds must not hold up the others: those without a key are written at once,
   * those with one singly, side by side. A row that the server refuses is found by halving.
   */
  async #flush(arrivals: readonly Arrival[]): Promise<Flushed[]> {
    try {
      const stored = await this.#send(arrivals);
      failpoint("accept.committed");
      return arrivals.map((arrival) => (stored.has(arrival.id) ? "stored" : "look"));
    } catch (error) {
      if (error instanceof LockTimeoutError) return this.#flushAroundLocks(arrivals);
      if (!isDataFault(error)) throw error;
      if (arrivals.length === 1) return [{ fault: error }];
      const middle = Math.ceil(arrivals.length / 2);
      return [...(await this.#flush(arrivals.slice(0, middle))), ...(await this.#flush(arrivals.slice(middle)))];
    }
  }

  async #flushAroundLocks(arrivals: readonly Arrival[]): Promise<Flushed[]> {
    if (arrivals.length === 1) return ["look"];
    const keyless = arrivals.filter((arrival) => arrival.task.key === null);
    const keyed = arrivals.filter((arrival) => arrival.task.key !== null);
    // All without a key: the table itself is locked.
    if (keyed.length === 0) return arrivals.map(() => "look");
    const parts = await Promise.all(
      [keyless, ...keyed.map((arrival) => [arrival])].map((part) => this.#flushPart(part)),
    );
    const byId = new Map(parts.flat());
    return arrivals.map((arrival) => byId.get(arrival.id) ?? "look");
  }

  async #flushPart(arrivals: readonly Arrival[]): Promise<[string, Flushed][]> {
    const flushed = arrivals.length === 0 ? [] : await this.#flush(arrivals);
    return arrivals.map((arrival, i) => [arrival.id, flushed[i] ?? "look"]);
  }

  /**
   * Sends a flush, again as it is where its answer was lost: its ids make that harmless. While its outcome is unknown it is never split,
   * and a lock that it meets may be its own earlier send's.
   */
  async #send(arrivals: readonly Arrival[]): Promise<Set<string>> {
    const { database, clock } = this.#parts;
    const resendUntilMs = monotonicMs() + resendMsMax;
    for (let resends = 0; ; resends += 1) {
      try {
        const stored = await insertArrivals(database, arrivals, clock.now() + hotCallMsMax);
        return resends === 0 ? stored : await database.query((connection) => findStored(connection, arrivals));
      } catch (error) {
        const isUnknown = error instanceof StoreUnavailableError || (resends > 0 && error instanceof LockTimeoutError);
        if (!isUnknown) throw error;
        if (resends >= resendsMax || monotonicMs() > resendUntilMs) throw new StoreUnavailableError(error);
        await sleep(resendPauseMs);
      }
    }
  }

  #acceptSingly(arrival: Arrival): Promise<AcceptOutcome> {
    return this.#looks.run(nameOf(arrival) ?? arrival.id, () => this.#waitFor(arrival));
  }

  async #waitFor(arrival: Arrival): Promise<AcceptOutcome> {
    try {
      return await this.#parts.database.patient.transaction(async (trx) => {
        const stored = await insertArrivalsIn(trx, [arrival], "scheduled");
        if (stored.has(arrival.id)) return { kind: "created", task: acceptedTask(arrival, "scheduled") };
        return this.#look(trx, arrival);
      });
    } catch (error) {
      if (error instanceof LockTimeoutError) return { kind: "locked" };
      throw error;
    }
  }

  /** Finds what stands in an arrival's way and does what the caller said; looks again where it went away meanwhile. */
  async #look(trx: Connection, arrival: Arrival): Promise<AcceptOutcome> {
    for (let looks = 0; looks < looksMax; looks += 1) {
      const standing = await findStanding(trx, arrival);
      const outcome = standing === null ? null : await this.#meet(trx, arrival, standing);
      if (outcome !== null) return outcome;
      const stored = await insertArrivalsIn(trx, [arrival], "scheduled");
      if (stored.has(arrival.id)) return { kind: "created", task: acceptedTask(arrival, "scheduled") };
    }
    return { kind: "locked" };
  }

  async #meet(trx: Connection, arrival: Arrival, standing: TaskRow): Promise<AcceptOutcome | null> {
    failpoint("accept.met");
    if (standing.id === arrival.id) return { kind: "created", task: await toOneTask(trx, standing) };
    if (standing.state === "tombstone") {
      if (!(await doesTombstoneHold(trx, standing.id))) return null;
      await insertArrivalsIn(trx, [arrival], "cancelled");
      return { kind: "created", task: acceptedTask(arrival, "cancelled") };
    }
    if (arrival.task.onConflict !== "replace")
      return metOutcome(arrival, standing.request_hash, await toOneTask(trx, standing));
    if (standing.state === "running") return { kind: "conflict", task: await toOneTask(trx, standing) };
    const replaced = await replaceTask(trx, standing.id, arrival);
    failpoint("accept.replaced");
    return replaced === null ? null : { kind: "replaced", task: await toOneTask(trx, replaced) };
  }

  #signalled<Outcome extends AcceptOutcome>(outcome: Outcome): Outcome {
    const { signals } = this.#parts;
    if ((outcome.kind === "created" || outcome.kind === "replaced") && outcome.task.state === "scheduled") {
      const { queue, id, nextAttemptAt } = outcome.task;
      const entries = [{ queue, id, at: nextAttemptAt }];
      if (outcome.kind === "created") signals.made(entries);
      else signals.due(entries);
    }
    return outcome;
  }
}

function atOnce(look: () => Promise<AcceptOutcome>): Promise<AcceptOutcome> {
  return look();
}

/** Two tasks of one name may not be written by one statement. */
function nameOf({ task }: Arrival): string | null {
  return task.key === null ? null : `${task.queue} ${task.key}`;
}

export function isRefused({ kind }: AcceptOutcome): boolean {
  return kind === "conflict" || kind === "locked";
}

/** Ends the transaction of a batch of which one task was refused. */
class RefusedBatch extends Error {}
