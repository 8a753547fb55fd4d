// Owns the outbox of events: writing what no trigger sees, and removing what is past.

import { sql } from "kysely";
import type { Connection } from "./database.ts";
import type { StoredEvent } from "./tables.ts";

/** How long events are kept, and recorded after the last listener has gone. */
const eventsKeptMs = 86_400_000;

/** Writes events where anybody listens. They become visible with the transaction. */
export async function recordEvents(connection: Connection, items: readonly StoredEvent[]): Promise<void> {
  await sql`select lapse.record_events(${JSON.stringify(items)}::json)`.execute(connection);
}

/** Removes the oldest rows as far as they are older than a day, at most `limit`; resolves to how many. */
export async function removeOldEvents(connection: Connection, limit: number): Promise<number> {
  const removed = await sql<{ count: number }>`
    with oldest as (
      select xid, id, created_at from lapse.events order by xid, id limit ${limit} for update skip locked
    ), gone as (
      delete from lapse.events e using oldest o
      where e.xid = o.xid and e.id = o.id and o.created_at < clock_timestamp() - ${eventsKeptMs} * interval '1 millisecond'
      returning e.xid, e.id
    ), last as (
      select xid, id from gone order by xid desc, id desc limit 1
    ), noted as (
      update lapse.event_recording r set kept_after_xid = last.xid, kept_after_id = last.id
      from last where r.id = 1 and (r.kept_after_xid, r.kept_after_id) < (last.xid, last.id)
    )
    select count(*) as count from gone`.execute(connection);
  return removed.rows[0]?.count ?? 0;
}
