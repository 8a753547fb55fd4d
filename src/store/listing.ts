// Owns listings: pages of tasks by keyset, in one of two orders.

import { type RawBuilder, sql } from "kysely";
import { taskStates } from "../task/task.ts";
import type { Connection, Database } from "./database.ts";
import { withinReach } from "./reach.ts";
import type { TaskCursor, TaskFilter, TaskOrder, TaskPage } from "./task-filter.ts";
import { instant, type TaskRow, toTasks } from "./task-rows.ts";

export interface PageRequest {
  readonly order: TaskOrder;
  readonly limit: number;
  readonly after: TaskCursor | null;
}

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
  return (await statementFor(filter, page).execute(connection)).rows;
}

/** By the index that serves the narrowest condition. */
function statementFor(filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
  if (filter.key !== undefined) return withKey(filter.key, filter, page);
  const isNarrow = filter.labels !== undefined || filter.scheduleId !== undefined;
  if (isNarrow) return plain(filter, page);
  if (page.order === "dueAt") return mergedByDueTime(filter, page);
  return filter.reach ? newestWithinReach(filter, page) : plain(filter, page);
}

const orders: Readonly<Record<TaskOrder, RawBuilder<unknown>>> = { dueAt: sql`due_at, id`, "-createdAt": sql`id desc` };

function plain(filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
  return sql<TaskRow>`
    select t.* from lapse.tasks t where ${all([...states(filter), ...conditions(filter), ...beyond(page)])}
    order by ${orders[page.order]} limit ${page.limit}`;
}

/** The few tasks with a key, live and ended ones by the index of each. */
function withKey(key: string, filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
  const { reach: _reach, queue: _queue, key: _key, ...rest } = filter;
  const named = sql`queue = q.name and key = ${key}`;
  return sql<TaskRow>`
    select t.* from ${queuesOf(filter)} as q (name)
    cross join lateral (
      select * from lapse.tasks where ${named} and state in ('scheduled', 'paused', 'running')
      union all
      select * from lapse.tasks where ${named} and finished_at is not null
    ) t
    where ${all([...states(filter), ...conditions(rest), ...beyond(page)])}
    order by ${orders[page.order]} limit ${page.limit}`;
}

/** A page of each queue and state by the index that has both and the due time, merged: as fast with millions of others as without. */
function mergedByDueTime(filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
  const { reach: _reach, queue: _queue, states: _states, ...rest } = filter;
  return sql<TaskRow>`
    select page.* from ${queuesOf(filter)} as q (name)
    cross join unnest(${[...(filter.states ?? taskStates)]}::text[]) as s (state)
    cross join lateral (
      select t.* from lapse.tasks t
      where t.queue = q.name and t.state = s.state and ${all([...conditions(rest), ...beyond(page)])}
      order by due_at, id limit ${page.limit}
    ) page
    order by ${orders.dueAt} limit ${page.limit}`;
}

/**
 * The newest tasks of some queues, by the index that begins with the queue. By age alone they would have to be looked for among the tasks
 * of all the others, and how long that takes would tell a confined caller how many those are.
 */
function newestWithinReach(filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
  const { reach: _reach, queue: _queue, states: _states, ...rest } = filter;
  return sql<TaskRow>`
    select t.* from (
      select own.id from ${queuesOf(filter)} as q (name)
      cross join unnest(${[...(filter.states ?? taskStates)]}::text[]) as s (state)
      cross join lateral (
        select t.id from lapse.tasks t
        where t.queue = q.name and t.state = s.state and ${all([...conditions(rest), ...beyond(page)])}
        offset 0
      ) own
      order by own.id desc limit ${page.limit}
    ) page
    join lapse.tasks t on t.id = page.id order by t.id desc`;
}

/** Those that the filter and the caller's reach have in common. */
function queuesOf({ queue, reach = null }: TaskFilter): RawBuilder<unknown> {
  if (queue === undefined) {
    return reach === null
      ? sql`(select name from lapse.queues union select name from lapse.new_queues)`
      : sql`(select unnest(${[...reach]}::text[]))`;
  }
  return sql`(select queue from (values (${queue}::text)) as wanted (queue) where ${withinReach(reach)})`;
}

/** Where the last page ended. Ids are made of the creation time, so that they alone order by age. */
function beyond({ order, after }: PageRequest): RawBuilder<unknown>[] {
  if (after === null) return [];
  return order === "dueAt"
    ? [sql`(t.due_at, t.id) > (${instant(after.dueAt)}, ${after.id}::uuid)`]
    : [sql`t.id < ${after.id}::uuid`];
}

function states(filter: TaskFilter): RawBuilder<unknown>[] {
  return [sql`t.state = any(${[...(filter.states ?? taskStates)]}::text[])`];
}

function conditions(filter: TaskFilter): RawBuilder<unknown>[] {
  const found: RawBuilder<unknown>[] = [];
  if (filter.reach) found.push(withinReach(filter.reach));
  if (filter.queue !== undefined) found.push(sql`t.queue = ${filter.queue}`);
  if (filter.keyPrefix !== undefined) found.push(sql`starts_with(t.key, ${filter.keyPrefix})`);
  if (filter.labels !== undefined)
    found.push(sql`t.labels <> '{}' and t.labels @> ${JSON.stringify(filter.labels)}::jsonb`);
  if (filter.dueAfter !== undefined) found.push(sql`t.due_at > ${instant(filter.dueAfter)}`);
  if (filter.dueBefore !== undefined) found.push(sql`t.due_at < ${instant(filter.dueBefore)}`);
  if (filter.scheduleId !== undefined) found.push(sql`t.schedule_id = ${filter.scheduleId}::uuid`);
  return found;
}

function all(parts: readonly RawBuilder<unknown>[]): RawBuilder<unknown> {
  return parts.length === 0 ? sql`true` : sql.join(parts, sql` and `);
}
