// Owns accepting: how new tasks become rows, alone, in a flush with others, or all or none.

import { v7 as uuidv7 } from "uuid";
import type { Clock } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import { GroupCommit } from "../runtime/group-commit.ts";
import { OneWaits } from "../runtime/one-waits.ts";
import { randomIdBytes } from "../runtime/random-bytes.ts";
import { Turns } from "../runtime/turns.ts";
import { UnderWay } from "../runtime/under-way.ts";
import { acceptedTask, findStanding, insertArrivalsIn, replaceTask } from "../store/accept.ts";
import { type Arrival, nameOf } from "../store/arrivals.ts";
import type { Connection, Database } from "../store/database.ts";
import { isDataFault, LockTimeoutError } from "../store/errors.ts";
import type { KnownQueues } from "../store/queues.ts";
import { type TaskRow, toOneTask } from "../store/task-rows.ts";
import { meetTombstone } from "../store/tombstones.ts";
import type { TaskRequest } from "../task/new-task.ts";
import { withDefaults } from "./defaults.ts";
import { dueTime } from "./due-time.ts";
import { Meeting, metOutcome } from "./meeting.ts";
import { sendArrivals } from "./send-arrivals.ts";
import { type AcceptOutcome, isRefused, type TogetherOutcome } from "./outcomes.ts";
import type { IntakeSignals } from "./signals.ts";

/** Tasks a flush writes at most; beyond a few hundred rows the statement's time grows with them. */
const flushTasksMax = 500;
/** How often a key may change hands under a single accept before the caller is told to try again. */
const looksMax = 10;
/** Flushes of imports that run side by side: with three an import was 5 to 12 % faster than with two, with four no faster. */
const flushesTogetherMax = 3;
/** And single looks of them: half of the connections that such looks have. */
const looksTogetherMax = 4;
const accepted = { kind: "accepted" } as const;

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
  readonly #flushTurns = new Turns(flushesTogetherMax);
  readonly #lookTurns = new Turns(looksTogetherMax);
  readonly #meeting: Meeting;
  readonly #together = new UnderWay();

  constructor(parts: AcceptorParts) {
    this.#parts = parts;
    this.#meeting = new Meeting(parts);
    this.#flushes = new GroupCommit({
      write: (arrivals) => this.#flush(arrivals),
      batchMax: flushTasksMax,
      writersMax: 2,
      conflictName: nameOf,
    });
  }

  /** Accepts one task in a flush with whatever waits beside it. Resolves once it is committed. */
  async accept(task: TaskRequest): Promise<AcceptOutcome> {
    await this.ensureQueues([task]);
    return this.#accept(this.#arrive(task));
  }

  /**
   * Accepts some of very many, no two of which may have one key, at most as many as a flush has. Their flushes are their own: nobody else's
   * task waits behind them. Those that must be looked at singly wait in line for it.
   */
  acceptTogether(tasks: readonly TaskRequest[]): Promise<TogetherOutcome[]> {
    return this.#together.run(() => this.#acceptTogether(tasks));
  }

  async #acceptTogether(tasks: readonly TaskRequest[]): Promise<TogetherOutcome[]> {
    try {
      await this.ensureQueues(tasks);
      const arrivals = tasks.map((task) => this.#arrive(task));
      const free = arrivals.filter((arrival) => !this.#isContended(arrival));
      const results = free.length === 0 ? [] : await this.#flushTurns.run(() => this.#flush(free));
      const flushed = new Map(free.map((arrival, i) => [arrival, results[i]]));
      const stored = free.filter((arrival) => flushed.get(arrival) === "stored");
      this.#parts.signals.made(stored.map(entryOf));
      if (stored.length === arrivals.length) return arrivals.map(() => accepted);
      return await Promise.all(arrivals.map((arrival) => this.#afterFlush(arrival, flushed.get(arrival))));
    } catch (error) {
      return tasks.map(() => ({ kind: "failed", error }));
    }
  }

  async #afterFlush(arrival: Arrival, flushed: Flushed | undefined): Promise<TogetherOutcome> {
    if (flushed === "stored") return accepted;
    if (flushed !== undefined && flushed !== "look") return { kind: "failed", error: flushed.fault };
    try {
      const met = flushed === undefined ? null : await this.#meeting.meet(arrival);
      const outcome = met ?? this.#signalled(await this.#lookTurns.run(() => this.#acceptSingly(arrival)));
      return outcome.kind === "conflict" || outcome.kind === "locked" ? outcome : accepted;
    } catch (error) {
      return { kind: "failed", error };
    }
  }

  /** Accepts many, each for itself. */
  async acceptEach(tasks: readonly TaskRequest[]): Promise<AcceptOutcome[]> {
    await this.ensureQueues(tasks);
    const arrivals = tasks.map((task) => this.#arrive(task));
    if (arrivals.some((arrival) => this.#isContended(arrival)))
      return Promise.all(arrivals.map((arrival) => this.#accept(arrival)));
    const flushed = await this.#flushes.addAll(arrivals);
    // Nearly always. A promise for each of a thousand tasks took a seventh of the time.
    if (flushed.every((one) => one === "stored")) return this.#created(arrivals);
    return Promise.all(arrivals.map((arrival, i) => this.#outcomeOf(arrival, flushed[i])));
  }

  async #accept(arrival: Arrival): Promise<AcceptOutcome> {
    if (this.#isContended(arrival)) return this.#signalled(await this.#acceptSingly(arrival));
    return this.#outcomeOf(arrival, await this.#flushes.add(arrival));
  }

  /** Of one that went into a flush. */
  async #outcomeOf(arrival: Arrival, flushed: Flushed | undefined): Promise<AcceptOutcome> {
    if (flushed === "stored") return this.#signalled({ kind: "created", task: acceptedTask(arrival, "scheduled") });
    if (flushed !== undefined && flushed !== "look") throw flushed.fault;
    return this.#signalled((await this.#meeting.meet(arrival)) ?? (await this.#acceptSingly(arrival)));
  }

  #created(arrivals: readonly Arrival[]): AcceptOutcome[] {
    this.#parts.signals.made(arrivals.map(entryOf));
    return arrivals.map((arrival) => ({ kind: "created", task: acceptedTask(arrival, "scheduled") }));
  }

  /** A key that somebody waits for would hold up every flush that it joins. */
  #isContended(arrival: Arrival): boolean {
    return this.#looks.has(nameOf(arrival) ?? "");
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

  /** Resolves when nothing is being written, of imports neither. */
  async drained(): Promise<void> {
    await this.#together.ended();
    await this.#flushes.drained();
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
      const stored = await sendArrivals(this.#parts, arrivals);
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
    const tombstone = await meetTombstone(trx, standing, this.#parts.clock.now());
    if (tombstone === "spent") return null;
    if (tombstone === "cancels") {
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

/** What the index is told of a stored one. */
function entryOf({ id, task, dueAt }: Arrival): { queue: string; id: string; at: number } {
  return { queue: task.queue, id, at: dueAt };
}

/** Ends the transaction of a batch of which one task was refused. */
class RefusedBatch extends Error {}
