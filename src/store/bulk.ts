// Owns the writes over many tasks. Each takes its rows in id order and names the states it expects.

import { type RawBuilder, sql } from "kysely";
import type { TaskState } from "../task/task.ts";
import type { Connection } from "./database.ts";
import { type Reach, withinReach } from "./reach.ts";
import type { TaskRow } from "./task-rows.ts";

/** Tasks that one bulk call takes at most. */
export const bulkTasksMax = 10_000;

/** Which tasks a bulk call means: all conditions hold. Labels mean tasks in `labelStates` alone. */
export interface BulkSelection {
  /** The queues that the caller can see; left out: all. */
  readonly reach?: Reach;
  readonly queue?: string;
  readonly ids?: readonly string[];
  readonly keys?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Only those that a start after a gap holds back. */
  readonly held?: true;
  readonly labelStates: readonly TaskState[];
}

export interface BulkCandidate {
  readonly id: string;
  readonly queue: string;
  readonly key: string | null;
  readonly state: TaskState;
  readonly confirmed: boolean;
}

const candidateColumns = sql`t.id, t.queue, t.key, t.state, t.confirmed_attempt is not null as confirmed`;

/** Tasks that a bulk call means, one more than the most it takes, ordered by age. A key means its live task, else its newest ended one. */
export async function findCandidates(connection: Connection, selection: BulkSelection): Promise<BulkCandidate[]> {
  const conditions: RawBuilder<unknown>[] = [sql`t.state <> 'tombstone'`, withinReach(selection.reach ?? null)];
  if (selection.queue !== undefined) conditions.push(sql`t.queue = ${selection.queue}`);
  if (selection.ids !== undefined) conditions.push(sql`t.id = any(${[...selection.ids]}::uuid[])`);
  if (selection.labels !== undefined) {
    conditions.push(
      sql`t.labels <> '{}' and t.labels @> ${JSON.stringify(selection.labels)}::jsonb and t.state = any(${[...selection.labelStates]}::text[])`,
    );
  }
  if (selection.held !== undefined) conditions.push(sql`t.held`);
  const source =
    selection.keys === undefined ? sql`lapse.tasks t` : named(selection.keys, selection.queue ?? "default");
  // Ordered only once they are so few: of millions with a label the oldest would have to be looked for among all.
  const found = await sql<BulkCandidate>`
    select * from (
      select ${candidateColumns} from ${source} where ${sql.join(conditions, sql` and `)} limit ${bulkTasksMax + 1}
    ) candidate
    order by id`.execute(connection);
  return found.rows;
}

function named(keys: readonly string[], queue: string): RawBuilder<unknown> {
  const byKey = sql`tasks.queue = ${queue} and tasks.key = named.key`;
  return sql`unnest(${[...new Set(keys)]}::text[]) as named (key)
    cross join lateral (
      (select * from lapse.tasks where ${byKey} and state in ('scheduled', 'paused', 'running'))
      union all
      (select * from lapse.tasks where ${byKey} and finished_at is not null order by id desc limit 1)
      limit 1
    ) t`;
}

/** A live task or a tombstone stands in the way of the candidate's key. */
export async function isKeyTaken(connection: Connection, { queue, key }: BulkCandidate): Promise<boolean> {
  const holder = await sql`
    select from lapse.tasks
    where queue = ${queue} and key = ${key}
      and (state in ('scheduled', 'paused', 'running') or state = 'tombstone' and due_at > clock_timestamp())`.execute(
    connection,
  );
  return holder.rows.length > 0;
}

/** Cancels those that are live and not confirmed; the rows that changed come back. */
export async function cancelAll(connection: Connection, ids: readonly string[]): Promise<TaskRow[]> {
  return changeAll(connection, ids, {
    from: ["scheduled", "paused", "running"],
    set: sql`state = case when t.state = 'running' then 'running' else 'cancelled' end,
      finished_at = case when t.state = 'running' then null else clock_timestamp() end, cancel_requested = true, held = false`,
    and: sql`t.confirmed_attempt is null and not (t.state = 'running' and t.cancel_requested)`,
  });
}

export async function pauseAll(connection: Connection, ids: readonly string[]): Promise<TaskRow[]> {
  return changeAll(connection, ids, { from: ["scheduled"], set: sql`state = 'paused'` });
}

export async function resumeAll(connection: Connection, ids: readonly string[]): Promise<TaskRow[]> {
  return changeAll(connection, ids, {
    from: ["paused"],
    set: sql`state = 'scheduled', held = false, next_attempt_at = greatest(t.next_attempt_at, date_trunc('milliseconds', clock_timestamp()))`,
  });
}

interface BulkChange {
  readonly from: readonly TaskState[];
  readonly set: RawBuilder<unknown>;
  readonly and?: RawBuilder<unknown>;
}

async function changeAll(
  connection: Connection,
  ids: readonly string[],
  { from, set, and }: BulkChange,
): Promise<TaskRow[]> {
  const guard = sql`t.state = any(${[...from]}::text[]) and ${and ?? sql`true`}`;
  const changed = await sql<TaskRow>`
    with hit as (select t.id from lapse.tasks t where t.id = any(${[...ids]}::uuid[]) and ${guard} order by t.id for update)
    update lapse.tasks t set ${set}, updated_at = clock_timestamp(), version = t.version + 1
    from hit where t.id = hit.id and ${guard}
    returning t.*`.execute(connection);
  return changed.rows;
}
