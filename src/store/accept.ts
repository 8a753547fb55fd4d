// Owns the statements that store new tasks. The order of steps is intake's.

import { sql } from "kysely";
import { failpoint } from "../runtime/failpoint.ts";
import { keyName } from "../task/key-name.ts";
import type { NewTask } from "../task/new-task.ts";
import type { Task } from "../task/task.ts";
import { type Arrival, bindStoring, storedOf } from "./arrivals.ts";
import { type Connection, type Database, execute } from "./database.ts";
import { bodyColumns, instant, type TaskRow } from "./task-rows.ts";

export interface Sending {
  /** By Postgres's clock, in ms since the epoch: when its answer is no longer waited for, and it is to store nothing any more. */
  readonly notAfter: number;
  /** The arrivals were never sent before. */
  readonly isFirstSend?: boolean;
}

/** Stores all that no standing key refuses, and counts them. Resolves to the ids stored; the rest need a closer look. */
export async function insertArrivals(
  database: Database,
  arrivals: readonly Arrival[],
  { notAfter, isFirstSend = false }: Sending,
): Promise<Set<string>> {
  const statement = bindStoring(arrivals, { state: "scheduled", notAfter: instant(notAfter), isFirstSend });
  return storedOf(await database.run(statement, "accept.sent"), arrivals);
}

/** Which of the arrivals are stored, by an earlier send whose answer was lost. */
export async function findStored(connection: Connection, arrivals: readonly Arrival[]): Promise<Set<string>> {
  const ids = arrivals.map((arrival) => arrival.id);
  const found = await connection.selectFrom("lapse.tasks").select("id").where("id", "in", ids).execute();
  return new Set(found.map((row) => row.id));
}

/** The same within a transaction under way; `cancelled` for those that a tombstone stops on arrival. */
export async function insertArrivalsIn(
  trx: Connection,
  arrivals: readonly Arrival[],
  state: "scheduled" | "cancelled",
): Promise<Set<string>> {
  if (arrivals.length === 0) return new Set();
  const stored = storedOf(
    await execute(trx, bindStoring(arrivals, { state, notAfter: null, isFirstSend: false })),
    arrivals,
  );
  failpoint("accept.inserted");
  return stored;
}

/** What stands where an arrival was refused: the arrival itself (an earlier send was committed), or the live task or tombstone with its key. */
export async function findStanding(connection: Connection, arrival: Arrival): Promise<TaskRow | null> {
  const own = await connection.selectFrom("lapse.tasks").selectAll().where("id", "=", arrival.id).executeTakeFirst();
  if (own !== undefined || arrival.task.key === null) return own ?? null;
  const standing = await connection
    .selectFrom("lapse.tasks")
    .selectAll()
    .where("queue", "=", arrival.task.queue)
    .where("key", "=", arrival.task.key)
    .where("state", "in", ["scheduled", "paused", "running", "tombstone"])
    .executeTakeFirst();
  return standing ?? null;
}

/** The live tasks that have the arrivals' keys, each once; no tombstones. */
export async function findStandingByKeys(connection: Connection, arrivals: readonly Arrival[]): Promise<TaskRow[]> {
  const keyed = [...new Map(arrivals.map(({ task }) => [keyName(task), task])).values()];
  const [queues, keys] = [keyed.map(({ queue }) => queue), keyed.map(({ key }) => key)];
  // One look into the index of live keys for each: joined, Postgres read the whole of it.
  const found = await sql<TaskRow>`
    select t.* from unnest(${queues}::text[], ${keys}::text[]) as want (queue, key)
    cross join lateral (
      select * from lapse.tasks
      where queue = want.queue and key = want.key and state in ('scheduled', 'paused', 'running', 'tombstone') limit 1
    ) t
    where t.state <> 'tombstone'`.execute(connection);
  return found.rows;
}

/** Gives a waiting task a new definition and due time, with a fresh budget; its id, its pause and its attempts stay. Null where it waits no more. */
export async function replaceTask(
  connection: Connection,
  standingId: string,
  arrival: Arrival,
): Promise<TaskRow | null> {
  const { task } = arrival;
  const replaced = await connection
    .updateTable("lapse.tasks")
    .set({
      ...definitionColumns(task),
      request_hash: task.requestHash,
      due_at: instant(arrival.dueAt),
      next_attempt_at: instant(arrival.dueAt),
      updated_at: sql`clock_timestamp()`,
      attempts_before: sql`attempts`,
      attempts_at_due: sql`attempts`,
      reschedules: 0,
      version: sql`version + 1`,
    })
    .where("id", "=", standingId)
    .where("state", "in", ["scheduled", "paused"])
    .returningAll()
    .executeTakeFirst();
  return replaced ?? null;
}

/** The task as it stands once its arrival is stored. */
export function acceptedTask(arrival: Arrival, state: "scheduled" | "cancelled"): Task {
  const { task, createdAt, dueAt } = arrival;
  return {
    url: task.url,
    method: task.method,
    headers: task.headers,
    body: task.body,
    timeoutMs: task.timeoutMs,
    retry: task.retry,
    misfireGraceMs: task.misfireGraceMs,
    delivery: task.delivery,
    maxReschedules: task.maxReschedules,
    labels: task.labels,
    traceparent: task.traceparent,
    queue: task.queue,
    key: task.key,
    id: arrival.id,
    state,
    dueAt,
    nextAttemptAt: dueAt,
    createdAt,
    updatedAt: createdAt,
    finishedAt: state === "cancelled" ? createdAt : null,
    scheduleId: null,
    attempts: 0,
    cancelRequested: false,
    version: 1,
    lastAttempt: null,
  };
}

/** A definition's columns, as a write takes them. */
export function definitionColumns(task: NewTask) {
  return {
    url: task.url,
    method: task.method,
    headers: JSON.stringify(task.headers),
    ...bodyColumns(task.body),
    timeout_ms: task.timeoutMs,
    retry: JSON.stringify(task.retry),
    misfire_grace_ms: task.misfireGraceMs,
    delivery: task.delivery,
    max_reschedules: task.maxReschedules,
    labels: JSON.stringify(task.labels),
    traceparent: task.traceparent,
  };
}
