// Owns the cancel: the write that decides, by the row's lock, whether it or the claim was first.

import { sql } from "kysely";
import { bind, type Connection, type Database, type Rows } from "./database.ts";
import type { Reach } from "./reach.ts";
import { instant, type TaskRow } from "./task-rows.ts";

/**
 * A task that waits is cancelled; one in flight is told that no further attempt may follow. A confirm that stands refuses both. A row
 * held by a transaction of somebody else is passed over here, and waited for singly.
 */
const setCancelled = `set
      state = case when t.state = 'running' then 'running' else 'cancelled' end,
      finished_at = case when t.state = 'running' then null else clock_timestamp() end,
      cancel_requested = true,
      held = false,
      updated_at = clock_timestamp(),
      version = t.version + 1
    from hit
    where t.id = hit.id and t.state in ('scheduled', 'paused', 'running') and t.confirmed_attempt is null
    returning t.*`;

const cancelById = {
  name: "cancel_by_id",
  text: `with hit as (
      select id from lapse.tasks
      where id = any($1::uuid[]) and state in ('scheduled', 'paused', 'running') and confirmed_attempt is null
        and not (state = 'running' and cancel_requested) and ($2::text[] is null or queue = any($2))
      order by id
      for update skip locked
    )
    update lapse.tasks t ${setCancelled}`,
};

const cancelByKey = {
  name: "cancel_by_key",
  text: `with hit as (
      select t.id from unnest($1::text[], $2::text[]) as named (queue, key)
      join lapse.tasks t on t.queue = named.queue and t.key = named.key
        and t.key is not null and t.state in ('scheduled', 'paused', 'running')
      where t.confirmed_attempt is null and not (t.state = 'running' and t.cancel_requested)
        and ($3::timestamptz is null or clock_timestamp() < $3::timestamptz)
      order by t.id
      for update of t skip locked
    )
    update lapse.tasks t ${setCancelled}`,
};

/** Cancels tasks by id, as far as they are within reach, live and not locked: the rows that changed come back. */
export async function cancelTasksById(
  database: Database,
  ids: readonly string[],
  reach: Reach = null,
): Promise<TaskRow[]> {
  return asTaskRows(await database.run(bind(cancelById, [ids, reach])));
}

/**
 * The same for the live tasks with the keys. `notAfter`, by Postgres's clock: when its answer is no longer waited for. A network that
 * stood still may deliver it long after that, when the key is another task's.
 */
export async function cancelTasksByKey(
  database: Database,
  names: readonly { readonly queue: string; readonly key: string }[],
  notAfter: number | null = null,
): Promise<TaskRow[]> {
  const until = notAfter === null ? null : instant(notAfter);
  return asTaskRows(
    await database.run(bind(cancelByKey, [names.map((name) => name.queue), names.map((name) => name.key), until])),
  );
}

/** Cancels one task, waiting for its lock. Null where it changed nothing: it is not live, is confirmed, or was told before. */
export async function cancelTask(connection: Connection, id: string): Promise<TaskRow | null> {
  const cancelled = await sql<TaskRow>`
    with hit as (select ${id}::uuid as id) update lapse.tasks t ${sql.raw(setCancelled)}`.execute(connection);
  return cancelled.rows[0] ?? null;
}

function asTaskRows(rows: Rows): TaskRow[] {
  return rows as unknown as TaskRow[];
}
