// Owns the statements that make, read, change and remove schedules. The order of steps is intake's.

import { type RawBuilder, sql } from "kysely";
import { v7 as uuidv7 } from "uuid";
import type { Connection, Database } from "./database.ts";
import { type Reach, withinReach } from "./reach.ts";
import {
  lookAheadMs,
  type NewSchedule,
  type Schedule,
  type ScheduleDefinition,
  type ScheduleState,
} from "./schedule.ts";
import { definitionColumns, readColumns, type ScheduleRow, toSchedule } from "./schedule-rows.ts";
import { instant, type TaskRow } from "./task-rows.ts";

/** Names one schedule to whoever can see it. */
export interface ScheduleId {
  readonly id: string;
  readonly reach: Reach;
}

/** Which occurrence is next, and so whether it is active or has ended. */
export interface Standing {
  readonly state: ScheduleState;
  readonly nextAt: number | null;
}

/** Stores a schedule, unless one has its name: null then. Its times are the caller's, its id of them. */
export async function insertSchedule(
  trx: Connection,
  schedule: NewSchedule,
  { createdAt, tzVersion, ...standing }: Standing & { readonly createdAt: number; readonly tzVersion: string },
): Promise<Schedule | null> {
  const inserted = await trx
    .insertInto("lapse.schedules")
    .values({
      id: uuidv7({ msecs: createdAt }),
      ...definitionColumns(schedule),
      ...standingColumns(standing),
      traceparent: schedule.traceparent,
      request_hash: schedule.requestHash,
      tz_version: tzVersion,
      created_at: instant(createdAt),
      updated_at: instant(createdAt),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning("id")
    .executeTakeFirst();
  return inserted === undefined ? null : findSchedule(trx, { id: inserted.id, reach: null });
}

export async function findSchedule(connection: Connection, { id, reach }: ScheduleId): Promise<Schedule | null> {
  const [row] = await select(connection, sql`s.id = ${id} and ${withinReach(reach)}`);
  return row === undefined ? null : toSchedule(row);
}

/** Locks one for a change. */
export async function lockSchedule(trx: Connection, { id, reach }: ScheduleId): Promise<ScheduleRow | null> {
  const [row] = await select(trx, sql`s.id = ${id} and ${withinReach(reach)} for update of s`);
  return row ?? null;
}

/** Locks the one with the name, wherever it is. */
export async function lockScheduleByName(trx: Connection, name: string): Promise<ScheduleRow | null> {
  const [row] = await select(trx, sql`s.name = ${name} for update of s`);
  return row ?? null;
}

async function select(connection: Connection, condition: RawBuilder<unknown>): Promise<ScheduleRow[]> {
  const found = await sql<ScheduleRow>`select s.*, ${readColumns} from lapse.schedules s where ${condition}`.execute(
    connection,
  );
  return found.rows;
}

/** What a write leaves a schedule as: its whole definition, or none of it, and where it stands. */
export interface ScheduleWrite extends Standing {
  readonly definition?: ScheduleDefinition;
  readonly requestHash?: string;
  readonly tzVersion: string;
}

/** Writes one that is locked. What was made ahead and is cancelled counts as made no more. */
export async function writeSchedule(trx: Connection, id: string, write: ScheduleWrite): Promise<Schedule> {
  await trx
    .updateTable("lapse.schedules as s")
    .set({
      ...(write.definition === undefined ? {} : definitionColumns(write.definition)),
      ...(write.requestHash === undefined ? {} : { request_hash: write.requestHash }),
      ...standingColumns(write),
      last_occurrence_at: sql<string>`case when s.last_occurrence_at <= clock_timestamp() then s.last_occurrence_at else ${lastMade} end`,
      tz_version: write.tzVersion,
      // Why it was set aside is told until it is revived.
      ...(write.state === "ended" ? {} : { error: null }),
      updated_at: sql<string>`clock_timestamp()`,
      version: sql<number>`s.version + 1`,
    })
    .where("s.id", "=", id)
    .execute();
  const written = await findSchedule(trx, { id, reach: null });
  if (written === null) throw new Error(`schedule ${id} was locked, and is not there`);
  return written;
}

const lastMade = sql`(
  select max(occurrence_at) from lapse.tasks where schedule_id = s.id and occurrence_at is not null and state <> 'cancelled'
)`;

/** One without a next occurrence is looked at once its last one is there, or now. */
function standingColumns({ state, nextAt }: Standing) {
  const lookAt = nextAt === null ? sql<string>`clock_timestamp()` : instant(nextAt - lookAheadMs);
  const isActive = state === "active";
  return {
    state,
    next_occurrence_at: isActive && nextAt !== null ? instant(nextAt) : null,
    look_at: isActive ? lookAt : null,
  };
}

export async function deleteSchedule(trx: Connection, id: string): Promise<void> {
  await trx.deleteFrom("lapse.schedules").where("id", "=", id).execute();
}

const setCancelled = sql`
  state = 'cancelled', finished_at = clock_timestamp(), cancel_requested = true, held = false,
  updated_at = clock_timestamp(), version = version + 1`;

/**
 * Cancels what the schedule made ahead and nobody began: all of it, or the occurrences later than `after`. Its row is locked by the caller,
 * so that no claim of them is under way.
 */
export async function cancelAhead(
  trx: Connection,
  scheduleId: string,
  after: number | null,
): Promise<Pick<TaskRow, "id" | "queue">[]> {
  const since = after === null ? sql`true` : sql`occurrence_at > ${instant(after)}`;
  const cancelled = await sql<Pick<TaskRow, "id" | "queue">>`
    update lapse.tasks set ${setCancelled}
    where id in (
      select id from lapse.tasks
      where schedule_id = ${scheduleId} and occurrence_at is not null and attempts = 0 and state in ('scheduled', 'paused') and ${since}
      order by id for update
    ) and state in ('scheduled', 'paused') and attempts = 0
    returning id, queue`.execute(trx);
  return cancelled.rows;
}

export interface ScheduleFilter {
  readonly reach?: Reach;
  readonly name?: string;
  readonly queue?: string;
  readonly states?: readonly ScheduleState[];
}

/** A page by name; `after` is the last name of the page before. */
export async function listSchedules(
  database: Database,
  filter: ScheduleFilter,
  { limit, after }: { limit: number; after: string | null },
): Promise<{ items: Schedule[]; next: string | null }> {
  const conditions = [
    after === null ? sql`true` : sql`s.name > ${after}`,
    filter.name === undefined ? sql`true` : sql`s.name = ${filter.name}`,
    filter.states === undefined ? sql`true` : sql`s.state = any(${[...filter.states]}::text[])`,
  ];
  const rows = await database.query(async (connection) => {
    const source = pageSource(filter, sql.join(conditions, sql` and `), limit + 1);
    const page = await sql<ScheduleRow>`
      select s.*, ${readColumns} from (${source}) s order by s.name limit ${limit + 1}`.execute(connection);
    return page.rows;
  });
  const items = rows.slice(0, limit).map(toSchedule);
  return { items, next: rows.length > limit ? (items.at(-1)?.name ?? null) : null };
}

/** Queue by queue where a caller sees some of them: how long a page takes must not tell of the others'. */
function pageSource(
  { reach = null, queue }: ScheduleFilter,
  condition: RawBuilder<unknown>,
  limit: number,
): RawBuilder<unknown> {
  if (queue === undefined && reach === null)
    return sql`select * from lapse.schedules s where ${condition} order by s.name limit ${limit}`;
  const queues = queue === undefined ? [...(reach ?? [])] : reach === null || reach.includes(queue) ? [queue] : [];
  return sql`
    select page.* from unnest(${queues}::text[]) as q (name)
    cross join lateral (
      select * from lapse.schedules s where s.queue = q.name and ${condition} order by s.name limit ${limit}
    ) page`;
}
