// Owns loops: a tick does one round and returns its sleep; waking ends the sleep, stopping ends the loop after the round under way.

import { type Timer, startTimer } from "./clock.ts";

export interface RunLoopOptions {
  /** One round; resolves to how long to sleep until the next, in ms (0: at once). */
  readonly tick: () => Promise<number>;
  /** A round threw: a bug or a lost server. The loop goes on after `errorSleepMs`. */
  readonly onError: (error: unknown) => void;
  readonly errorSleepMs: number;
}

export class RunLoop {
  readonly #options: RunLoopOptions;
  #running = false;
  #stopped = false;
  #woken = false;
  #timer: Timer | null = null;
  #finished: (() => void)[] = [];

  constructor(options: RunLoopOptions) {
    this.#options = options;
  }

  start(): this {
    this.wake();
    return this;
  }

  /** Starts a round now; while one is under way, another follows it at once. */
  wake(): void {
    if (this.#stopped) return;
    this.#woken = true;
    if (!this.#running) void this.#run();
  }

  /** Starts a round in `delayMs` unless one comes first; only ever brings the next round forward if the loop is asleep for longer. */
  wakeIn(delayMs: number): void {
    if (this.#stopped || this.#running) return;
    this.#sleepFor(delayMs);
  }

  /** Resolves after the round under way. No round starts any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    if (this.#running) await new Promise<void>((resolve) => this.#finished.push(resolve));
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#timer?.cancel();
    let sleepMs = 0;
    while (!this.#stopped && (this.#woken || sleepMs <= 0)) {
      this.#woken = false;
      sleepMs = await this.#tick();
    }
    this.#running = false;
    if (!this.#stopped) this.#sleepFor(sleepMs);
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

  #sleepFor(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = startTimer(delayMs, () => this.wake());
  }
}
