// Owns the reads of what falls due: for lanes without Redis, for healing, and for filling the index.
// They compare with statement_timestamp(), which is stable: a scan cannot end at clock_timestamp(), which is volatile, and would read the
// whole backlog.

import { sql } from "kysely";
import { bind, type Connection, type Database } from "./database.ts";
import { instant, leastId } from "./task-rows.ts";

export interface DueRow {
  readonly queue: string;
  readonly id: string;
  readonly nextAttemptAt: number;
  /** Due now, by the clock of Postgres. */
  readonly isDue: boolean;
}

/** Where a page of due rows ended. */
export interface DuePosition {
  readonly queue: string;
  readonly nextAttemptAt: number;
  readonly id: string;
}

/** A place among a queue's tasks in due order; null for the id: before all that are due then. */
interface DuePlace {
  readonly at: number;
  readonly id: string | null;
}

/**
 * The ids due now from a place on, oldest first. A row held by a transaction of somebody else is passed over, so that many of them cannot stand before
 * the others. The locks end with the statement; the claim decides.
 */
const takeDue = {
  name: "take_due",
  text: `select id, next_attempt_at from lapse.tasks
    where queue = $1 and state = 'scheduled' and next_attempt_at <= statement_timestamp()
      and (next_attempt_at, id) > ($3::timestamptz, $4::uuid)
      and not exists (select from lapse.queues where name = $1 and paused)
    order by next_attempt_at, id
    limit $2
    for update skip locked`,
};

/** When the next task of each queue is due, of those named or of all; none that was due before `$2`. */
const readHeadTimes = {
  name: "read_head_times",
  text: `select q.name as queue, head.next_attempt_at
    from (select name from lapse.queues where not paused and ($1::text[] is null or name = any($1::text[]))) as q
    cross join lateral (
      select next_attempt_at from lapse.tasks where queue = q.name and state = 'scheduled' and next_attempt_at >= $2::timestamptz
      order by next_attempt_at, id limit 1
    ) head`,
};

/** Takes from Postgres what a lane may claim now, from a place on or the beginning, and says when its next task is due. */
export async function readDue(
  database: Database,
  queue: string,
  { limit, from }: { limit: number; from: DuePlace | null },
): Promise<{ ids: string[]; last: DuePlace | null; nextAt: number | null }> {
  const since = sinceTime(from?.at ?? null);
  const taken = await database.run(bind(takeDue, [queue, limit, since, from?.id ?? leastId]));
  const ids = taken.map((row) => String(row["id"]));
  const last = { at: Number(taken.at(-1)?.["next_attempt_at"]), id: ids.at(-1) ?? null };
  if (ids.length >= limit) return { ids, last, nextAt: null };
  const heads = await readHeads(database, { queues: [queue], since: from?.at ?? null });
  return { ids, last, nextAt: heads.get(queue) ?? null };
}

/** `since` null: however long ago they were due. */
export async function readHeads(
  database: Database,
  { queues, since }: { queues: readonly string[] | null; since: number | null },
): Promise<Map<string, number>> {
  const heads = await database.run(bind(readHeadTimes, [queues, sinceTime(since)]));
  return new Map(heads.map((row) => [String(row["queue"]), Number(row["next_attempt_at"])]));
}

function sinceTime(at: number | null): string {
  return at === null ? "-infinity" : instant(at);
}

const soonColumns = sql`t.queue, t.id, t.next_attempt_at as "nextAttemptAt", t.next_attempt_at <= clock_timestamp() as "isDue"`;

/**
 * Queue by queue, the tasks that wait and are due within `aheadMs`, `limit` a queue, each queue from where its last page ended, else what fell
 * due within `backMs` (null: whenever). Paused queues and those in `except` are left out.
 */
export async function readDueSoon(
  connection: Connection,
  request: {
    aheadMs: number;
    backMs: number | null;
    limit: number;
    except: readonly string[];
    after: readonly DuePosition[];
  },
): Promise<DueRow[]> {
  const { aheadMs, backMs, limit, except, after } = request;
  const from =
    backMs === null ? sql`'-infinity'::timestamptz` : sql`statement_timestamp() - ${backMs} * interval '1 millisecond'`;
  const soon = await sql<DueRow>`
    select due.* from lapse.queues q
    left join unnest(${after.map((p) => p.queue)}::text[], ${after.map((p) => instant(p.nextAttemptAt))}::timestamptz[],
      ${after.map((p) => p.id)}::uuid[]) as seen (queue, next_attempt_at, id) on seen.queue = q.name
    cross join lateral (
      select ${soonColumns} from lapse.tasks t
      where t.queue = q.name and t.state = 'scheduled'
        and t.next_attempt_at <= statement_timestamp() + ${aheadMs} * interval '1 millisecond'
        and (t.next_attempt_at, t.id) > (coalesce(seen.next_attempt_at, ${from}), coalesce(seen.id, ${leastId}::uuid))
      order by t.next_attempt_at, t.id
      limit ${limit}
    ) due
    where not q.paused and q.name <> all (${except}::text[])`.execute(connection);
  return soon.rows;
}

/** One queue's waiting tasks from a position on, due until `until`, oldest first. */
export async function readWindow(
  connection: Connection,
  { queue, nextAttemptAt, id }: DuePosition,
  { until, limit }: { until: number; limit: number },
): Promise<DueRow[]> {
  const window = await sql<DueRow>`
    select ${soonColumns} from lapse.tasks t
    where t.queue = ${queue} and t.state = 'scheduled' and t.next_attempt_at <= ${instant(until)}
      and (t.next_attempt_at, t.id) > (${instant(nextAttemptAt)}, ${id}::uuid)
    order by t.next_attempt_at, t.id
    limit ${limit}`.execute(connection);
  return window.rows;
}

/** The clock of Postgres, in ms since the epoch with fractions. */
export async function readTime(database: Database): Promise<number> {
  const [row] = await database.run(bind(readClock, []));
  return Number(row?.["now"]);
}

const readClock = { name: "read_clock", text: "select extract(epoch from clock_timestamp())::float8 * 1000 as now" };
