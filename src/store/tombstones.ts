// Owns tombstones: what stops an arrival whose key was cancelled before it came. One stands in the unique index of the live keys.

import { sql } from "kysely";
import type { Connection } from "./database.ts";
import type { TaskRow } from "./task-rows.ts";

/** A tombstone asked for while an attempt was in flight takes the key as soon as its task has ended. */
export const plantTombstones = {
  name: "plant_tombstones",
  text: `insert into lapse.tasks (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at)
    select gen_random_uuid(), queue, key, 'tombstone', tombstone_until, tombstone_until, clock_timestamp(), clock_timestamp()
    from lapse.tasks
    where id = any($1::uuid[]) and finished_at is not null and key is not null and tombstone_until > clock_timestamp()
    order by id
    on conflict do nothing`,
};

export interface TombstoneRequest {
  /** One id a key, for the rows that are new. */
  readonly ids: readonly string[];
  readonly queue: string;
  readonly keys: readonly string[];
  readonly lifetimeMs: number;
}

/**
 * Makes a tombstone for each key, or lengthens the one that stands. Resolves to the keys that have one now; for the others a live task
 * stands in its place: the caller looks again.
 */
export async function makeTombstones(
  connection: Connection,
  { ids, queue, keys, lifetimeMs }: TombstoneRequest,
): Promise<string[]> {
  const made = await sql<{ key: string }>`
    insert into lapse.tasks (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at)
    select id, ${queue}, key, 'tombstone', now + ${lifetimeMs} * interval '1 millisecond', now, now, now
    from unnest(${ids}::uuid[], ${keys}::text[]) as t (id, key), clock_timestamp() as now
    order by key
    on conflict (queue, key) where key is not null and state in ('scheduled', 'paused', 'running', 'tombstone')
    do update set due_at = greatest(lapse.tasks.due_at, excluded.due_at), updated_at = excluded.updated_at
    where lapse.tasks.state = 'tombstone'
    returning key`.execute(connection);
  return made.rows.map((row) => row.key);
}

/**
 * What the one that stands in an arrival's way means to it: a tombstone cancels it, one whose time is over is removed, so that its key is
 * free, and a task (none) is no tombstone. `now` is Postgres's, in ms since the epoch.
 */
export async function meetTombstone(
  connection: Connection,
  standing: TaskRow,
  now: number,
): Promise<"cancels" | "spent" | "none"> {
  if (awaitsTombstone(standing, now)) return "cancels";
  if (standing.state !== "tombstone") return "none";
  const { id } = standing;
  const spent = sql`delete from lapse.tasks where id = ${id} and state = 'tombstone' and due_at <= clock_timestamp()`;
  await spent.execute(connection);
  // Where nothing was removed it may have been removed by somebody else meanwhile.
  const still = await sql`select from lapse.tasks where id = ${id} and state = 'tombstone'`.execute(connection);
  return still.rows.length > 0 ? "cancels" : "spent";
}

/** Removes the tombstone that stands in the way of a task's key, if its time is over. Resolves to whether there was one. */
export async function removeSpentTombstone(connection: Connection, taskId: string): Promise<boolean> {
  const removed = await sql`
    delete from lapse.tasks tombstone using lapse.tasks t
    where t.id = ${taskId} and tombstone.queue = t.queue and tombstone.key = t.key
      and tombstone.state = 'tombstone' and tombstone.due_at <= clock_timestamp()
    returning tombstone.id`.execute(connection);
  return removed.rows.length > 0;
}

/** A tombstone was asked for while the task's attempt was in flight: it counts already. `now` is Postgres's, in ms since the epoch. */
export function awaitsTombstone({ tombstone_until: until }: Pick<TaskRow, "tombstone_until">, now: number): boolean {
  return until !== null && until > now;
}

/** Remembers a tombstone on the tasks in flight that hold its key; resolves to those keys. */
export async function leaveTombstones(
  connection: Connection,
  { queue, keys, lifetimeMs }: Omit<TombstoneRequest, "ids">,
): Promise<string[]> {
  const left = await sql<{ key: string }>`
    update lapse.tasks t
    set tombstone_until = greatest(t.tombstone_until, clock_timestamp() + ${lifetimeMs} * interval '1 millisecond')
    where t.queue = ${queue} and t.key = any(${keys}::text[]) and t.state in ('scheduled', 'paused', 'running') and (t.state = 'running' or t.confirmed_attempt is not null)
    returning t.key`.execute(connection);
  return left.rows.map((row) => row.key);
}
