// Owns what firing needs to know of a task that was claimed: the narrow row that a claim returns.

import type { Delivery, HttpMethod, RetryPolicy, TaskBody } from "./task.ts";

export interface ClaimedTask {
  readonly id: string;
  readonly queue: string;
  readonly key: string | null;
  /** The number of this attempt: also the fencing token of its settle. */
  readonly attempt: number;
  /** Attempts made before the last retry, reschedule or replace: the budget counts from there. */
  readonly attemptsBefore: number;
  readonly dueAt: number;
  readonly latenessMs: number;
  readonly url: string;
  readonly method: HttpMethod;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: TaskBody;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly delivery: Delivery;
  readonly reschedules: number;
  readonly maxReschedules: number | null;
  readonly traceparent: string | null;
  /** Why its row can never be sent, as only SQL can have made it; null: it can. */
  readonly damage: string | null;
}
