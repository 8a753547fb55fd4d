// Owns how long a failed attempt waits for the next one.

import type { RetryPolicy } from "./task.ts";

/**
 * Whole milliseconds to wait after the `failures`-th failed attempt of a budget (from 1): minDelay for `fixed`, else
 * minDelay × factor^(failures - 1), up to maxDelay. Jitter spreads it evenly over ± that fraction, but never below minDelay nor
 * above maxDelay, since their names promise it: so the first retry is only ever later, and those at the cap only ever earlier.
 */
export function backoffMs(policy: RetryPolicy, failures: number, random: () => number): number {
  const { backoff, minDelayMs, maxDelayMs, factor, jitter } = policy;
  // A power may overflow to Infinity, which the cap below takes care of; 0 × Infinity would be NaN.
  const grown = backoff === "fixed" || minDelayMs === 0 ? minDelayMs : minDelayMs * factor ** (failures - 1);
  const floorMs = Math.min(minDelayMs, maxDelayMs);
  const delayMs = clamp(grown, floorMs, maxDelayMs);
  const earliestMs = clamp(delayMs * (1 - jitter), floorMs, maxDelayMs);
  const latestMs = clamp(delayMs * (1 + jitter), floorMs, maxDelayMs);
  return Math.round(earliestMs + (latestMs - earliestMs) * random());
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
