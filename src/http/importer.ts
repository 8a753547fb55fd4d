// Owns one import: its lines are taken in as they come, accepted side by side, and answered in their order.

import { monotonicMs, startTimer } from "../runtime/clock.ts";
import type { TaskRequest } from "../task/new-task.ts";
import type { AnswerSink } from "./answer.ts";
import type { BodyStream } from "./body-stream.ts";
import * as given from "./limits.ts";
import { type Line, LineSplitter } from "./line-splitter.ts";
import { ApiProblem } from "./problem.ts";

export const importLimits = {
  lineBytesMax: given.taskBytesMax,
  lineMsMax: given.importLineMsMax,
  underWayMax: given.importUnderWayMax,
  underWayBytesMax: given.importUnderWayBytesMax,
  togetherMax: given.importTogetherMax,
  unreadBytesMax: given.importUnreadBytesMax,
  unreadMsMax: given.importUnreadMsMax,
  discardMsMax: given.importDiscardMsMax,
};
export type ImportLimits = typeof importLimits;

export interface ImportParts {
  readonly body: BodyStream;
  /** What a line asks for, or why it is refused. */
  readonly read: (text: string) => TaskRequest | ApiProblem;
  /** Null once it is committed, else why it is refused. */
  readonly accept: (task: TaskRequest) => Promise<ApiProblem | null>;
  /** What a thrown value is to a caller; it is logged. */
  readonly problemOf: (error: unknown) => ApiProblem;
  readonly limits: ImportLimits;
}

/** A line's outcome: null, accepted; a problem, refused; else what was thrown. */
type Outcome = ApiProblem | null | { readonly thrown: unknown };

interface Taken {
  readonly line: number;
  readonly outcome: Outcome | Promise<Outcome>;
}

export class Import {
  readonly #parts: ImportParts;
  readonly #lines: LineSplitter;
  /** Taken, and not yet handed on together. */
  #together: Taken[] = [];
  #togetherBytes = 0;
  #underWay = 0;
  #underWayBytes = 0;
  /** The last task of each key that is under way: of two lines with one key the second comes second. */
  readonly #byName = new Map<string, Promise<Outcome>>();
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
    for (let chunk = await this.#next(); chunk !== null; chunk = await this.#next()) {
      for (const line of this.#lines.push(chunk)) {
        this.#take(line);
        if (this.#isFull()) await this.#handOn(sink);
        if (this.#problem !== null) return;
      }
      await this.#handOn(sink);
    }
    if (this.#problem !== null) return;
    for (const line of this.#lines.finish()) this.#take(line);
    await this.#handOn(sink);
  }

  /** Null at the end, and once it was stopped. Only waiting for the client counts against it. */
  async #next(): Promise<Buffer | null> {
    const { body, limits } = this.#parts;
    const startedMs = monotonicMs();
    const timer = startTimer(limits.lineMsMax - this.#lineMs, () =>
      this.stop(new ApiProblem("request-timeout", "No whole line came for too long.")),
    );
    try {
      return await body.next();
    } finally {
      timer.cancel();
      this.#lineMs += monotonicMs() - startedMs;
    }
  }

  #take(line: Line): void {
    this.#lineMs = 0;
    const read = line.fault === null ? this.#parts.read(line.text) : lineProblem(line.fault, this.#parts.limits);
    this.#together.push({ line: line.number, outcome: read instanceof ApiProblem ? read : this.#accept(read) });
    this.#togetherBytes += line.fault === null ? line.text.length : 0;
  }

  #isFull(): boolean {
    const { togetherMax, underWayBytesMax } = this.#parts.limits;
    return this.#together.length >= togetherMax || this.#underWayBytes + this.#togetherBytes >= underWayBytesMax;
  }

  #accept(task: TaskRequest): Promise<Outcome> {
    if (task.key === null) return this.#tryAccept(task);
    const name = `${task.queue} ${task.key}`;
    const before = this.#byName.get(name);
    const outcome = before === undefined ? this.#tryAccept(task) : before.then(() => this.#tryAccept(task));
    this.#byName.set(name, outcome);
    void this.#forget(name, outcome);
    return outcome;
  }

  async #forget(name: string, outcome: Promise<Outcome>): Promise<void> {
    await outcome;
    if (this.#byName.get(name) === outcome) this.#byName.delete(name);
  }

  async #tryAccept(task: TaskRequest): Promise<Outcome> {
    try {
      return await this.#parts.accept(task);
    } catch (error) {
      return { thrown: error };
    }
  }

  /** Hands on what was taken, and waits for room: in Lapse, and at the client, whose answer must not pile up. */
  async #handOn(sink: AnswerSink): Promise<void> {
    const { limits } = this.#parts;
    const [together, bytes] = [this.#together, this.#togetherBytes];
    this.#together = [];
    this.#togetherBytes = 0;
    this.#underWay += together.length;
    this.#underWayBytes += bytes;
    this.#told = this.#tellAfter(this.#told, together, sink).finally(() => {
      this.#underWay -= together.length;
      this.#underWayBytes -= bytes;
      this.#wake();
    });
    // Other requests have their turn, however fast the lines come.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const { underWayMax, togetherMax, underWayBytesMax, unreadBytesMax } = limits;
    while (this.#underWay > underWayMax - togetherMax || this.#underWayBytes >= underWayBytesMax) await this.#woken();
    if (sink.waitingBytes > unreadBytesMax) await this.#isRead(sink);
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

  async #tellAfter(told: Promise<void>, taken: readonly Taken[], sink: AnswerSink): Promise<void> {
    const outcomes = await Promise.all(taken.map(async ({ outcome }) => outcome));
    await told;
    this.#tell(taken, outcomes, sink);
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

function lineProblem(fault: "too-long" | "not-utf8", { lineBytesMax }: ImportLimits): ApiProblem {
  return fault === "too-long"
    ? new ApiProblem("too-large", `A line may have at most ${lineBytesMax} bytes.`)
    : new ApiProblem("malformed-json", "The line is not valid UTF-8.");
}
