// Owns how a schedule's row becomes a schedule, and back.

import { type RawBuilder, type Selectable, sql } from "kysely";
import { readTerms, toDuration } from "../task/damage.ts";
import { nextOccurrence } from "../trigger/trigger.ts";
import { bodyColumns } from "./task-rows.ts";
import type { Schedule, ScheduleDefinition } from "./schedule.ts";
import type { ScheduleTable } from "./tables.ts";

/** A row with what is reckoned beside it. */
export interface ScheduleRow extends Selectable<ScheduleTable> {
  /** Postgres's clock when it was read. */
  readonly now: number;
  /** The last occurrence that is not ahead. */
  readonly previous_at: number | null;
}

/**
 * What `ScheduleRow` has beside the columns of `s`. The last occurrence made may be ahead: then the one before it is among the tasks,
 * since so dense a schedule has had one within the retention.
 */
export const readColumns: RawBuilder<unknown> = sql`
  clock_timestamp() as now,
  case when s.last_occurrence_at <= clock_timestamp() then s.last_occurrence_at else (
    select max(occurrence_at) from lapse.tasks
    where schedule_id = s.id and occurrence_at <= clock_timestamp() and occurrence_at is not null and state <> 'cancelled'
  ) end as previous_at`;

export function toSchedule(row: ScheduleRow): Schedule {
  return {
    ...toDefinition(row),
    id: row.id,
    state: row.state,
    nextOccurrenceAt: row.state === "active" ? nextOf(row) : null,
    previousOccurrenceAt: row.previous_at,
    error: row.error,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    version: row.version,
  };
}

export function toDefinition(row: Selectable<ScheduleTable>): ScheduleDefinition {
  const { headers, retry, payload, body, content_type: contentType } = row;
  const terms = readTerms({ headers, retry, payload, body, contentType, timeoutMs: row.timeout_ms ?? 0 });
  return {
    name: row.name,
    trigger: row.trigger,
    coalesce: row.coalesce,
    maxInstances: row.max_instances,
    jitterMs: row.jitter_ms === null ? null : toDuration(row.jitter_ms),
    queue: row.queue,
    key: row.key,
    url: row.url,
    method: row.method,
    headers: terms.headers,
    body: terms.body,
    timeoutMs: row.timeout_ms === null ? null : terms.timeoutMs,
    retry: retry === null ? null : terms.retry,
    misfireGraceMs: row.misfire_grace_given ? row.misfire_grace_ms && toDuration(row.misfire_grace_ms) : undefined,
    delivery: row.delivery,
    maxReschedules: row.max_reschedules,
    labels: row.labels,
  };
}

/** A definition's columns, as a write takes them. */
export function definitionColumns(schedule: ScheduleDefinition) {
  return {
    name: schedule.name,
    trigger: JSON.stringify(schedule.trigger),
    coalesce: schedule.coalesce,
    max_instances: schedule.maxInstances,
    jitter_ms: schedule.jitterMs,
    queue: schedule.queue,
    key: schedule.key,
    url: schedule.url,
    method: schedule.method,
    headers: JSON.stringify(schedule.headers),
    ...bodyColumns(schedule.body),
    timeout_ms: schedule.timeoutMs,
    retry: schedule.retry === null ? null : JSON.stringify(schedule.retry),
    misfire_grace_ms: schedule.misfireGraceMs ?? null,
    misfire_grace_given: schedule.misfireGraceMs !== undefined,
    delivery: schedule.delivery,
    max_reschedules: schedule.maxReschedules,
    labels: JSON.stringify(schedule.labels),
  };
}

/** The next one by the trigger: the column may be further on by what was made ahead. */
function nextOf(row: ScheduleRow): number | null {
  try {
    return nextOccurrence(row.trigger, row.now);
  } catch {
    // A trigger that SQL damaged: the dispatcher that looks at it sets it aside.
    return null;
  }
}
