// Owns how long it takes to fire what falls due: a queue's throughput at its present limits, and its backlog from bucket to bucket. Pure.

import type { Queue } from "./queue.ts";

/**
 * What one dispatcher is taken to fire a second: what was measured on two cores that everything shares (README, "Measured": drain). One that
 * was idle does not know its own figure.
 */
export const dispatcherPerSecond = 5_000;
/** How long a call is taken to last where none has ended lately. */
export const assumedDurationMs = 100;
/** Instants that RFC 3339 can write end with the year 9999. */
const instantMax = 253_402_300_799_999;

export type Bottleneck = "paused" | "dispatchers" | "concurrency" | "rateLimit";

export interface Throughput {
  readonly perSecond: number;
  readonly limitedBy: Bottleneck;
}

/** Tasks due within a span of time, in ms since the epoch; where there are none, `firstAt` and `lastAt` say nothing. */
export interface Arrivals {
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

export interface DrainSpan extends Arrivals {
  readonly until: number;
}

/** What was seen of a queue lately. */
export interface Lately {
  /** Of a call; null where none has ended. */
  readonly meanDurationMs: number | null;
  /** Over the last minute. */
  readonly firedPerSecond: number;
  /** Those alive. */
  readonly dispatchers: number;
}

/**
 * The most that a queue fires a second: the least of what its dispatchers can (at least what they did), its rate limit, and concurrency / mean duration of a call,
 * which is Little's law, L = λW (J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9, 1961) with all slots taken.
 */
export function throughput(
  { concurrency, rateLimit, paused }: Pick<Queue, "concurrency" | "rateLimit" | "paused">,
  { meanDurationMs, firedPerSecond, dispatchers }: Lately,
): Throughput {
  if (paused) return { perSecond: 0, limitedBy: "paused" };
  const atLeast = dispatchers === 0 ? 0 : firedPerSecond;
  const limits: Throughput[] = [
    { perSecond: Math.max(atLeast, dispatchers * dispatcherPerSecond), limitedBy: "dispatchers" },
    { perSecond: (concurrency * 1_000) / Math.max(1, meanDurationMs ?? assumedDurationMs), limitedBy: "concurrency" },
  ];
  if (rateLimit !== null)
    limits.push({ perSecond: (rateLimit.limit * 1_000) / rateLimit.perMs, limitedBy: "rateLimit" });
  return limits.reduce((least, limit) => (limit.perSecond < least.perSecond ? limit : least));
}

/**
 * Carries the backlog from span to span: F, when all that was due so far is fired, becomes max(last, max(F, first) + count / throughput),
 * and the backlog at a span's end is what the throughput does until F. It is Lindley's recursion (D. V. Lindley, "The theory of queues with
 * a single server", 1952) for work that comes as a flow. Resolves to the backlog at each end, and F; null where it is never, or past the year 9999.
 */
export function drain(
  spans: readonly DrainSpan[],
  { startAt, perSecond }: { readonly startAt: number; readonly perSecond: number },
): { readonly backlogs: readonly number[]; readonly drainedAt: number | null } {
  let firedAt = startAt;
  let total = 0;
  const backlogs = spans.map(({ count, firstAt, lastAt, until }) => {
    total += count;
    if (perSecond === 0) return total;
    if (count > 0) firedAt = Math.max(lastAt, Math.max(firedAt, firstAt) + (count * 1_000) / perSecond);
    return Math.min(total, Math.round((Math.max(0, firedAt - until) * perSecond) / 1_000));
  });
  const isNever = (perSecond === 0 && total > 0) || firedAt > instantMax;
  return { backlogs, drainedAt: isNever ? null : Math.ceil(firedAt) };
}
