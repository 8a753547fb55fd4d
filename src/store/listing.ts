// Owns listings: pages of tasks by keyset, in one of two orders. Whatever is asked for, a page costs no more where millions of others wait.

import { type RawBuilder, sql } from "kysely";
import type { Connection, Database } from "./database.ts";
import {
  mergedByDueTime,
  narrowed,
  newestOfAll,
  newestOfSample,
  newestWithinReach,
  orders,
  type PageRequest,
  sliceEnd,
  withKey,
} from "./listing-statements.ts";
import type { TaskFilter, TaskPage } from "./task-filter.ts";
import { type TaskRow, toTasks } from "./task-rows.ts";

/** Tasks looked at first, in the page's order: where every fortieth fits they give a page of 50. */
const nearRows = 2_000;
/**
 * Else up to so many that meet a condition with an index of its own are read whole and sorted. Where there are more, a page of them is soon
 * met on a walk through all tasks in order: of ten million, one in a thousand.
 */
const fewMax = 10_000;
/** Each slice of a walk by due time is so many times as long as the one before. */
const sliceGrowth = 4;
const greatestId = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** A page of the tasks that meet all conditions; one row more is read to know whether another page follows. */
export async function listTasks(database: Database, filter: TaskFilter, page: PageRequest): Promise<TaskPage> {
  return database.query(async (connection) => {
    const rows = await readRows(connection, filter, { ...page, limit: page.limit + 1 });
    const items = await toTasks(connection, rows.slice(0, page.limit));
    const last = items.at(-1);
    return { items, next: rows.length > page.limit && last !== undefined ? { dueAt: last.dueAt, id: last.id } : null };
  });
}

async function readRows(connection: Connection, filter: TaskFilter, page: PageRequest): Promise<TaskRow[]> {
  if (filter.key !== undefined) return run(connection, withKey(filter.key, filter, page));
  const narrow = narrowed(filter, page);
  const byDueTime = page.order === "dueAt";
  if (narrow === null) return run(connection, byDueTime ? mergedByDueTime(filter, page) : newestOfAll(filter, page));
  return byDueTime ? earliestOf(narrow, connection, { filter, page }) : newestOf(narrow, connection, { filter, page });
}

interface Request {
  readonly filter: TaskFilter;
  readonly page: PageRequest;
}

async function newestOf(narrow: RawBuilder<unknown>, connection: Connection, request: Request): Promise<TaskRow[]> {
  const { filter, page } = request;
  const isConfined = filter.reach !== undefined && filter.reach !== null;
  if (!isConfined) {
    const near = await run(connection, newestOfAll(filter, page, nearRows));
    if (near.length >= page.limit) return near;
  }
  const few = await amongFew(connection, narrow, page);
  if (few !== null) return few;
  if (!isConfined) return run(connection, newestOfAll(filter, page));
  const sampled = await run(connection, newestOfSample(filter, page));
  return sampled.length >= page.limit ? sampled : run(connection, newestWithinReach(filter, page));
}

/** Slice by slice of time: a queue in which nothing meets the conditions is not read to its end for the sake of the others. */
async function earliestOf(narrow: RawBuilder<unknown>, connection: Connection, request: Request): Promise<TaskRow[]> {
  const { filter, page } = request;
  const found: TaskRow[] = [];
  let { after } = page;
  let isCounted = false;
  for (let count = nearRows; ; count *= sliceGrowth) {
    const ends = await sliceEnd(filter, { ...page, after }, count).execute(connection);
    const until = ends.rows[0]?.until ?? null;
    const slice = { ...page, after, limit: page.limit - found.length, ...(until === null ? {} : { until }) };
    found.push(...(await run(connection, mergedByDueTime(filter, slice))));
    if (until === null || found.length >= page.limit) return found;
    // Where the next slice is likely to fill the page, more than a few meet the conditions: they need not be counted.
    if (!isCounted && found.length * (1 + sliceGrowth) < page.limit) {
      isCounted = true;
      const few = await amongFew(connection, narrow, page);
      if (few !== null) return few;
    }
    after = { dueAt: until, id: greatestId };
  }
}

async function run(connection: Connection, statement: RawBuilder<TaskRow>): Promise<TaskRow[]> {
  return (await statement.execute(connection)).rows;
}

/** A page of what `narrow` finds; null where that is more than a few. */
async function amongFew(
  connection: Connection,
  narrow: RawBuilder<unknown>,
  page: PageRequest,
): Promise<TaskRow[] | null> {
  const found = await sql<{ found: number } & TaskRow>`
    with found as materialized (${narrow} limit ${fewMax + 1})
    select counted.found, t.* from (select count(*) as found from found) counted
    left join (
      select id from found where (select count(*) from found) <= ${fewMax} order by ${orders[page.order]} limit ${page.limit}
    ) few on true
    left join lapse.tasks t on t.id = few.id
    order by ${page.order === "dueAt" ? sql`t.due_at, t.id` : sql`t.id desc`}`.execute(connection);
  return (found.rows[0]?.found ?? 0) > fewMax ? null : found.rows.filter(({ id }) => id !== null);
}
