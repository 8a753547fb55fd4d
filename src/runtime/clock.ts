// Owns time: the monotonic clock, sleeping, and Postgres's time reckoned from it. No other file asks the system for either.

/** The longest timer: Node fires one over 2^31 ms at once, so a longer wait is slept in pieces. */
export const sleepMsMax = 60_000;

/** What Node's timers, which count in whole ms, mostly are late by: 0.7 ms in the median, 1.1 at most where nothing else is to be done. */
export const timerLateMs = 0.8;

/** How many measurements of Postgres's clock are kept; the one with the shortest round trip counts. */
const samplesMax = 10;

/** How far two clocks that are right drift apart over the samples kept: 100 s at NTP's 500 ppm. */
const slewMsMax = 50;

interface Sample {
  /** Postgres's clock minus the monotonic clock, in ms. */
  readonly offsetMs: number;
  readonly halfRoundTripMs: number;
}

export interface Timer {
  cancel(): void;
}

/** Milliseconds of the monotonic clock, the same in every thread of the process. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/**
 * Postgres's time, reckoned from the monotonic clock by measurements (design: Cristian's algorithm), so that a host whose clock is an
 * hour off neither fires early nor late. Until the first measurement it is the host's own time.
 */
export class Clock {
  #samples: Sample[] = [];
  #best: Sample = { offsetMs: performance.timeOrigin + performance.now() - monotonicMs(), halfRoundTripMs: 0 };

  /** Postgres's time now, in ms since the Unix epoch, with fractions; off by `uncertaintyMs` at most, either way. */
  now(): number {
    return monotonicMs() + this.#best.offsetMs;
  }

  get isMeasured(): boolean {
    return this.#samples.length > 0;
  }

  get uncertaintyMs(): number {
    return this.#best.halfRoundTripMs;
  }

  /** The instant `delayMs` from now, rounded up to the ms and never earlier than Postgres would say. */
  after(delayMs: number): number {
    return Math.ceil(this.now() + this.uncertaintyMs + delayMs);
  }

  /** Resolves once Postgres's time is `at`, or after `timerLateMs`: looks at each turn of the event loop, where a timer would be late. */
  async reached(at: number): Promise<void> {
    const leftMs = Math.min(at + this.uncertaintyMs - this.now(), timerLateMs);
    const untilMs = monotonicMs() + leftMs;
    while (monotonicMs() < untilMs) await new Promise<void>((resolve) => void setImmediate(resolve));
  }

  /** Takes several measurements in a row, so that the first ones (a connection being opened) count for nothing. */
  async settle(readDatabaseTime: () => Promise<number>): Promise<void> {
    for (let taken = 0; taken < samplesMax; taken += 1) await this.measure(readDatabaseTime);
  }

  /** Takes one measurement with `readDatabaseTime`, which answers Postgres's `clock_timestamp()` in ms. */
  async measure(readDatabaseTime: () => Promise<number>): Promise<void> {
    const sentMs = monotonicMs();
    const databaseMs = await readDatabaseTime();
    const halfRoundTripMs = (monotonicMs() - sentMs) / 2;
    const taken = { offsetMs: databaseMs - sentMs - halfRoundTripMs, halfRoundTripMs };
    // Further apart than both errors and any slewing explain: one of the clocks was set, or this host slept. What was measured before is void.
    const apartMs = Math.abs(taken.offsetMs - this.#best.offsetMs);
    if (apartMs > halfRoundTripMs + this.#best.halfRoundTripMs + slewMsMax) this.#samples = [];
    this.#samples.push(taken);
    if (this.#samples.length > samplesMax) this.#samples.shift();
    this.#best = this.#samples.reduce((best, sample) =>
      sample.halfRoundTripMs <= best.halfRoundTripMs ? sample : best,
    );
  }

  /** Forgets what was measured against another server, or before a pause: the next measurement stands alone. */
  forget(): void {
    this.#samples = [];
  }
}

/** Calls `action` after `delayMs`, capped at `sleepMsMax`: whoever waits longer looks again. */
export function startTimer(delayMs: number, action: () => void): Timer {
  const handle = setTimeout(action, Math.min(Math.max(0, Math.ceil(delayMs)), sleepMsMax));
  return { cancel: () => clearTimeout(handle) };
}

/** Parts that such a time is measured in. */
const awakeParts = 5;

/**
 * As `startTimer`, but for an answer that is waited for: where this process stands still for most of `delayMs`, what came meanwhile has its
 * turn before `action`. (Node calls timers before it reads from sockets.)
 */
export function startAwakeTimer(delayMs: number, action: () => void): Timer {
  let partsLeft = awakeParts;
  const pass = (): void => {
    partsLeft -= 1;
    if (partsLeft === 0) action();
    else timer = startTimer(delayMs / awakeParts, pass);
  };
  let timer = startTimer(delayMs / awakeParts, pass);
  return { cancel: () => timer.cancel() };
}

/** Resolves after `delayMs` (capped at `sleepMsMax`), or at once when the signal aborts; never rejects. */
export function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      timer.cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = startTimer(delayMs, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}
