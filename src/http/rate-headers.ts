// Owns what callers are told of their rate limit (draft-ietf-httpapi-ratelimit-headers-10), and the 429.

import type { RateVerdict } from "../rate-limit/rate-limiter.ts";
import { rateLimitedRetryAfterSeconds } from "./limits.ts";
import { ApiProblem } from "./problem.ts";

const policy = '"per-key"';
const windowSeconds = 1;

/** The policy, `q` requests in a window of `w` seconds, and how its caller stands: `r` are left, and in `t` seconds there are all again. */
export function rateHeaders({ perSecond, left }: RateVerdict): Record<string, string> {
  return {
    "ratelimit-policy": `${policy};q=${perSecond};w=${windowSeconds}`,
    ratelimit: `${policy};r=${left};t=${windowSeconds}`,
  };
}

export function rateLimited(): ApiProblem {
  return new ApiProblem("rate-limited", {
    detail: "Nothing was done. Repeat the request after Retry-After.",
    headers: { "retry-after": String(rateLimitedRetryAfterSeconds) },
  });
}
