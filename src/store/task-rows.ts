// Owns how a task's row becomes a task, and back.

import { type Selectable, sql } from "kysely";
import { type ReadTerms, readTerms, toDuration } from "../task/damage.ts";
import type { Attempt, Task, TaskBody } from "../task/task.ts";
import type { Connection } from "./database.ts";
import type { AttemptTable, TaskTable } from "./tables.ts";

export type TaskRow = Selectable<TaskTable>;
export type AttemptRow = Selectable<AttemptTable>;

/** Makes tasks of rows read or returned by a write, each with its last attempt. A tombstone is no task: none may be among them. */
export async function toTasks(connection: Connection, rows: readonly TaskRow[]): Promise<Task[]> {
  const settled = rows.filter((row) => row.attempts > 0 && row.state !== "running");
  const last = new Map<string, Attempt>();
  if (settled.length > 0) {
    const ids = settled.map((row) => row.id);
    const numbers = settled.map((row) => row.attempts);
    const found = await sql<AttemptRow>`
      select a.* from unnest(${ids}::uuid[], ${numbers}::int[]) as want (id, number)
      join lapse.attempts a on a.task_id = want.id and a.number = want.number`.execute(connection);
    for (const row of found.rows) last.set(row.task_id, toAttempt(row));
  }
  return rows.map((row) => toTask(row, row.state === "running" ? runningAttempt(row) : (last.get(row.id) ?? null)));
}

/** The same for a single row. */
export async function toOneTask(connection: Connection, row: TaskRow): Promise<Task> {
  const [task] = await toTasks(connection, [row]);
  if (task === undefined) throw new Error(`task ${row.id} was read, and is not there`);
  return task;
}

export function toTask(row: TaskRow, lastAttempt: Attempt | null): Task {
  if (row.state === "tombstone" || row.url === null) throw new Error(`${row.id} is a tombstone, not a task`);
  const { damage: _damage, ...terms } = toTerms(row);
  return {
    ...terms,
    id: row.id,
    queue: row.queue,
    key: row.key,
    state: row.state,
    dueAt: row.due_at,
    nextAttemptAt: row.next_attempt_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    finishedAt: row.finished_at,
    url: row.url,
    method: row.method,
    misfireGraceMs: row.misfire_grace_ms === null ? null : toDuration(row.misfire_grace_ms),
    delivery: row.delivery,
    maxReschedules: row.max_reschedules,
    labels: row.labels,
    traceparent: row.traceparent,
    scheduleId: row.schedule_id,
    attempts: row.attempts,
    cancelRequested: row.cancel_requested,
    version: row.version,
    lastAttempt,
  };
}

/** The columns that SQL may have left in any shape, as far as they can be understood. */
export function toTerms(
  row: Pick<TaskRow, "headers" | "retry" | "payload" | "body" | "content_type" | "timeout_ms">,
): ReadTerms {
  const { headers, retry, payload, body } = row;
  return readTerms({ headers, retry, payload, body, contentType: row.content_type, timeoutMs: row.timeout_ms });
}

export function toAttempt(row: AttemptRow): Attempt {
  return {
    number: row.number,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    latenessMs: row.lateness_ms,
    durationMs: row.duration_ms,
    outcome: row.outcome,
    status: row.status,
    error: row.error,
    responseSnippet: row.response_snippet,
  };
}

/** The attempt in flight, which stands in its task's row until it is settled. */
export function runningAttempt(row: TaskRow): Attempt | null {
  if (row.attempt_started_at === null || row.lateness_ms === null) return null;
  return {
    number: row.attempts,
    startedAt: row.attempt_started_at,
    finishedAt: null,
    latenessMs: row.lateness_ms,
    durationMs: null,
    outcome: null,
    status: null,
    error: null,
    responseSnippet: null,
  };
}

/** A body, as a write takes it. */
export function bodyColumns(body: TaskBody): {
  payload: string | null;
  body: string | null;
  content_type: string | null;
} {
  return {
    payload: body.kind === "payload" ? body.json : null,
    body: body.kind === "raw" ? body.text : null,
    content_type: body.kind === "raw" ? body.contentType : null,
  };
}

/** Comes before every id: where a keyset begins at a time. */
export const leastId = "00000000-0000-0000-0000-000000000000";

/** An instant as a statement takes it. */
export function instant(ms: number): string {
  return new Date(ms).toISOString();
}
