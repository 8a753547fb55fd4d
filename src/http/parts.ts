// Owns what the API asks of the rest of Lapse: service.ts hands it objects that satisfy this.

import type { EventSink } from "../events/event-stream.ts";
import type { KeyHolder } from "../intake/api-keys.ts";
import type { Forecast } from "../intake/forecast.ts";
import type { IdempotencyScope, StoredAnswer } from "../intake/idempotency.ts";
import type { OnceOutcome } from "../intake/once.ts";
import type {
  AcceptOutcome,
  BulkFilter,
  BulkOutcome,
  CancelOutcome,
  ChangeOutcome,
  ConfirmOutcome,
  TaskRef,
  TogetherOutcome,
} from "../intake/outcomes.ts";
import type { CreateScheduleOutcome, ScheduleOutcome } from "../intake/schedules.ts";
import type { RateVerdict } from "../rate-limit/rate-limiter.ts";
import type { Log } from "../runtime/log.ts";
import type { ApiKey, NewApiKey } from "../store/api-keys.ts";
import type { ForecastWindow } from "../store/forecast.ts";
import type { Reach, TaskId } from "../store/reach.ts";
import type { NewSchedule, Schedule, ScheduleChanges } from "../store/schedule.ts";
import type { ScheduleFilter, ScheduleId } from "../store/schedules.ts";
import type { TaskCursor, TaskFilter, TaskOrder, TaskPage } from "../store/task-filter.ts";
import type { TaskChanges, TaskRequest } from "../task/new-task.ts";
import type { EventFilter } from "../task/event.ts";
import type { Subscription } from "../store/subscriptions.ts";
import type { Queue, QueueChanges, QueueStats } from "../task/queue.ts";
import type { Attempt, Task } from "../task/task.ts";

export interface IntakePart {
  /** Joins the next group commit. */
  accept(task: TaskRequest): Promise<AcceptOutcome>;
  /** Accepts some of very many, at most 500, no two of which may have one key, and leaves room for others. Never rejects. */
  acceptTogether(tasks: readonly TaskRequest[]): Promise<TogetherOutcome[]>;
  /** One outcome a task, in order. Atomic: one transaction; where any outcome is `conflict` or `locked`, nothing was stored. */
  acceptMany(tasks: readonly TaskRequest[], options: { atomic: boolean }): Promise<AcceptOutcome[]>;
  /**
   * Accepts under an Idempotency-Key, in the tasks' own transaction. `render` turns the outcomes into the answer that is kept (only 2xx
   * and 409). Replays it, or reports a different body or a request still in progress.
   */
  acceptOnce(
    tasks: readonly TaskRequest[],
    options: { atomic: boolean; idempotency: IdempotencyScope },
    render: (outcomes: AcceptOutcome[]) => StoredAnswer,
  ): Promise<OnceOutcome>;
  /** `waitMs` is how long to wait for an attempt in flight; 0 answers at once. */
  cancel(ref: TaskRef, waitMs: number): Promise<CancelOutcome>;
  confirm(task: TaskId, attempt: number): Promise<ConfirmOutcome>;
  change(task: TaskId, changes: TaskChanges, expectedVersion: number | null): Promise<ChangeOutcome>;
  pause(task: TaskId): Promise<ChangeOutcome>;
  resume(task: TaskId): Promise<ChangeOutcome>;
  run(task: TaskId): Promise<ChangeOutcome>;
  retry(task: TaskId): Promise<ChangeOutcome>;
  cancelMany(filter: BulkFilter, options: { tombstoneMs: number | null; dryRun: boolean }): Promise<BulkOutcome>;
  pauseMany(filter: BulkFilter, options: { dryRun: boolean }): Promise<BulkOutcome>;
  resumeMany(filter: BulkFilter, options: { dryRun: boolean }): Promise<BulkOutcome>;
  retryMany(filter: BulkFilter, options: { dryRun: boolean }): Promise<BulkOutcome>;
}

/** Null means that there is no queue of the name. */
export interface QueuesPart {
  /** Those within reach, by name. */
  list(
    reach: Reach,
    page: { limit: number; after: string | null },
  ): Promise<{ items: readonly Queue[]; next: string | null }>;
  read(name: string): Promise<Queue | null>;
  /** Makes the queue where it is new. */
  put(name: string, changes: QueueChanges): Promise<Queue>;
  change(name: string, changes: QueueChanges): Promise<Queue | null>;
  /** Cancels all tasks that wait; resolves to how many. */
  purge(name: string): Promise<number | null>;
  stats(name: string): Promise<QueueStats | null>;
  forecast(name: string, window: ForecastWindow): Promise<Forecast | null>;
}

/** Null means that there is no such task, as far as its caller can see. */
export interface TasksPart {
  read(task: TaskId): Promise<Task | null>;
  /** The live task with that key, else the newest. */
  readByKey(queue: string, key: string): Promise<Task | null>;
  list(filter: TaskFilter, page: { order: TaskOrder; limit: number; after: TaskCursor | null }): Promise<TaskPage>;
  /** Oldest first. */
  attempts(task: TaskId): Promise<Attempt[] | null>;
}

/** Null means that there is no such schedule, as far as its caller can see. */
export interface SchedulesPart {
  create(schedule: NewSchedule, reach: Reach): Promise<CreateScheduleOutcome>;
  /** Under an Idempotency-Key: `render` turns the outcome into the answer that is kept. */
  createOnce(
    schedule: NewSchedule,
    options: { reach: Reach; idempotency: IdempotencyScope },
    render: (outcome: CreateScheduleOutcome) => StoredAnswer,
  ): Promise<OnceOutcome>;
  read(id: ScheduleId): Promise<Schedule | null>;
  /** By name. */
  list(
    filter: ScheduleFilter,
    page: { limit: number; after: string | null },
  ): Promise<{ items: readonly Schedule[]; next: string | null }>;
  change(id: ScheduleId, changes: ScheduleChanges, expectedVersion: number | null): Promise<ScheduleOutcome>;
  pause(id: ScheduleId): Promise<ScheduleOutcome>;
  resume(id: ScheduleId): Promise<ScheduleOutcome>;
  /** False where there is none. */
  remove(id: ScheduleId): Promise<boolean>;
  /** Makes a task of it that is due now. */
  run(id: ScheduleId): Promise<Task | null>;
}

/** One queue's equation: `accepted` equals the sum of the others. */
export interface AuditQueue {
  readonly queue: string;
  readonly accepted: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly missed: number;
  readonly live: number;
  readonly pruned: number;
}

export interface Audit {
  readonly balanced: boolean;
  readonly queues: readonly AuditQueue[];
  readonly overdueCount: number;
  readonly overdue: readonly { readonly id: string; readonly queue: string; readonly dueAt: number }[];
}

export interface Readiness {
  readonly ready: boolean;
  readonly degraded: boolean;
  /** What was looked at, and what was found: `postgres: "ok"`. */
  readonly checks: Readonly<Record<string, string>>;
  /** Tasks held back by LAPSE_CATCH_UP until a bulk resume. */
  readonly held?: number;
}

export interface MetricsPart {
  text(): Promise<{ readonly contentType: string; readonly body: string }>;
  /** `route` is the path's template, or `unmatched`. */
  httpRequest(labels: { route: string; method: string; status: number }, durationMs: number): void;
}

/** The rule of contract.md section 8: with a key it is asked for; without one the API is open, on loopback alone. */
export interface AccessRule {
  readonly apiKey: string | null;
  readonly loopbackOnly: boolean;
}

export interface ApiKeysPart {
  /** `text` is the whole key, which cannot be had again. Null where there are as many as there may be. */
  make(fields: Omit<NewApiKey, "id" | "digest">): Promise<{ key: ApiKey; text: string } | null>;
  list(): Promise<ApiKey[]>;
  /** False where there is none with the id. */
  revoke(id: string): Promise<boolean>;
  /** Who holds the key of this text, or null. */
  holder(text: string): Promise<KeyHolder | null>;
}

export interface EventsPart {
  /** Begins to listen, from now on or after the last event that the client had; null where there are as many streams as there may be. */
  open(filter: EventFilter, lastEventId: string | null): Promise<{ run(sink: EventSink): void } | null>;
}

export interface SubscriptionsPart {
  /** Null where there are as many as there may be. */
  make(fields: Pick<Subscription, "url" | "types" | "queue">): Promise<Subscription | null>;
  list(): Promise<Subscription[]>;
  read(id: string): Promise<Subscription | null>;
  /** False where there is none with the id. */
  remove(id: string): Promise<boolean>;
}

export interface RateLimitPart {
  /** Counts one request of an API key. */
  take(apiKeyId: string): Promise<RateVerdict>;
}

export interface ApiParts {
  readonly intake: IntakePart;
  readonly tasks: TasksPart;
  readonly schedules: SchedulesPart;
  readonly queues: QueuesPart;
  audit(): Promise<Audit>;
  readiness(): Promise<Readiness>;
  readonly metrics: MetricsPart;
  signingSecrets(): Promise<readonly string[]>;
  readonly confirmToken: { verify(token: string, id: string, attempt: number): boolean };
  /** What is wrong with a webhook's URL, or null. */
  checkUrl(url: string): string | null;
  /** What is wrong with a webhook's headers, each fault with the header's name. */
  checkHeaders(headers: Record<string, string>): { name: string; message: string }[];
  /** Postgres's time, in ms since the Unix epoch. */
  readonly clock: { now(): number };
  readonly log: Log;
  /** Aborted when the process begins to stop: what goes on for long ends then. */
  readonly stopping: AbortSignal;
  readonly access: AccessRule;
  readonly apiKeys: ApiKeysPart;
  readonly events: EventsPart;
  readonly subscriptions: SubscriptionsPart;
  /** Null: no limit. */
  readonly rateLimit: RateLimitPart | null;
  readonly version: string;
  readonly role: "all" | "api" | "dispatcher";
}
