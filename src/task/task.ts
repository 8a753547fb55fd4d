// Owns what a task is: its states, its fields and the attempts made for it. Pure: no I/O and no clock.
// An instant (`…At`) is a number of milliseconds since the Unix epoch, by the clock of Postgres.

export const endedStates = ["succeeded", "failed", "cancelled", "missed"] as const;
export const liveStates = ["scheduled", "paused", "running"] as const;
/** Those from which a task may be scheduled anew by an explicit retry. */
export const retryableStates = ["failed", "missed"] as const;
export const taskStates = [...liveStates, ...endedStates] as const;

export type EndedState = (typeof endedStates)[number];
export type TaskState = (typeof taskStates)[number];

export const attemptOutcomes = [
  "succeeded",
  "failed",
  "timed-out",
  "refused",
  "blocked",
  "lost",
  "rescheduled",
] as const;
export type AttemptOutcome = (typeof attemptOutcomes)[number];

export const httpMethods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;
export type HttpMethod = (typeof httpMethods)[number];

export type Delivery = "at-least-once" | "at-most-once";

export interface RetryPolicy {
  readonly maxAttempts: number;
  readonly backoff: "exponential" | "fixed";
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  readonly factor: number;
  readonly jitter: number;
}

/** What is sent with a task: nothing, a JSON value as the caller wrote it, or a raw string of a type that the caller names. */
export type TaskBody =
  | { readonly kind: "none" }
  | { readonly kind: "payload"; readonly json: string }
  | { readonly kind: "raw"; readonly text: string; readonly contentType: string };

/** What a caller defines; a replace changes all of it, a change (PATCH) some. */
export interface TaskDefinition {
  readonly url: string;
  readonly method: HttpMethod;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: TaskBody;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly misfireGraceMs: number | null;
  readonly delivery: Delivery;
  readonly maxReschedules: number | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly traceparent: string | null;
}

export interface Task extends TaskDefinition {
  readonly id: string;
  readonly queue: string;
  readonly key: string | null;
  readonly state: TaskState;
  readonly dueAt: number;
  readonly nextAttemptAt: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly finishedAt: number | null;
  readonly scheduleId: string | null;
  /** Attempts ever begun; the number of the last one. Never starts again. */
  readonly attempts: number;
  readonly cancelRequested: boolean;
  readonly version: number;
  readonly lastAttempt: Attempt | null;
}

/** One call made for a task. `finishedAt`, `durationMs`, `outcome` and `status` are null while it runs. */
export interface Attempt {
  readonly number: number;
  readonly startedAt: number;
  readonly finishedAt: number | null;
  readonly latenessMs: number;
  readonly durationMs: number | null;
  readonly outcome: AttemptOutcome | null;
  readonly status: number | null;
  readonly error: string | null;
  readonly responseSnippet: string | null;
}

export function isEnded(state: TaskState): state is EndedState {
  return (endedStates as readonly string[]).includes(state);
}
