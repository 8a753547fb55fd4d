// Owns the statements by which schedules bring forth tasks: which must be looked at, and the one transaction that makes and moves on.

import { sql } from "kysely";
import { v7 as uuidv7 } from "uuid";
import { failpoint } from "../runtime/failpoint.ts";
import type { Connection, Database } from "./database.ts";
import { builtInDefaults } from "../task/queue.ts";
import { lookAheadMs } from "./schedule.ts";
import { readColumns, type ScheduleRow } from "./schedule-rows.ts";
import { instant } from "./task-rows.ts";

/** What another process with a newer time-zone database has reckoned is left to it for so long. */
const leftToNewerMs = 10_000;

/** Where a page of looks ended. */
export interface LookPosition {
  readonly lookAt: number;
  readonly id: string;
}

/** Schedules to be looked at now, the most urgent first. */
export async function readLooks(
  connection: Connection,
  { after, limit, tzVersion }: { after: LookPosition | null; limit: number; tzVersion: string },
): Promise<LookPosition[]> {
  const beyond =
    after === null ? sql`true` : sql`(look_at, id) > (${instant(after.lookAt)}::timestamptz, ${after.id}::uuid)`;
  const found = await sql<LookPosition>`
    select look_at as "lookAt", id from lapse.schedules
    where state = 'active' and look_at <= statement_timestamp() and ${beyond}
      and (tz_version <= ${tzVersion} or look_at <= statement_timestamp() - ${leftToNewerMs} * interval '1 millisecond')
    order by look_at, id limit ${limit}`.execute(connection);
  return found.rows;
}

/** When the next schedule must be looked at, in ms from now; null where none waits. */
export async function readNextLookMs(connection: Connection): Promise<number | null> {
  const found = await sql<{ inMs: number }>`
    select extract(epoch from look_at - clock_timestamp())::float8 * 1000 as "inMs" from lapse.schedules
    where state = 'active' order by look_at limit 1`.execute(connection);
  return found.rows[0]?.inMs ?? null;
}

/** Locks those that must still be looked at; what somebody else holds is passed over. */
export async function lockLooks(trx: Connection, ids: readonly string[]): Promise<ScheduleRow[]> {
  const locked = await sql<ScheduleRow>`
    select s.*, ${readColumns} from lapse.schedules s
    where s.id = any(${ids}::uuid[]) and s.state = 'active' and s.look_at <= clock_timestamp()
    order by s.id for update of s skip locked`.execute(trx);
  return locked.rows;
}

/** A task to be made for a schedule. */
export interface NewOccurrence {
  readonly scheduleId: string;
  /** Null: a caller asked for it. */
  readonly occurrenceAt: number | null;
  readonly dueAt: number;
}

export interface MadeTask {
  readonly id: string;
  readonly queue: string;
  readonly state: "scheduled" | "cancelled";
  readonly nextAttemptAt: number;
}

/**
 * Makes the tasks, and counts what it stores. An occurrence that has its task already is passed over. A key ends in its occurrence; a tombstone of
 * it cancels the task, and where anybody else has it the task goes without, rather than not at all.
 */
export async function insertOccurrences(
  trx: Connection,
  occurrences: readonly NewOccurrence[],
  createdAt: number,
): Promise<MadeTask[]> {
  const rows = occurrences.map((occurrence) => ({ id: uuidv7({ msecs: createdAt }), ...occurrence }));
  const keyed = await insertTasks(trx, rows, { createdAt, withKey: true });
  const made = new Set(keyed.map((task) => task.id));
  const left = rows.filter(({ id }) => !made.has(id));
  const tasks =
    left.length === 0 ? keyed : [...keyed, ...(await insertTasks(trx, left, { createdAt, withKey: false }))];
  failpoint("schedule.made");
  return tasks;
}

async function insertTasks(
  trx: Connection,
  rows: readonly (NewOccurrence & { readonly id: string })[],
  { createdAt, withKey }: { createdAt: number; withKey: boolean },
): Promise<MadeTask[]> {
  const at = instant(createdAt);
  const inserted = await sql<MadeTask>`
    with wanted as (
      select o.id, o.occurrence_at, o.due_at, s.id as schedule_id, s.queue,
        case when ${withKey}::boolean
          then s.key || to_char(coalesce(o.occurrence_at, o.due_at) at time zone 'UTC', ':YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end as key
      from unnest(${rows.map(({ id }) => id)}::uuid[], ${rows.map(({ scheduleId }) => scheduleId)}::uuid[],
        ${rows.map(({ occurrenceAt }) => (occurrenceAt === null ? null : instant(occurrenceAt)))}::timestamptz[],
        ${rows.map(({ dueAt }) => instant(dueAt))}::timestamptz[]) as o (id, schedule_id, occurrence_at, due_at)
      join lapse.schedules s on s.id = o.schedule_id
    ), stored as (
      insert into lapse.tasks (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at, finished_at, url, method, headers,
        payload, body, content_type, timeout_ms, retry, misfire_grace_ms, delivery, max_reschedules, labels, traceparent, schedule_id, occurrence_at)
      select w.id, w.queue, w.key, case when stop.id is null then 'scheduled' else 'cancelled' end, w.due_at, w.due_at, ${at}, ${at},
        case when stop.id is null then null else ${at}::timestamptz end, s.url, s.method, s.headers,
        s.payload, s.body, s.content_type, coalesce(s.timeout_ms, (q.defaults ->> 'timeoutMs')::int, ${builtInDefaults.timeoutMs}::int),
        coalesce(s.retry, q.defaults -> 'retry', ${JSON.stringify(builtInDefaults.retry)}::jsonb),
        case when s.misfire_grace_given then s.misfire_grace_ms else (q.defaults ->> 'misfireGraceMs')::bigint end,
        s.delivery, s.max_reschedules, s.labels, s.traceparent, w.schedule_id, w.occurrence_at
      from wanted w
      join lapse.schedules s on s.id = w.schedule_id
      left join lapse.queues q on q.name = w.queue
      left join lapse.tasks stop on stop.queue = w.queue and stop.key = w.key and stop.state = 'tombstone' and stop.due_at > clock_timestamp()
      order by w.id
      on conflict do nothing
      returning id, queue, state, next_attempt_at
    ), counted as (
      insert into lapse.tallies (id, queue, kind, count)
      select ${uuidv7()}::uuid, queue, 'accepted', count(*) from stored group by queue
    )
    select id, queue, state, next_attempt_at as "nextAttemptAt" from stored`.execute(trx);
  return inserted.rows;
}

/** Where a schedule stands once its tasks are made. */
export interface Move {
  readonly id: string;
  /** The first occurrence whose task is not made yet. */
  readonly nextAt: number | null;
  /** The last one whose task was made now. */
  readonly lastAt: number | null;
  readonly hasEnded: boolean;
}

/** Moves locked schedules on. One of which no occurrence follows is looked at once more when its last is there, to end. */
export async function moveOn(trx: Connection, moves: readonly Move[], tzVersion: string): Promise<void> {
  await sql`
    update lapse.schedules s set
      next_occurrence_at = m.next_at,
      last_occurrence_at = greatest(s.last_occurrence_at, m.last_at),
      look_at = case when m.has_ended then null
        else coalesce(m.next_at - ${lookAheadMs} * interval '1 millisecond', m.last_at, s.last_occurrence_at, clock_timestamp()) end,
      state = case when m.has_ended then 'ended' else s.state end,
      updated_at = case when m.has_ended then clock_timestamp() else s.updated_at end,
      version = s.version + case when m.has_ended then 1 else 0 end,
      tz_version = ${tzVersion}
    from unnest(${moves.map(({ id }) => id)}::uuid[], ${moves.map(({ nextAt }) => orNull(nextAt))}::timestamptz[],
      ${moves.map(({ lastAt }) => orNull(lastAt))}::timestamptz[], ${moves.map(({ hasEnded }) => hasEnded)}::boolean[])
      as m (id, next_at, last_at, has_ended)
    where s.id = m.id and s.state = 'active'`.execute(trx);
  failpoint("schedule.moved");
}

/** Ends a schedule that can bring forth no task, and says why; nothing else waits for it. */
export async function setScheduleAside(database: Database, id: string, error: string): Promise<void> {
  await database.query((connection) =>
    sql`
      update lapse.schedules set state = 'ended', next_occurrence_at = null, look_at = null, error = ${error},
        updated_at = clock_timestamp(), version = version + 1
      where id = ${id} and state = 'active'`.execute(connection),
  );
}

function orNull(at: number | null): string | null {
  return at === null ? null : instant(at);
}
