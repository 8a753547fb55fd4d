// Owns the token bucket: pure, no clock. take-token.lua is the same in Redis; a test holds the two against each other.

/** How many tokens there were, and when. */
export interface Bucket {
  readonly tokens: number;
  /** In ms. */
  readonly at: number;
}

export interface TokenTaken {
  readonly isTaken: boolean;
  /** Left in the bucket, with fractions. */
  readonly bucket: Bucket;
}

/** In which an empty bucket fills up. */
const fillMs = 1_000;

/** Takes a token from a bucket that holds `perSecond` at most and gains as many a second; null is one that was never used, and full. */
export function takeToken(stored: Bucket | null, perSecond: number, now: number): TokenTaken {
  // One that was reckoned so far ahead is full by then: the clock was set back since (a failover, a step of NTP).
  const bucket = stored !== null && stored.at - now >= fillMs ? null : stored;
  // Of two processes' clocks the later counts.
  const at = Math.max(now, bucket?.at ?? now);
  const gained = bucket === null ? perSecond : ((at - bucket.at) * perSecond) / 1_000;
  const tokens = Math.min(perSecond, (bucket?.tokens ?? 0) + gained);
  const isTaken = tokens >= 1;
  return { isTaken, bucket: { tokens: isTaken ? tokens - 1 : tokens, at } };
}
