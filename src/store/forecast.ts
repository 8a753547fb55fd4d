// Owns the statements of a queue's forecast: what falls due when, how long its calls take, and who is there to make them.

import { sql } from "kysely";
import type { Trigger } from "../trigger/trigger.ts";
import type { Connection } from "./database.ts";
import { instant } from "./task-rows.ts";

export interface ForecastWindow {
  readonly now: number;
  /** Not before `now`. */
  readonly from: number;
  /** Not included. */
  readonly to: number;
  readonly bucketMs: number;
}

/** Of a bucket, from 0; of those due between now and the first bucket, -1; of those due by now, -2. */
export interface DueCount {
  readonly bucket: number;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

/** How many of a queue's tasks fall due in each bucket, at most `limit` of all, the earliest. Reads an index alone, and of it the window. */
export async function countDue(
  connection: Connection,
  queue: string,
  { now, from, to, bucketMs, limit }: ForecastWindow & { readonly limit: number },
): Promise<DueCount[]> {
  const found = await sql<DueCount>`
    select bucket, count(*) as count, min(at) as "firstAt", max(at) as "lastAt" from (
      select at, case when at <= ${instant(now)}::timestamptz then -2 when at < ${instant(from)}::timestamptz then -1
        else (round(date_part('epoch', at - ${instant(from)}::timestamptz) * 1000)::bigint / ${bucketMs}::bigint)::int end as bucket
      from (
        select next_attempt_at as at from lapse.tasks
        where queue = ${queue} and state = 'scheduled' and next_attempt_at < ${instant(to)}::timestamptz
        order by next_attempt_at, id limit ${limit}
      ) due
    ) bucketed group by bucket order by bucket`.execute(connection);
  return found.rows;
}

/** The tasks whose calls tell how long one lasts: those that were due last. */
const sampledTasksMax = 100;

/** The mean duration of the last calls of a queue's latest tasks that have ended; null where there is none. */
export async function readMeanDuration(connection: Connection, queue: string): Promise<number | null> {
  const latest = (state: "succeeded" | "failed") => sql`
    (select id, attempts, due_at from lapse.tasks where queue = ${queue} and state = ${state}
      order by due_at desc, id desc limit ${sampledTasksMax})`;
  const found = await sql<{ mean: number | null }>`
    select avg(a.duration_ms)::float8 as mean from (
      select id, attempts from (${latest("succeeded")} union all ${latest("failed")}) ended order by due_at desc limit ${sampledTasksMax}
    ) t join lapse.attempts a on a.task_id = t.id and a.number = t.attempts`.execute(connection);
  return found.rows[0]?.mean ?? null;
}

export async function countDispatchers(connection: Connection): Promise<number> {
  const found = await sql<{ count: number }>`
    select count(*) as count from lapse.dispatchers where dead_at is null and lease_until > clock_timestamp()`.execute(
    connection,
  );
  return found.rows[0]?.count ?? 0;
}

/** A schedule whose occurrences from `nextAt` on are no tasks yet. */
export interface Upcoming {
  readonly trigger: Trigger;
  readonly nextAt: number;
}

/** A queue's schedules that have occurrences before `to` that are no tasks yet, at most `limit`. */
export async function readUpcoming(
  connection: Connection,
  queue: string,
  { to, limit }: { readonly to: number; readonly limit: number },
): Promise<Upcoming[]> {
  const found = await sql<Upcoming>`
    select trigger, next_occurrence_at as "nextAt" from lapse.schedules
    where queue = ${queue} and state = 'active' and next_occurrence_at < ${instant(to)}::timestamptz
    order by name limit ${limit}`.execute(connection);
  return found.rows;
}
