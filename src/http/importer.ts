// Owns one import: its lines are taken in as they come, accepted side by side, and answered in their order.

import { monotonicMs, startTimer } from "../runtime/clock.ts";
import { keyName } from "../task/key-name.ts";
import type { TaskRequest } from "../task/new-task.ts";
import type { AnswerSink } from "./answer.ts";
import type { BodyStream } from "./body-stream.ts";
import * as given from "./limits.ts";
import { type Line, LineSplitter } from "./line-splitter.ts";
import { ApiProblem } from "./problem.ts";

export const importLimits = {
  lineBytesMax: given.taskBytesMax,
  lineMsMax: given.importLineMsMax,
  togetherMax: given.importTogetherMax,
  togetherBytesMax: given.importTogetherBytesMax,
  writesMax: given.importWritesMax,
  unreadBytesMax: given.importUnreadBytesMax,
  unreadMsMax: given.importUnreadMsMax,
  discardMsMax: given.importDiscardMsMax,
};
export type ImportLimits = typeof importLimits;

export interface ImportParts {
  readonly body: BodyStream;
  /** What a line asks for, or why it is refused. */
  readonly read: (text: string) => TaskRequest | ApiProblem;
  /** What came of each, in order; no two have one key. */
  readonly accept: (tasks: readonly TaskRequest[]) => Promise<readonly Outcome[]>;
  /** What a thrown value is to a caller; it is logged. */
  readonly problemOf: (error: unknown) => ApiProblem;
  readonly limits: ImportLimits;
}

/** A line's outcome: null, accepted; a problem, refused; else what was thrown. */
export type Outcome = ApiProblem | null | { readonly thrown: unknown };

interface Taken {
  readonly line: number;
  /** What to accept, or why not. */
  readonly read: TaskRequest | ApiProblem;
}

export class Import {
  readonly #parts: ImportParts;
  readonly #lines: LineSplitter;
  /** Taken, and not yet handed on together. */
  #together: Taken[] = [];
  #togetherBytes = 0;
  #writes = 0;
  #isWaiting = false;
  /** The keys of tasks that are under way: of two lines with one key the second comes second. */
  readonly #names = new Map<string, readonly Taken[]>();
  #linesTaken = 0;
  /** Resolves when all that was handed on is told. */
  #told: Promise<void> = Promise.resolve();
  #accepted = 0;
  #refused = 0;
  /** All lines before this one are told. */
  #lineNext = 1;
  #lineMs = 0;
  #problem: ApiProblem | null = null;
  readonly #stopped = Promise.withResolvers<void>();
  /** A line's outcome is not known: what follows it is told no more. */
  #isUnknown = false;
  #wake: () => void = () => undefined;

  constructor(parts: ImportParts) {
    this.#parts = parts;
    this.#lines = new LineSplitter(parts.limits.lineBytesMax);
  }

  /** Takes all lines in, and ends the answer with how it went. Where its client went away, what was accepted is accepted. */
  async run(sink: AnswerSink): Promise<void> {
    const { body, limits } = this.#parts;
    await this.#takeAll(sink).catch((error: unknown) => this.stop(this.#parts.problemOf(error)));
    await this.#told;
    const counts = { accepted: this.#accepted, refused: this.#refused };
    const end =
      this.#problem === null
        ? { ...counts, done: true }
        : { ...counts, done: false, line: this.#lineNext, problem: this.#problem };
    sink.write(`${JSON.stringify(end)}\n`);
    sink.end();
    body.discard(limits.discardMsMax);
  }

  /** Takes no further line in; those taken are told, then the problem. The first one counts. */
  stop(problem: ApiProblem): void {
    this.#problem ??= problem;
    this.#parts.body.discard(this.#parts.limits.discardMsMax);
    this.#stopped.resolve();
  }

  async #takeAll(sink: AnswerSink): Promise<void> {
    for (let chunk = await this.#next(sink); chunk !== null; chunk = await this.#next(sink)) {
      for (const line of this.#lines.push(chunk)) {
        this.#take(line);
        if (this.#linesTaken % given.importTurnLines === 0) await nextTurn();
        if (this.#isFull()) await this.#handOn(sink);
        if (this.#problem !== null) break;
      }
      if (sink.waitingBytes > this.#parts.limits.unreadBytesMax) await this.#isRead(sink);
    }
    if (this.#problem === null) for (const line of this.#lines.finish()) this.#take(line);
    await this.#handOn(sink);
  }

  /** Null at the end, and once it was stopped. Only waiting for the client counts against it. */
  async #next(sink: AnswerSink): Promise<Buffer | null> {
    const { body, limits } = this.#parts;
    this.#isWaiting = true;
    // What has come is not kept waiting for what comes late; but while all writes are under way it has company.
    if (this.#writes < limits.writesMax) this.#begin(sink);
    const startedMs = monotonicMs();
    const timer = startTimer(limits.lineMsMax - this.#lineMs, () =>
      this.stop(new ApiProblem("request-timeout", "No whole line came for too long.")),
    );
    try {
      return await body.next();
    } finally {
      timer.cancel();
      this.#isWaiting = false;
      this.#lineMs += monotonicMs() - startedMs;
    }
  }

  #take(line: Line): void {
    this.#lineMs = 0;
    this.#linesTaken += 1;
    const read = line.fault === null ? this.#parts.read(line.text) : lineProblem(line.fault, this.#parts.limits);
    this.#together.push({ line: line.number, read });
    this.#togetherBytes += line.fault === null ? line.text.length : 0;
  }

  #isFull(): boolean {
    const { togetherMax, togetherBytesMax } = this.#parts.limits;
    return this.#together.length >= togetherMax || this.#togetherBytes >= togetherBytesMax;
  }

  /** Hands on what was taken, once there is room for it. */
  async #handOn(sink: AnswerSink): Promise<void> {
    while (this.#writes >= this.#parts.limits.writesMax) await this.#woken();
    this.#begin(sink);
  }

  #begin(sink: AnswerSink): void {
    const together = this.#together;
    if (together.length === 0) return;
    this.#together = [];
    this.#togetherBytes = 0;
    this.#writes += 1;
    const names = new Set(together.flatMap(({ read }) => nameOf(read) ?? []));
    const isKeyUnderWay = [...names].some((name) => this.#names.has(name));
    for (const name of names) this.#names.set(name, together);
    const outcomes = this.#accept(together, isKeyUnderWay ? this.#told : null);
    this.#told = this.#tellAfter(this.#told, { together, outcomes, sink }).finally(() => {
      for (const name of names) if (this.#names.get(name) === together) this.#names.delete(name);
      this.#writes -= 1;
      if (this.#isWaiting) this.#begin(sink);
      this.#wake();
    });
  }

  async #isRead(sink: AnswerSink): Promise<void> {
    const { limits } = this.#parts;
    const timer = startTimer(limits.unreadMsMax, () =>
      this.stop(
        new ApiProblem("answer-not-read", "Read the answer while you send: more lines were refused than it holds."),
      ),
    );
    await Promise.race([sink.drained(), this.#stopped.promise]);
    timer.cancel();
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Accepts what was read without a fault; of lines with one key the first, then the second, and so on. */
  async #accept(together: readonly Taken[], after: Promise<void> | null): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = together.map(({ read }) => (read instanceof ApiProblem ? read : null));
    if (after !== null) await after;
    for (const round of roundsOf(together)) {
      const told = await this.#parts.accept(round.map(({ task }) => task));
      for (const [i, { place }] of round.entries()) outcomes[place] = told[i] ?? null;
    }
    return outcomes;
  }

  async #tellAfter(
    told: Promise<void>,
    {
      together,
      outcomes,
      sink,
    }: { together: readonly Taken[]; outcomes: Promise<readonly Outcome[]>; sink: AnswerSink },
  ): Promise<void> {
    const known = await outcomes;
    await told;
    this.#tell(together, known, sink);
  }

  #tell(taken: readonly Taken[], outcomes: readonly Outcome[], sink: AnswerSink): void {
    let text = "";
    for (const [i, { line }] of taken.entries()) {
      const problem = this.#problemOf(outcomes[i]);
      if (this.#isUnknown) break;
      this.#lineNext = line + 1;
      if (problem === null) this.#accepted += 1;
      else {
        this.#refused += 1;
        text += `${JSON.stringify({ line, problem })}\n`;
      }
      if ((this.#accepted + this.#refused) % given.importProgressLines === 0)
        text += `${JSON.stringify({ accepted: this.#accepted, refused: this.#refused })}\n`;
    }
    if (text !== "") sink.write(text);
  }

  /** Stops the import where Postgres is away: nobody knows then whether the line was stored, or those after it. */
  #problemOf(outcome: Outcome | undefined): ApiProblem | null {
    if (outcome === undefined || outcome === null || outcome instanceof ApiProblem) return outcome ?? null;
    const problem = this.#parts.problemOf(outcome.thrown);
    if (problem.problem !== "store-unavailable") return problem;
    this.#isUnknown = true;
    const detail =
      "Lines from `line` on may have been accepted: import again from there; keys tell what stands already.";
    this.stop(new ApiProblem("store-unavailable", detail));
    return problem;
  }
}

interface Placed {
  readonly place: number;
  readonly task: TaskRequest;
}

/** No two of a round have one key; all of them nearly always make one round. */
function roundsOf(together: readonly Taken[]): Placed[][] {
  const rounds: Placed[][] = [];
  const times = new Map<string, number>();
  for (const [place, { read }] of together.entries()) {
    if (read instanceof ApiProblem) continue;
    const name = nameOf(read);
    const round = name === null ? 0 : (times.get(name) ?? 0);
    if (name !== null) times.set(name, round + 1);
    (rounds[round] ??= []).push({ place, task: read });
  }
  return rounds;
}

function nameOf(read: TaskRequest | ApiProblem): string | null {
  return read instanceof ApiProblem || read.key === null ? null : keyName(read);
}

/** Others have their turn, however fast the lines come. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function lineProblem(fault: "too-long" | "not-utf8", { lineBytesMax }: ImportLimits): ApiProblem {
  return fault === "too-long"
    ? new ApiProblem("too-large", `A line may have at most ${lineBytesMax} bytes.`)
    : new ApiProblem("malformed-json", "The line is not valid UTF-8.");
}
