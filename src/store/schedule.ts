// Owns what a schedule is: what callers define of it, and how it stands. An instant (`…At`) is in ms since the epoch, by Postgres's clock.

import type { OnConflict } from "../task/new-task.ts";
import type { Delivery, HttpMethod, RetryPolicy, TaskBody } from "../task/task.ts";
import type { Trigger } from "../trigger/trigger.ts";

export const scheduleStates = ["active", "paused", "ended"] as const;
export type ScheduleState = (typeof scheduleStates)[number];

/** A task is made this long before its occurrence at most. */
export const madeAheadMsMax = 30_000;
/** A schedule is looked at this long before its next occurrence: half of the above, so that a dense one is written once for many. */
export const lookAheadMs = 15_000;

/** What a caller defines; each of its tasks is made of it. */
export interface ScheduleDefinition {
  readonly name: string;
  readonly trigger: Trigger;
  /** Of occurrences missed while nobody dispatched, only the latest becomes a task. */
  readonly coalesce: boolean;
  readonly maxInstances: number;
  readonly jitterMs: number | null;
  readonly queue: string;
  /** Its tasks' keys begin with it. */
  readonly key: string | null;
  readonly url: string;
  readonly method: HttpMethod;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: TaskBody;
  /** Null: left to the queue. */
  readonly timeoutMs: number | null;
  /** Null: left to the queue. */
  readonly retry: RetryPolicy | null;
  /** Undefined: left to the queue. Null is a word of the caller's: however late, fire. */
  readonly misfireGraceMs: number | null | undefined;
  readonly delivery: Delivery;
  readonly maxReschedules: number | null;
  readonly labels: Readonly<Record<string, string>>;
}

export interface NewSchedule extends ScheduleDefinition {
  /** What a schedule of the same name means. */
  readonly onConflict: OnConflict;
  readonly traceparent: string | null;
  /** SHA-256 of the request's fields after defaults: "the very same request" has the same. */
  readonly requestHash: string;
}

/** The fields that a PATCH may change; one left out stays. */
export type ScheduleChanges = { readonly [Field in keyof ScheduleDefinition]?: ScheduleDefinition[Field] };

export interface Schedule extends ScheduleDefinition {
  readonly id: string;
  readonly state: ScheduleState;
  /** Null where it is not active. */
  readonly nextOccurrenceAt: number | null;
  readonly previousOccurrenceAt: number | null;
  /** Why it was set aside: it can bring forth no task. */
  readonly error: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly version: number;
}
