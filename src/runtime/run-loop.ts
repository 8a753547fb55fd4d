// Owns loops: a tick does one round and returns its sleep; waking ends the sleep, stopping ends the loop after the round under way.

import { monotonicMs, startTimer, type Timer } from "./clock.ts";

export interface RunLoopOptions {
  /** One round; resolves to how long to sleep until the next, in ms (0: at once). */
  readonly tick: () => Promise<number>;
  /** A round threw: a bug or a lost server. The loop goes on after `errorSleepMs`. */
  readonly onError: (error: unknown) => void;
  readonly errorSleepMs: number;
}

export class RunLoop {
  readonly #options: RunLoopOptions;
  readonly #finished: (() => void)[] = [];
  #isRunning = false;
  #isStopped = false;
  /** When the next round starts, by the monotonic clock. */
  #nextMs = Number.POSITIVE_INFINITY;
  #timer: Timer | null = null;

  constructor(options: RunLoopOptions) {
    this.#options = options;
  }

  start(): this {
    this.wake();
    return this;
  }

  /** Starts a round now; while one is under way, another follows it at once. */
  wake(): void {
    this.wakeIn(0);
  }

  /** Starts a round in `delayMs` at the latest: only ever brings the next one forward. */
  wakeIn(delayMs: number): void {
    if (this.#isStopped) return;
    const atMs = monotonicMs() + Math.max(0, delayMs);
    if (atMs >= this.#nextMs) return;
    this.#nextMs = atMs;
    if (this.#isRunning) return;
    if (delayMs <= 0) void this.#run();
    else this.#sleep();
  }

  /** Resolves after the round under way. No round starts any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    if (this.#isRunning) await new Promise<void>((resolve) => this.#finished.push(resolve));
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    this.#timer?.cancel();
    do {
      // What is asked for from here on, while the round is under way, is for the next.
      this.#nextMs = Number.POSITIVE_INFINITY;
      const sleepMs = await this.#tick();
      this.#nextMs = Math.min(this.#nextMs, monotonicMs() + sleepMs);
    } while (!this.#isStopped && this.#nextMs <= monotonicMs());
    this.#isRunning = false;
    if (!this.#isStopped) this.#sleep();
    for (const resolve of this.#finished.splice(0)) resolve();
  }

  async #tick(): Promise<number> {
    try {
      return await this.#options.tick();
    } catch (error) {
      this.#options.onError(error);
      return this.#options.errorSleepMs;
    }
  }

  #sleep(): void {
    this.#timer?.cancel();
    this.#timer = startTimer(this.#nextMs - monotonicMs(), () => void this.#run());
  }
}
