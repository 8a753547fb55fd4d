// Owns the types of the tables, as kysely sees them. A test holds them against information_schema.

import type { ColumnType, Generated, GeneratedAlways } from "kysely";
import type { EventType } from "../task/event.ts";
import type { QueueDefaults } from "../task/queue.ts";
import type { Scope } from "../task/scope.ts";
import type { AttemptOutcome, Delivery, HttpMethod, RetryPolicy, TaskState } from "../task/task.ts";
import type { Trigger } from "../trigger/trigger.ts";
import type { ScheduleState } from "./schedule.ts";

/** Read as ms since the epoch, written as an ISO 8601 text or by SQL. */
type Instant = ColumnType<number, string, string>;
type NullableInstant = ColumnType<number | null, string | null | undefined, string | null>;
/** Read as a value, written as JSON text. */
type Json<T> = ColumnType<T, string | undefined, string>;
type RequiredJson<T> = ColumnType<T, string, string>;
type NullableJson<T> = ColumnType<T | null, string | null | undefined, string | null>;
type Labels = Readonly<Record<string, string>>;

export interface QueueTable {
  name: string;
  concurrency: Generated<number>;
  paused: Generated<boolean>;
  created_at: Generated<number>;
  rate_limit_count: number | null;
  rate_limit_per_ms: number | null;
  defaults: Json<QueueDefaults>;
}

export interface NewQueueTable {
  name: string;
  task_id: string;
}

export interface TaskTable {
  id: string;
  queue: string;
  key: string | null;
  state: TaskState | "tombstone";
  due_at: Instant;
  next_attempt_at: Instant;
  created_at: Instant;
  updated_at: Instant;
  finished_at: NullableInstant;
  url: string | null;
  method: Generated<HttpMethod>;
  headers: Json<Labels>;
  payload: string | null;
  body: string | null;
  content_type: string | null;
  timeout_ms: Generated<number>;
  retry: Json<RetryPolicy>;
  misfire_grace_ms: number | null;
  delivery: Generated<Delivery>;
  max_reschedules: number | null;
  reschedules: Generated<number>;
  labels: Json<Labels>;
  schedule_id: string | null;
  traceparent: string | null;
  request_hash: string | null;
  attempts: Generated<number>;
  attempts_before: Generated<number>;
  attempts_at_due: Generated<number>;
  attempt_started_at: NullableInstant;
  lateness_ms: number | null;
  owner: string | null;
  cancel_requested: Generated<boolean>;
  confirmed_attempt: number | null;
  confirm_refused: Generated<boolean>;
  tombstone_until: NullableInstant;
  held: Generated<boolean>;
  version: Generated<number>;
  occurrence_at: NullableInstant;
}

export interface ScheduleTable {
  id: string;
  name: string;
  state: Generated<ScheduleState>;
  trigger: RequiredJson<Trigger>;
  coalesce: Generated<boolean>;
  max_instances: Generated<number>;
  jitter_ms: number | null;
  queue: string;
  key: string | null;
  url: string;
  method: Generated<HttpMethod>;
  headers: Json<Labels>;
  payload: string | null;
  body: string | null;
  content_type: string | null;
  timeout_ms: number | null;
  retry: NullableJson<RetryPolicy>;
  misfire_grace_ms: number | null;
  misfire_grace_given: Generated<boolean>;
  delivery: Generated<Delivery>;
  max_reschedules: number | null;
  labels: Json<Labels>;
  traceparent: string | null;
  next_occurrence_at: NullableInstant;
  last_occurrence_at: NullableInstant;
  look_at: NullableInstant;
  tz_version: string;
  error: string | null;
  request_hash: string | null;
  created_at: Instant;
  updated_at: Instant;
  version: Generated<number>;
}

export interface AttemptTable {
  task_id: string;
  number: number;
  started_at: Instant;
  finished_at: Instant;
  lateness_ms: number;
  duration_ms: number;
  outcome: AttemptOutcome;
  status: number | null;
  error: string | null;
  response_snippet: string | null;
}

export interface DispatcherTable {
  id: string;
  started_at: Generated<number>;
  lease_until: Instant;
  dead_at: NullableInstant;
}

export interface ShareTable {
  queue: string;
  owner: string;
  slots: Generated<number>;
  wanted: Generated<number>;
}

export interface RateStartsTable {
  queue: string;
  bucket: number;
  at: Instant;
  count: number;
}

export interface QueueActivityTable {
  queue: string;
  owner: string;
  recorded_at: Generated<number>;
  fired: number;
  lateness: Json<Readonly<Record<string, number>>>;
}

export interface TallyTable {
  id: string;
  queue: string;
  kind: "accepted" | "pruned";
  count: number;
  created_at: Generated<number>;
}

export interface IdempotencyKeyTable {
  api_key_id: string;
  method: string;
  path: string;
  key: string;
  fingerprint: string;
  status: number | null;
  headers: Json<Record<string, string>> | null;
  body: string | null;
  created_at: Generated<number>;
}

export interface ApiKeyTable {
  id: string;
  name: string;
  scopes: Scope[];
  queues: string[] | null;
  digest: Buffer;
  created_by: string;
  created_at: Generated<number>;
  last_used_at: NullableInstant;
  expires_at: NullableInstant;
}

export interface SettingTable {
  name: string;
  value: string;
  created_at: Generated<number>;
}

export interface HeartbeatTable {
  id: Generated<number>;
  beaten_at: Instant;
}

/** What one statement did, as the triggers wrote it. */
export interface StoredEvent {
  readonly type: EventType;
  readonly queue: string | null;
  readonly taskId: string | null;
  readonly key: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A transaction's 64-bit number, read as text. */
type Xid = ColumnType<string, string | undefined, string>;

export interface EventTable {
  xid: Xid;
  id: GeneratedAlways<number>;
  created_at: Generated<number>;
  items: ColumnType<readonly StoredEvent[], string, never>;
}

export interface EventRecordingTable {
  id: Generated<number>;
  recorded_until: Generated<number>;
  began_at: Generated<number>;
  kept_after_xid: Xid;
  kept_after_id: Generated<number>;
}

export interface SubscriptionTable {
  id: string;
  url: string;
  types: EventType[];
  queue: string | null;
  created_at: Generated<number>;
  cursor_xid: Xid;
  cursor_id: Generated<number>;
  dropped: Generated<number>;
}

export interface Tables {
  "lapse.queues": QueueTable;
  "lapse.new_queues": NewQueueTable;
  "lapse.tasks": TaskTable;
  "lapse.schedules": ScheduleTable;
  "lapse.attempts": AttemptTable;
  "lapse.dispatchers": DispatcherTable;
  "lapse.shares": ShareTable;
  "lapse.rate_starts": RateStartsTable;
  "lapse.queue_activity": QueueActivityTable;
  "lapse.tallies": TallyTable;
  "lapse.idempotency_keys": IdempotencyKeyTable;
  "lapse.api_keys": ApiKeyTable;
  "lapse.settings": SettingTable;
  "lapse.heartbeat": HeartbeatTable;
  "lapse.events": EventTable;
  "lapse.event_recording": EventRecordingTable;
  "lapse.subscriptions": SubscriptionTable;
}
