// Owns keeping a child server alive: one that ends by itself is started again, with backoff, until it is stopped.

import { sleep } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import type { Child } from "./child.ts";

const backoffMsMin = 100;
const backoffMsMax = 5_000;

export interface SupervisorOptions {
  readonly name: string;
  readonly first: Child;
  /** Starts it anew where it was: its clients know one address. */
  readonly start: () => Promise<Child>;
  readonly log: Log;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #stopped = new AbortController();
  readonly #watching: Promise<void>;
  #child: Child;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#child = options.first;
    this.#watching = this.#watch();
  }

  /** Ends the watch; resolves to the child to be stopped, which may have ended already. */
  async release(): Promise<Child> {
    this.#stopped.abort();
    await this.#watching;
    return this.#child;
  }

  async #watch(): Promise<void> {
    const { name, log, start } = this.#options;
    const { signal } = this.#stopped;
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    let backoffMs = backoffMsMin;
    while (!signal.aborted) {
      await Promise.race([this.#child.exited, aborted]);
      if (signal.aborted) return;
      log.warn({ server: name, restartInMs: backoffMs }, "embedded.server_died");
      await sleep(backoffMs, signal);
      backoffMs = Math.min(backoffMs * 2, backoffMsMax);
      if (signal.aborted) return;
      try {
        this.#child = await start();
        backoffMs = backoffMsMin;
        log.info({ server: name }, "embedded.server_restarted");
      } catch (error) {
        log.error({ server: name, err: error }, "embedded.restart_failed");
      }
    }
  }
}
