// Owns the outbox of events: whether it is written, what is passed on of it and in which order, and when it is removed.

import { sql } from "kysely";
import type { LapseEvent } from "../task/event.ts";
import type { Connection } from "./database.ts";
import type { StoredEvent } from "./tables.ts";

/** How long events are kept, and recorded after the last listener has gone. */
export const eventsKeptMs = 86_400_000;
/** Removed this much later, so that whoever drops what is too old can count it. */
const removedLaterMs = 600_000;
/** A listener moves the end of the recording on when less is left than `eventsKeptMs`: by this. */
const recordingStepMs = 3_600_000;
/** Whoever begins to listen this soon after recording began waits, too, for the transactions that are older. */
const beginningMs = 10_000;

/** A place among the events: everything up to it was passed on. An index of 0 is before the first event of a row. */
export interface EventPosition {
  readonly xid: number;
  readonly id: number;
  /** How many of the row's events were passed on. */
  readonly index: number;
}

export interface PlacedEvent extends LapseEvent {
  readonly place: EventPosition;
}

export interface EventPage {
  readonly events: readonly PlacedEvent[];
  /** Where it ends, whatever there is to be seen of it. */
  readonly end: EventPosition;
  /** There may be more now. */
  readonly isFull: boolean;
  /** How long the oldest event waits for a transaction that is open still; 0 where none does. */
  readonly heldMs: number;
}

export function isBefore(a: EventPosition, b: EventPosition): boolean {
  if (a.xid !== b.xid) return a.xid < b.xid;
  return a.id === b.id ? a.index < b.index : a.id < b.id;
}

/** Writes events where anybody listens. They become visible with the transaction. */
export async function recordEvents(connection: Connection, items: readonly StoredEvent[]): Promise<void> {
  await sql`select lapse.record_events(${JSON.stringify(items)}::json)`.execute(connection);
}

export interface Recording {
  /** Recording began a moment ago: transactions that are open now may have made changes of which there is no event. */
  readonly isNew: boolean;
  /** The first transaction that is not under way yet. */
  readonly nextXid: number;
}

/** Has events be recorded from now on, and for a day after the last call. */
export async function keepRecording(connection: Connection): Promise<Recording> {
  await sql`
    update lapse.event_recording set
      began_at = case when recorded_until <= clock_timestamp() then clock_timestamp() else began_at end,
      kept_after_xid = case when recorded_until <= clock_timestamp() then pg_current_xact_id() else kept_after_xid end,
      kept_after_id = case when recorded_until <= clock_timestamp() then 0 else kept_after_id end,
      recorded_until = clock_timestamp() + ${eventsKeptMs + recordingStepMs} * interval '1 millisecond'
    where id = 1 and recorded_until < clock_timestamp() + ${eventsKeptMs} * interval '1 millisecond'`.execute(
    connection,
  );
  const read = await sql<{ is_new: boolean; next_xid: string }>`
    select began_at > clock_timestamp() - ${beginningMs} * interval '1 millisecond' as is_new,
      pg_snapshot_xmax(pg_current_snapshot())::text as next_xid
    from lapse.event_recording where id = 1`.execute(connection);
  const [row] = read.rows;
  return { isNew: row?.is_new ?? false, nextXid: Number(row?.next_xid) };
}

/** The oldest transaction that is under way. */
export async function readHorizon(connection: Connection): Promise<number> {
  const read = await sql<{ horizon: string }>`select lapse.events_horizon()::text as horizon`.execute(connection);
  return Number(read.rows[0]?.horizon);
}

/** Where an event of a transaction that has not ended yet would stand at the earliest: who goes on from here misses none that is to come. */
export async function readNow(connection: Connection): Promise<EventPosition> {
  const read = await sql<{ horizon: string; kept_after: string }>`
    select lapse.events_horizon()::text as horizon, kept_after_xid::text as kept_after
    from lapse.event_recording where id = 1`.execute(connection);
  const [row] = read.rows;
  return { xid: Math.max(Number(row?.horizon), Number(row?.kept_after) + 1), id: 0, index: 0 };
}

/** The place is less than a day old, nothing after it went unrecorded, and it is one of this database. */
export async function isKept(connection: Connection, { xid, id }: EventPosition): Promise<boolean> {
  const read = await sql`
    select from lapse.event_recording
    where id = 1 and (kept_after_xid, kept_after_id) < (${String(xid)}::xid8, ${id}::bigint)
      and ${String(xid)}::xid8 <= pg_snapshot_xmax(pg_current_snapshot())
      and not exists (
        select from lapse.events
        where xid = ${String(xid)}::xid8 and id = ${id}::bigint
          and created_at < clock_timestamp() - ${eventsKeptMs} * interval '1 millisecond'
      )`.execute(connection);
  return read.rows.length > 0;
}

interface EventRow {
  readonly horizon: string;
  readonly held_ms: number | null;
  /** Null where there is none. */
  readonly xid: string | null;
  readonly id: number;
  readonly created_at: number;
  readonly items: readonly StoredEvent[];
}

/**
 * The events after a place, in order, of at most `rowsMax` statements. Only what no open transaction can come before any more: the
 * horizon and the rows are of one snapshot.
 */
export async function readEvents(connection: Connection, after: EventPosition, rowsMax: number): Promise<EventPage> {
  const read = await sql<EventRow>`
    select h.horizon::text as horizon, e.xid::text as xid, e.id, e.created_at, e.items,
      (
        select greatest(0, extract(epoch from clock_timestamp() - w.created_at) * 1000)::bigint
        from lapse.events w where w.xid >= h.horizon order by w.xid, w.id limit 1
      ) as held_ms
    from (select lapse.events_horizon() as horizon) h
    left join lateral (
      select * from lapse.events
      where (xid, id) >= (${String(after.xid)}::xid8, ${after.id}::bigint) and xid < h.horizon
      order by xid, id limit ${rowsMax}
    ) e on true
    order by e.xid, e.id`.execute(connection);
  const rows = read.rows.filter((row) => row.xid !== null);
  const events = rows.flatMap((row) => eventsOf(row, after));
  const last = rows.at(-1);
  const isFull = rows.length === rowsMax && last !== undefined;
  const horizon = { xid: Number(read.rows[0]?.horizon), id: 0, index: 0 };
  const end = isFull ? { xid: Number(last.xid), id: last.id, index: last.items.length } : horizon;
  return { events, end: isBefore(end, after) ? after : end, isFull, heldMs: read.rows[0]?.held_ms ?? 0 };
}

function eventsOf(row: EventRow, after: EventPosition): PlacedEvent[] {
  const { items, id, created_at: at } = row;
  const xid = Number(row.xid);
  return items
    .map((item, i) => {
      const place = { xid, id, index: i + 1 };
      return { ...item, id: formatPosition(place), at, place };
    })
    .slice(xid === after.xid && id === after.id ? after.index : 0);
}

/** An event's place as its id. */
export function formatPosition({ xid, id, index }: EventPosition): string {
  return `${xid}-${id}-${index}`;
}

const positionForm = /^(\d{1,15})-(\d{1,15})-(\d{1,9})$/;

/** Null where the text is none of ours. */
export function parsePosition(text: string): EventPosition | null {
  const [, xid, id, index] = positionForm.exec(text) ?? [];
  return index === undefined ? null : { xid: Number(xid), id: Number(id), index: Number(index) };
}

/** Removes the oldest rows as far as they are older than a day, and a little, at most `limit`; resolves to how many. */
export async function removeOldEvents(connection: Connection, limit: number): Promise<number> {
  const removed = await sql<{ count: number }>`
    with oldest as (
      select xid, id, created_at from lapse.events order by xid, id limit ${limit} for update skip locked
    ), gone as (
      delete from lapse.events e using oldest o
      where e.xid = o.xid and e.id = o.id and o.created_at < clock_timestamp() - ${eventsKeptMs + removedLaterMs} * interval '1 millisecond'
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
