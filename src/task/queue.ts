// Owns what a queue is to its tasks: the terms that they take over where they leave them out, and what Lapse says where the queue is silent.

import type { RetryPolicy } from "./task.ts";

/** Of tasks that leave the field out; one that is missing here is Lapse's own (`builtInDefaults`). */
export interface QueueDefaults {
  readonly retry?: RetryPolicy;
  readonly timeoutMs?: number;
  readonly misfireGraceMs?: number;
}

export const builtInDefaults: { retry: RetryPolicy; timeoutMs: number; misfireGraceMs: null } = {
  retry: { maxAttempts: 10, backoff: "exponential", minDelayMs: 5_000, maxDelayMs: 21_600_000, factor: 3, jitter: 0.2 },
  timeoutMs: 30_000,
  misfireGraceMs: null,
};
