// Owns the queues' settings as callers read and change them, and the pages of a purge.

import { type RawBuilder, sql } from "kysely";
import { concurrencyDefault, type Queue, type QueueChanges, type QueueDefaults } from "../task/queue.ts";
import type { Connection } from "./database.ts";
import type { Reach } from "./reach.ts";
import { instant, leastId, type TaskRow } from "./task-rows.ts";

interface QueueRow {
  readonly name: string;
  readonly concurrency: number;
  readonly paused: boolean;
  readonly count: number | null;
  readonly perMs: number | null;
  readonly defaults: QueueDefaults;
}

const columns = sql`name, concurrency, paused, rate_limit_count as count, rate_limit_per_ms as "perMs", defaults`;

function toQueue({ name, concurrency, paused, count, perMs, defaults }: QueueRow): Queue {
  const rateLimit = count === null || perMs === null ? null : { limit: count, perMs };
  return { name, concurrency, rateLimit, paused, defaults };
}

/** Where a page of queues begins after, and how many it has at most. */
export interface QueuePageRequest {
  readonly after: string | null;
  readonly limit: number;
}

/** A page of the queues within reach, by name; those, too, that only SQL has named yet, and to which a dispatcher's look gives a row. */
export async function listQueues(
  connection: Connection,
  reach: Reach,
  { after, limit }: QueuePageRequest,
): Promise<Queue[]> {
  const page = sql`${withinNames(reach)} and name > ${after ?? ""}::text collate "C"`;
  const found = await sql<QueueRow>`
    select * from (
      (select ${columns} from lapse.queues where ${page} order by name limit ${limit})
      union all (${namedFirst(page)} order by name limit ${limit})
    ) q order by name limit ${limit}`.execute(connection);
  return found.rows.map(toQueue);
}

export async function readQueue(connection: Connection, name: string): Promise<Queue | null> {
  const isIt = sql<boolean>`name = ${name}`;
  const found = await sql<QueueRow>`
    select ${columns} from lapse.queues where ${isIt} union all (${namedFirst(isIt)})`.execute(connection);
  return found.rows.map(toQueue)[0] ?? null;
}

function withinNames(reach: Reach): RawBuilder<boolean> {
  return reach === null ? sql<boolean>`true` : sql<boolean>`name = any(${[...reach]}::text[])`;
}

/** Queues of the condition that have no row yet, as they will be. */
function namedFirst(condition: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`
    select distinct name, ${concurrencyDefault}::int as concurrency, false as paused, null::int as count, null::bigint as "perMs",
      '{}'::jsonb as defaults
    from lapse.new_queues where ${condition} and not exists (select from lapse.queues q where q.name = new_queues.name)`;
}

/** Changes what is given; what is left out stays as it is. Null where there is no such queue. */
export async function changeQueue(connection: Connection, name: string, changes: QueueChanges): Promise<Queue | null> {
  const { concurrency, paused, rateLimit, defaults = {} } = changes;
  const removed = Object.entries(defaults).flatMap(([field, value]) => (value === null ? [field] : []));
  const added = Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== null));
  const changed = await sql<QueueRow>`
    update lapse.queues set
      concurrency = coalesce(${concurrency ?? null}::int, concurrency),
      paused = coalesce(${paused ?? null}::boolean, paused),
      rate_limit_count = case when ${rateLimit === undefined} then rate_limit_count else ${rateLimit?.limit ?? null}::int end,
      rate_limit_per_ms = case when ${rateLimit === undefined} then rate_limit_per_ms else ${rateLimit?.perMs ?? null}::bigint end,
      defaults = (defaults - ${removed}::text[]) || ${JSON.stringify(added)}::jsonb
    where name = ${name}
    returning ${columns}`.execute(connection);
  return changed.rows.map(toQueue)[0] ?? null;
}

/** Where a page of waiting tasks ended. */
export interface WaitingPosition {
  readonly dueAt: number;
  readonly id: string;
}

interface WaitingPage {
  readonly state: "scheduled" | "paused";
  /** Only what was made until then, so that a purge ends while tasks pour in. */
  readonly createdUntil: number;
  readonly after: WaitingPosition | null;
  readonly limit: number;
}

/** A page of a queue's tasks in one state that waits, by due time. */
export async function readWaiting(
  connection: Connection,
  queue: string,
  { state, createdUntil, after, limit }: WaitingPage,
): Promise<WaitingPosition[]> {
  const from = after === null ? "-infinity" : instant(after.dueAt);
  const found = await sql<WaitingPosition>`
    select due_at as "dueAt", id from lapse.tasks
    where queue = ${queue} and state = ${state} and created_at <= ${instant(createdUntil)}
      and (due_at, id) > (${from}::timestamptz, ${after?.id ?? leastId}::uuid)
    order by due_at, id limit ${limit}`.execute(connection);
  return found.rows;
}

/** Cancels those that still wait and are not confirmed; the rows that changed come back. */
export async function cancelWaiting(connection: Connection, ids: readonly string[]): Promise<TaskRow[]> {
  const guard = sql`t.state in ('scheduled', 'paused') and t.confirmed_attempt is null`;
  const changed = await sql<TaskRow>`
    with hit as (select t.id from lapse.tasks t where t.id = any(${[...ids]}::uuid[]) and ${guard} order by t.id for update)
    update lapse.tasks t set state = 'cancelled', finished_at = clock_timestamp(), cancel_requested = true, held = false,
      updated_at = clock_timestamp(), version = t.version + 1
    from hit where t.id = hit.id and ${guard}
    returning t.*`.execute(connection);
  return changed.rows;
}
