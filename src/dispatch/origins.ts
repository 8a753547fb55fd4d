// Owns what this process knows of the origins that it calls, and tells of those that are parked and resumed. Each dispatcher judges by its
// own calls.

import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { AttemptResult } from "../task/attempt-result.ts";
import { type Change, Origin, type Verdict } from "./origin.ts";

/** Origins remembered; those not called for longest are forgotten, and start anew as unknown. */
const originsMax = 10_000;

/** Too Many Requests, Bad Gateway, Gateway Timeout. */
const busyStatuses: ReadonlySet<number> = new Set([429, 502, 504]);

export interface OriginsParts {
  /** The monotonic clock, in ms. */
  readonly nowMs: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** An origin was parked or is called again. */
  readonly onChange?: (origin: string, change: Change) => void;
}

export class Origins {
  readonly #parts: OriginsParts;
  /** Those called last stand last. */
  readonly #known = new Map<string, Origin>();
  /** Failing or parked. */
  readonly #troubled = new Set<Origin>();

  constructor(parts: OriginsParts) {
    this.#parts = parts;
  }

  get nowMs(): number {
    return this.#parts.nowMs();
  }

  get areAllWell(): boolean {
    return this.#troubled.size === 0;
  }

  of(name: string): Origin {
    const known = this.#known.get(name);
    const origin = known ?? new Origin(name);
    if (known !== undefined) this.#known.delete(name);
    this.#known.set(name, origin);
    if (this.#known.size > originsMax) this.#forgetOldest();
    return origin;
  }

  /** A call to the origin has ended. Null: nothing was sent, or its end says nothing about the receiver. */
  ended(origin: Origin, result: AttemptResult | null, beganAtMs: number): void {
    const verdict = result === null ? null : verdictOf(result);
    if (verdict === null) return;
    const change = origin.ended(verdict, { beganAtMs, nowMs: this.nowMs });
    const isKnown = this.#known.get(origin.name) === origin;
    if (isKnown && (origin.isParked || origin.isFailing)) this.#troubled.add(origin);
    else this.#troubled.delete(origin);
    if (change !== null) this.#tell(origin, change);
  }

  #tell(origin: Origin, change: Change): void {
    const { log, metrics } = this.#parts;
    if (change === "parked") {
      log.warn({ origin: origin.name, probeInMs: Math.round(origin.probeAtMs - this.nowMs) }, "origin.parked");
    } else {
      log.info({ origin: origin.name }, "origin.resumed");
    }
    metrics.event(`origin.${change}`);
    this.#parts.onChange?.(origin.name, change);
    metrics.setOriginsParked([...this.#troubled].filter((troubled) => troubled.isParked).length);
  }

  #forgetOldest(): void {
    const [oldest] = this.#known.values();
    if (oldest === undefined) return;
    this.#known.delete(oldest.name);
    this.#troubled.delete(oldest);
  }
}

/** Null: the receiver was not asked, or the call was broken off here. */
function verdictOf(result: AttemptResult): Verdict | null {
  switch (result.kind) {
    case "answered":
      return busyStatuses.has(result.status) ? "busy" : "answered";
    case "timed-out":
    case "reset":
    case "refused":
      return "unanswered";
    case "blocked":
    case "unsendable":
    case "lost":
      return null;
    default:
      return unreachable(result);
  }
}

function unreachable(result: never): never {
  throw new Error(`An attempt cannot come to ${JSON.stringify(result)}`);
}
