// Owns the statements of listings, each by the index that serves what is asked for.

import { type RawBuilder, sql } from "kysely";
import { taskStates } from "../task/task.ts";
import { withinReach } from "./reach.ts";
import type { TaskCursor, TaskFilter, TaskOrder } from "./task-filter.ts";
import { instant, type TaskRow } from "./task-rows.ts";

export interface PageRequest {
  readonly order: TaskOrder;
  readonly limit: number;
  readonly after: TaskCursor | null;
  /** Nothing due later. */
  readonly until?: number;
}

export const orders: Readonly<Record<TaskOrder, RawBuilder<unknown>>> = {
  dueAt: sql`due_at, id`,
  "-createdAt": sql`id desc`,
};

/** The id and due time of whatever meets the narrowest condition that has an index; null where the page's own order has one for all. */
export function narrowed(filter: TaskFilter, page: PageRequest): RawBuilder<unknown> | null {
  if (filter.labels !== undefined || filter.scheduleId !== undefined)
    return sql`select t.id, t.due_at from lapse.tasks t where ${all([...states(filter), ...conditions(filter), ...beyond(page)])}`;
  if (filter.keyPrefix !== undefined) return withKeyPrefix(filter.keyPrefix, filter, page);
  const { queue, states: wanted, reach, dueAfter, dueBefore } = filter;
  const isAnyAsGood = [queue, wanted, reach ?? undefined, dueAfter, dueBefore].every((given) => given === undefined);
  return page.order === "dueAt" || isAnyAsGood ? null : ofEachState(filter, page);
}

/** By age, among all tasks; or among the newest `near` alone. */
export function newestOfAll(filter: TaskFilter, page: PageRequest, near?: number): RawBuilder<TaskRow> {
  const source =
    near === undefined
      ? sql`lapse.tasks t`
      : sql`(select t.* from lapse.tasks t where ${all(beyond(page))} order by id desc limit ${near}) t`;
  return sql<TaskRow>`
    select t.* from ${source} where ${all([...states(filter), ...conditions(filter), ...beyond(page)])}
    order by ${orders[page.order]} limit ${page.limit}`;
}

/** Tasks of all queues that are looked at for a caller who sees some of them. */
const sampleRows = 10_000;

/**
 * Those of some queues among the newest of all. Every one of these is looked at, however soon the page is full: how long that takes tells
 * nothing of the other queues.
 */
export function newestOfSample(filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
  return sql<TaskRow>`
    with sample as materialized (
      select t.id, t.queue, t.state, t.due_at from lapse.tasks t where ${all(beyond(page))} order by id desc limit ${sampleRows}
    ), own as materialized (
      select id from sample t where ${all([...states(filter), withinReach(filter.reach ?? null)])}
    )
    select t.* from own join lapse.tasks t on t.id = own.id
    where ${all(conditions(filter))} order by t.id desc limit ${page.limit}`;
}

/** The few tasks with a key, live and ended ones by the index of each. */
export function withKey(key: string, filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
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

/** Those whose key begins so, by the indexes of live and of ended keys. */
function withKeyPrefix(prefix: string, filter: TaskFilter, page: PageRequest): RawBuilder<unknown> {
  const { reach: _reach, queue: _queue, keyPrefix: _prefix, ...rest } = filter;
  const named = sql`queue = q.name and key is not null and starts_with(key, ${prefix})`;
  return sql`
    select t.id, t.due_at from ${queuesOf(filter)} as q (name)
    cross join lateral (
      select * from lapse.tasks where ${named} and state in ('scheduled', 'paused', 'running')
      union all
      select * from lapse.tasks where ${named} and finished_at is not null
    ) t
    where ${all([...states(filter), ...conditions(rest), ...beyond(page)])}`;
}

/** Those of each queue and state, by the index that has both and the due time. */
function ofEachState(filter: TaskFilter, page: PageRequest): RawBuilder<unknown> {
  const { reach: _reach, queue: _queue, states: _states, ...rest } = filter;
  return sql`
    select own.id, own.due_at from ${queuesOf(filter)} as q (name)
    cross join ${statesOf(filter)} as s (state)
    cross join lateral (
      select t.id, t.due_at from lapse.tasks t
      where t.queue = q.name and t.state = s.state and ${all([...conditions(rest), ...beyond(page)])}
      offset 0
    ) own`;
}

/**
 * A page of each queue and state by the index that has both and the due time, merged: as fast with millions of others as without.
 * Conditions that have no place in that index are looked at on all that is due until `page.until`, so that no other index is gone through
 * once for each queue and state.
 */
export function mergedByDueTime(filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
  const { labels, keyPrefix, scheduleId } = filter;
  const rest = conditions({
    ...(labels === undefined ? {} : { labels }),
    ...(keyPrefix === undefined ? {} : { keyPrefix }),
    ...(scheduleId === undefined ? {} : { scheduleId }),
  });
  const branch = sql`select t.* from lapse.tasks t where ${inSpan(filter, page)}`;
  const source = rest.length === 0 ? branch : sql`select t.* from (${branch} offset 0) t where ${all(rest)}`;
  return sql<TaskRow>`
    select page.* from ${queuesOf(filter)} as q (name)
    cross join ${statesOf(filter)} as s (state)
    cross join lateral (${source} order by t.due_at, t.id limit ${page.limit}) page
    order by ${orders.dueAt} limit ${page.limit}`;
}

/**
 * Until when, beginning where the last page ended, some `count` tasks are due; null: fewer are. Mostly few queues and states hold most of
 * them: each is read a little further than its even share, up to where the first of them ends.
 */
export function sliceEnd(filter: TaskFilter, page: PageRequest, count: number): RawBuilder<{ until: number | null }> {
  return sql<{ until: number | null }>`
    with q as materialized (select name from ${queuesOf(filter)} as q (name)),
      share as materialized (
        select greatest(1, ${count}::int / sqrt(greatest(1, count(*) * (select count(*) from ${statesOf(filter)} as s))))::int as rows from q
      )
    select min(edge.due_at) as until from q
    cross join ${statesOf(filter)} as s (state)
    cross join lateral (
      select t.due_at from lapse.tasks t where ${inSpan(filter, page)} order by due_at, id offset (select rows from share) limit 1
    ) edge`;
}

/** Of a queue `q` and a state `s`, what is within the span of due times, by the index that has all three. */
function inSpan({ dueAfter, dueBefore }: TaskFilter, page: PageRequest): RawBuilder<unknown> {
  const span = conditions({
    ...(dueAfter === undefined ? {} : { dueAfter }),
    ...(dueBefore === undefined ? {} : { dueBefore }),
  });
  const until = page.until === undefined ? [] : [sql`t.due_at <= ${instant(page.until)}`];
  return all([sql`t.queue = q.name and t.state = s.state`, ...span, ...until, ...beyond(page)]);
}

/**
 * The newest tasks of some queues, by the index that begins with the queue. By age alone they would have to be looked for among the tasks
 * of all the others, and how long that takes would tell a confined caller how many those are.
 */
export function newestWithinReach(filter: TaskFilter, page: PageRequest): RawBuilder<TaskRow> {
  return sql<TaskRow>`
    select t.* from (select id from (${ofEachState(filter, page)}) own order by id desc limit ${page.limit}) page
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

function statesOf(filter: TaskFilter): RawBuilder<unknown> {
  return sql`unnest(${[...(filter.states ?? taskStates)]}::text[])`;
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
