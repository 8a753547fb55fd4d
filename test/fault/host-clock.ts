// Owns the clock of the test's process: this host's time with fractions of a ms, as Postgres on the same host reads it.

/** performance.now() runs free of the host's clock, which is slewed: over a long run they drift apart. */
const driftMsMax = 1.5;

let driftMs = 0;

/** Ms since the epoch, with fractions; off by less than 2 ms. */
export function hostNow(): number {
  return toHostTime(performance.timeOrigin + performance.now());
}

/** The same of an instant just read from `performance`. */
export function toHostTime(performanceAt: number): number {
  const apartMs = Date.now() - (performance.timeOrigin + performance.now()) - driftMs;
  if (Math.abs(apartMs) > driftMsMax) driftMs += apartMs;
  return performanceAt + driftMs;
}
