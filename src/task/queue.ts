// Owns what a queue is: how much of it may run, and the terms that its tasks take over where they leave them out.

import type { RetryPolicy, TaskState } from "./task.ts";

/** Of tasks that leave the field out; one that is missing here is Lapse's own (`builtInDefaults`). */
export interface QueueDefaults {
  readonly retry?: RetryPolicy;
  readonly timeoutMs?: number;
  readonly misfireGraceMs?: number;
}

/** What Lapse says where the queue is silent. */
export const builtInDefaults: { retry: RetryPolicy; timeoutMs: number; misfireGraceMs: null } = {
  retry: { maxAttempts: 10, backoff: "exponential", minDelayMs: 5_000, maxDelayMs: 21_600_000, factor: 3, jitter: 0.2 },
  timeoutMs: 30_000,
  misfireGraceMs: null,
};

/** Of a queue that was never set up; the column's default in SQL says the same. */
export const concurrencyDefault = 100;

/** No window of length `perMs` has more than `limit` starts of attempts. */
export interface RateLimit {
  readonly limit: number;
  readonly perMs: number;
}

export interface Queue {
  readonly name: string;
  /** Calls in flight at once, over all dispatchers. */
  readonly concurrency: number;
  readonly rateLimit: RateLimit | null;
  readonly paused: boolean;
  readonly defaults: QueueDefaults;
}

/** What a PUT changes; what is left out stays. Of the defaults, null takes one away. */
export interface QueueChanges {
  readonly concurrency?: number | undefined;
  readonly rateLimit?: RateLimit | null | undefined;
  readonly paused?: boolean | undefined;
  readonly defaults?: { readonly [Field in keyof QueueDefaults]?: QueueDefaults[Field] | null | undefined } | undefined;
}

export interface QueueStats {
  readonly counts: Readonly<Record<TaskState, number>>;
  /** How long the oldest task that is due has been so; 0 where none is. */
  readonly oldestOverdueMs: number;
  /** Over the last minute. */
  readonly firedPerSecond: number;
  /** Of first attempts of the last minute; null where there was none. */
  readonly latenessMs: { readonly p50: number | null; readonly p99: number | null };
}
