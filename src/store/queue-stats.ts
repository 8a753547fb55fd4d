// Owns the figures of a queue: counts of its tasks, kept for a while since they are read from the rows, and what all processes fired in it.

import { sql } from "kysely";
import { latenessQuantile } from "../task/lateness.ts";
import { monotonicMs } from "../runtime/clock.ts";
import type { QueueStats } from "../task/queue.ts";
import { taskStates } from "../task/task.ts";
import type { Connection, Database } from "./database.ts";

/** Counts are at most this old. */
const countsAgeMaxMs = 5_000;
/** Nor older than this many times what reading them took: those of a small queue are fresh. */
const countsAgePerCost = 20;
/** Tasks of a queue and state that are counted one by one; see `countStates`. */
const countedMax = 100_000;
/** Queues whose counts are remembered. */
const queuesCountedMax = 1_000;
const statsSpanMs = 60_000;
/** How long a row of activity is of use. */
const activityKeptMs = 2 * statsSpanMs;

/** What one process fired in one queue since it last told. */
export interface Activity {
  readonly queue: string;
  readonly fired: number;
  /** First attempts by bucket of lateness. */
  readonly lateness: ReadonlyMap<number, number>;
}

export async function recordActivity(
  connection: Connection,
  owner: string,
  activities: readonly Activity[],
): Promise<void> {
  const queues = activities.map((activity) => activity.queue);
  const fired = activities.map((activity) => activity.fired);
  const lateness = activities.map((activity) => JSON.stringify(Object.fromEntries(activity.lateness)));
  await sql`
    insert into lapse.queue_activity (queue, owner, fired, lateness)
    select queue, ${owner}::uuid, fired, lateness
    from unnest(${queues}::text[], ${fired}::int[], ${lateness}::jsonb[]) as told (queue, fired, lateness)
    on conflict do nothing`.execute(connection);
}

/** Removes what no statistics reach back to, at most `limit` rows; resolves to how many. */
export async function removeOldActivity(connection: Connection, limit: number): Promise<number> {
  const removed = await sql`
    delete from lapse.queue_activity where (queue, recorded_at, owner) in (
      select queue, recorded_at, owner from lapse.queue_activity
      where recorded_at < statement_timestamp() - ${activityKeptMs} * interval '1 millisecond'
      order by recorded_at limit ${limit} for update skip locked
    )`.execute(connection);
  return Number(removed.numAffectedRows ?? 0);
}

type Counts = QueueStats["counts"];

export class QueueStatsReader {
  readonly #database: Database;
  readonly #counts = new Map<string, { readonly counts: Promise<Counts>; untilMs: number }>();

  constructor(database: Database) {
    this.#database = database;
  }

  async read(queue: string): Promise<QueueStats> {
    const [counts, oldestOverdueMs, fired] = await Promise.all([
      this.#countsOf(queue),
      this.#database.query((connection) => readOldestOverdue(connection, queue)),
      this.#database.query((connection) => readFired(connection, queue)),
    ]);
    return { counts, oldestOverdueMs, ...fired };
  }

  async #countsOf(queue: string): Promise<Counts> {
    const startedMs = monotonicMs();
    const standing = this.#counts.get(queue);
    if (standing !== undefined && startedMs < standing.untilMs) return standing.counts;
    const entry = {
      counts: this.#database.query((connection) => countStates(connection, queue)),
      untilMs: startedMs + countsAgeMaxMs,
    };
    this.#counts.delete(queue);
    this.#counts.set(queue, entry);
    for (const oldest of this.#counts.keys()) {
      if (this.#counts.size <= queuesCountedMax) break;
      this.#counts.delete(oldest);
    }
    try {
      const counts = await entry.counts;
      entry.untilMs = startedMs + Math.min(countsAgeMaxMs, countsAgePerCost * (monotonicMs() - startedMs));
      return counts;
    } catch (error) {
      entry.untilMs = startedMs;
      throw error;
    }
  }
}

/**
 * Millions are not counted: of states that have more than `countedMax` tasks the first, which with a backlog is `scheduled`, has what is left
 * of all that stand once the other states are taken away. The tallies that tell how many stand are those of the audit.
 */
async function countStates(connection: Connection, queue: string): Promise<Counts> {
  const first = await countUpTo(connection, queue, { limit: countedMax + 1 });
  const [derived, ...others] = taskStates.filter((state) => first.counts[state] > countedMax);
  if (derived === undefined) return first.counts;
  const { counts, standing } = others.length === 0 ? first : await countUpTo(connection, queue, { except: derived });
  const rest = taskStates.reduce((sum, state) => sum + (state === derived ? 0 : counts[state]), 0);
  return { ...counts, [derived]: Math.max(first.counts[derived], standing - rest) };
}

/** In one snapshot: how many tasks each state has, at most `limit`, and how many stand by the tallies. */
async function countUpTo(
  connection: Connection,
  queue: string,
  { limit = null, except = null }: { limit?: number | null; except?: keyof Counts | null },
): Promise<{ counts: Counts; standing: number }> {
  const states = taskStates.filter((state) => state !== except);
  const found = await sql<{ state: keyof Counts; count: number; standing: number }>`
    with tallied as materialized (
      select coalesce(sum(case kind when 'accepted' then count else -count end), 0)::bigint as standing
      from lapse.tallies where queue = ${queue}
    )
    select s.state, counted.count, tallied.standing from tallied
    cross join unnest(${states}::text[]) as s (state)
    cross join lateral (
      select count(*) as count from (
        select from lapse.tasks where queue = ${queue} and state = s.state order by due_at, id limit ${limit}
      ) task
    ) counted`.execute(connection);
  const none = Object.fromEntries(taskStates.map((state) => [state, 0])) as Record<keyof Counts, number>;
  const counts = { ...none, ...Object.fromEntries(found.rows.map(({ state, count }) => [state, count])) };
  return { counts, standing: found.rows[0]?.standing ?? 0 };
}

async function readOldestOverdue(connection: Connection, queue: string): Promise<number> {
  const found = await sql<{ overdueMs: number }>`
    select greatest(0, floor(extract(epoch from statement_timestamp() - greatest('epoch', next_attempt_at)) * 1000))::float8 as "overdueMs"
    from lapse.tasks where queue = ${queue} and state = 'scheduled' order by next_attempt_at, id limit 1`.execute(
    connection,
  );
  return found.rows[0]?.overdueMs ?? 0;
}

/** What all processes fired in a queue over the last minute. */
export async function readFired(
  connection: Connection,
  queue: string,
): Promise<Pick<QueueStats, "firedPerSecond" | "latenessMs">> {
  const since = sql`recorded_at > statement_timestamp() - ${statsSpanMs} * interval '1 millisecond'`;
  const found = await sql<{ bucket: string | null; count: number }>`
    select null as bucket, coalesce(sum(fired), 0)::float8 as count from lapse.queue_activity where queue = ${queue} and ${since}
    union all
    select late.key, sum(late.value::float8) from lapse.queue_activity, jsonb_each_text(lateness) late
    where queue = ${queue} and ${since} group by late.key`.execute(connection);
  const fired = found.rows.find(({ bucket }) => bucket === null)?.count ?? 0;
  const lateness = new Map(
    found.rows.flatMap(({ bucket, count }) => (bucket === null ? [] : [[Number(bucket), count] as const])),
  );
  return {
    firedPerSecond: (fired * 1_000) / statsSpanMs,
    latenessMs: { p50: latenessQuantile(lateness, 0.5), p99: latenessQuantile(lateness, 0.99) },
  };
}
