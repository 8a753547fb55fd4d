// Owns telling whether Postgres can be reached: one log line when it is lost and one when it is back, however many calls fail meanwhile.

import { monotonicMs } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import { StoreUnavailableError } from "./errors.ts";

/** Calls that succeed count as its return once none has failed for this long: a server that comes and goes is told of once. */
const steadyMs = 1_000;

export class Availability {
  readonly #log: Log;
  #lostAtMs: number | null = null;
  #failedAtMs = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  noteSuccess(): void {
    if (this.#lostAtMs === null) return;
    const nowMs = monotonicMs();
    if (nowMs - this.#failedAtMs < steadyMs) return;
    this.#log.info({ afterMs: Math.round(nowMs - this.#lostAtMs) }, "postgres.available");
    this.#lostAtMs = null;
  }

  noteFailure(error: unknown): void {
    if (!(error instanceof StoreUnavailableError) || error.isBusy) return;
    this.#failedAtMs = monotonicMs();
    if (this.#lostAtMs !== null) return;
    this.#lostAtMs = this.#failedAtMs;
    this.#log.warn({ err: error }, "postgres.unavailable");
  }
}
