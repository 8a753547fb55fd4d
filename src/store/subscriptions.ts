// Owns the subscriptions' rows: who is told of events by webhook, and how far each has come.

import { type Selectable, sql } from "kysely";
import type { EventType } from "../task/event.ts";
import { cancelAll } from "./bulk.ts";
import type { Connection } from "./database.ts";
import type { EventPosition } from "./events.ts";
import { makeQueues } from "./queues.ts";
import type { SubscriptionTable } from "./tables.ts";
import type { TaskRow } from "./task-rows.ts";

/** Calls to one subscriber in flight at once. */
const concurrency = 10;

export interface Subscription {
  readonly id: string;
  readonly url: string;
  readonly types: readonly EventType[];
  readonly queue: string | null;
  readonly createdAt: number;
  /** Events that it could not be given within a day. */
  readonly dropped: number;
}

/** Where its deliveries are, as tasks. */
export function deliveryQueue(id: string): string {
  return `lapse:events:${id}`;
}

/** Null where there are `countMax` already (a few more may come of calls made at the same instant). */
export async function insertSubscription(
  connection: Connection,
  { id, url, types, queue }: Omit<Subscription, "createdAt" | "dropped">,
  { after, countMax }: { after: EventPosition; countMax: number },
): Promise<Subscription | null> {
  const deliveries = deliveryQueue(id);
  await makeQueues(connection, [deliveries]);
  await sql`update lapse.queues set concurrency = ${concurrency} where name = ${deliveries}`.execute(connection);
  const inserted = await sql<Selectable<SubscriptionTable>>`
    insert into lapse.subscriptions (id, url, types, queue, cursor_xid, cursor_id)
    select ${id}, ${url}, ${[...types]}::text[], ${queue}, ${String(after.xid)}::xid8, ${after.id}::bigint
    where (select count(*) from lapse.subscriptions) < ${countMax}
    returning *`.execute(connection);
  const [row] = inserted.rows;
  if (row === undefined) await sql`delete from lapse.queues where name = ${deliveries}`.execute(connection);
  return row === undefined ? null : toSubscription(row);
}

/** Oldest first. */
export async function listSubscriptions(connection: Connection): Promise<Subscription[]> {
  return (await connection.selectFrom("lapse.subscriptions").selectAll().orderBy("id").execute()).map(toSubscription);
}

export async function findSubscription(connection: Connection, id: string): Promise<Subscription | null> {
  const row = await connection.selectFrom("lapse.subscriptions").selectAll().where("id", "=", id).executeTakeFirst();
  return row === undefined ? null : toSubscription(row);
}

/** Removes it and cancels its deliveries; resolves to those that changed, or null where there is none with the id. */
export async function deleteSubscription(trx: Connection, id: string): Promise<TaskRow[] | null> {
  const deleted = await trx.deleteFrom("lapse.subscriptions").where("id", "=", id).executeTakeFirst();
  if (deleted.numDeletedRows === 0n) return null;
  const live = await sql<{ id: string }>`
    select id from lapse.tasks where queue = ${deliveryQueue(id)} and state in ('scheduled', 'paused', 'running')`.execute(
    trx,
  );
  return cancelAll(
    trx,
    live.rows.map((row) => row.id),
  );
}

export interface Backlogs {
  /** There are subscriptions. */
  readonly isAny: boolean;
  /** Those that have something to read. */
  readonly behind: readonly string[];
}

export async function findBehind(connection: Connection): Promise<Backlogs> {
  const found = await sql<{ id: string; is_behind: boolean }>`
    select s.id, exists (
      select from lapse.events e where (e.xid, e.id) > (s.cursor_xid, s.cursor_id) and e.xid < h.horizon
    ) as is_behind
    from lapse.subscriptions s, (select lapse.events_horizon() as horizon) h
    order by s.id`.execute(connection);
  const behind = found.rows.filter((row) => row.is_behind).map((row) => row.id);
  return { isAny: found.rows.length > 0, behind };
}

export interface LockedSubscription extends Subscription {
  /** Everything up to it was passed on or dropped. */
  readonly after: EventPosition;
  /** Deliveries that are not over, counted up to the most that count. */
  readonly backlog: number;
}

/** Null where it is gone, or another process has it. */
export async function lockSubscription(
  trx: Connection,
  id: string,
  backlogMax: number,
): Promise<LockedSubscription | null> {
  const locked = await sql<Selectable<SubscriptionTable>>`
    select * from lapse.subscriptions where id = ${id} for update skip locked`.execute(trx);
  const [row] = locked.rows;
  if (row === undefined) return null;
  const counted = await sql<{ count: number }>`
    select count(*) as count from (
      select from lapse.tasks
      where queue = ${deliveryQueue(id)} and state in ('scheduled', 'paused', 'running') limit ${backlogMax}
    ) live`.execute(trx);
  const after = { xid: Number(row.cursor_xid), id: row.cursor_id, index: Number.MAX_SAFE_INTEGER };
  return { ...toSubscription(row), after, backlog: counted.rows[0]?.count ?? 0 };
}

export async function advanceSubscription(
  trx: Connection,
  id: string,
  { end, dropped }: { end: EventPosition; dropped: number },
): Promise<void> {
  await sql`
    update lapse.subscriptions
    set cursor_xid = ${String(end.xid)}::xid8, cursor_id = ${end.id}::bigint, dropped = dropped + ${dropped}
    where id = ${id}`.execute(trx);
}

function toSubscription(row: Selectable<SubscriptionTable>): Subscription {
  const { id, url, types, queue, created_at: createdAt, dropped } = row;
  return { id, url, types, queue, createdAt, dropped };
}
