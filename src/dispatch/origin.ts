// Owns what is known of one origin: whether it answers, how much of a queue it may hold, and its breaker. Pure: the instants are given,
// in ms of the monotonic clock.

/** The calls that an origin is judged by. */
export const callsJudged = 20;
/** An origin is trusted with every free slot for this long after an answer. */
const trustedMs = 500;
/** Answering nothing for this long opens the breaker. */
export const parkAfterMs = 30_000;
/** From one probe of a parked origin to the next: doubled each time, whether the one before has ended or not. */
export const probeMsMin = 5_000;
export const probeMsMax = 300_000;
/** How soon a task that waits for an answer to others is looked at again: as long as the silence has lasted, within these. */
const silentLookMsMin = 20;
const silentLookMsMax = 1_000;
/** How soon one is that waits for a place among the few calls of an origin that mostly fails. */
const crowdedLookMs = 1_000;
/** Looks are put together on a grid of this, so many at once: a backlog of any size costs a few statements a second. */
const gridMs = 100;
const looksPerGridPoint = 50;

/** How a call ended: with an answer, with one that says that the origin cannot keep up (429, 502, 504), or with none. */
export type Verdict = "answered" | "busy" | "unanswered";

export type Change = "parked" | "resumed";

/** How much of a lane's slots is taken, as one of its tasks asks for one more. */
export interface Occupancy {
  readonly slots: number;
  /** Calls of this origin in flight. */
  readonly own: number;
  /** Calls in flight of all origins that have not just answered. */
  readonly silent: number;
  /** Tasks of other origins come this way too. */
  readonly isShared: boolean;
}

interface Probing {
  /** When the next probe may go, and how long after it the one after that. */
  readonly atMs: number;
  readonly intervalMs: number;
}

export class Origin {
  readonly name: string;
  /** How the last calls ended, the newest last. */
  #verdicts: Verdict[] = [];
  #answeredAtMs = Number.NEGATIVE_INFINITY;
  /** When the first call began after which no answer came. */
  #silentSinceMs: number | null = null;
  /** Set while parked. */
  #probing: Probing | null = null;
  #look = { atMs: 0, count: 0 };

  constructor(name: string) {
    this.name = name;
  }

  get isParked(): boolean {
    return this.#probing !== null;
  }

  /** Most of its last 20 calls found it away or busy. */
  get isFailing(): boolean {
    const failed = this.#verdicts.filter((verdict) => verdict !== "answered").length;
    return this.#verdicts.length === callsJudged && failed > callsJudged / 2;
  }

  /** When the next probe may go. */
  get probeAtMs(): number {
    return this.#probing?.atMs ?? 0;
  }

  isTrusted(nowMs: number): boolean {
    return nowMs - this.#answeredAtMs <= trustedMs;
  }

  began(nowMs: number): void {
    this.#silentSinceMs ??= nowMs;
  }

  /** An answer of any status shows that the origin is there. */
  ended(verdict: Verdict, { beganAtMs, nowMs }: { beganAtMs: number; nowMs: number }): Change | null {
    this.#verdicts.push(verdict);
    if (this.#verdicts.length > callsJudged) this.#verdicts.shift();
    if (verdict !== "unanswered") return this.#sawAnswer(nowMs);
    this.#silentSinceMs ??= beganAtMs;
    if (this.#probing !== null) return null;
    const isSilent = this.#verdicts.length === callsJudged && this.#verdicts.every((one) => one === "unanswered");
    if (!isSilent || nowMs - this.#silentSinceMs < parkAfterMs) return null;
    this.#probing = { atMs: nowMs + probeMsMin, intervalMs: 2 * probeMsMin };
    return "parked";
  }

  /** Null: one more call may begin now. Otherwise after how many ms to look again. */
  waitMs(occupancy: Occupancy, nowMs: number): number | null {
    if (this.#probing !== null) return this.#probeWaitMs(this.#probing, nowMs);
    const { slots, own, silent, isShared } = occupancy;
    const isFew = own < Math.max(1, Math.floor(slots / 10));
    if (isFew) return null;
    if (this.isFailing) return this.#nextLookMs(crowdedLookMs, nowMs);
    if (!isShared || this.isTrusted(nowMs) || silent < Math.ceil(slots / 2)) return null;
    const silentMs = nowMs - (this.#silentSinceMs ?? nowMs);
    return this.#nextLookMs(Math.min(Math.max(silentMs, silentLookMsMin), silentLookMsMax), nowMs);
  }

  #sawAnswer(nowMs: number): Change | null {
    this.#answeredAtMs = nowMs;
    this.#silentSinceMs = null;
    this.#look = { atMs: 0, count: 0 };
    if (this.#probing === null) return null;
    this.#probing = null;
    this.#verdicts = [];
    return "resumed";
  }

  #probeWaitMs({ atMs, intervalMs }: Probing, nowMs: number): number | null {
    if (nowMs < atMs) return this.#nextLookMs(atMs - nowMs, nowMs);
    this.#probing = { atMs: nowMs + intervalMs, intervalMs: Math.min(2 * intervalMs, probeMsMax) };
    return null;
  }

  #nextLookMs(delayMs: number, nowMs: number): number {
    const earliestMs = delayMs < gridMs ? nowMs + delayMs : Math.ceil((nowMs + delayMs) / gridMs) * gridMs;
    if (this.#look.atMs < earliestMs) this.#look = { atMs: earliestMs, count: 0 };
    else if (this.#look.count >= looksPerGridPoint) this.#look = { atMs: this.#look.atMs + gridMs, count: 0 };
    this.#look.count += 1;
    return Math.min(this.#look.atMs - nowMs, Math.max(delayMs, probeMsMax));
  }
}
