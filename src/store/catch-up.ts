// Owns what a start after a gap holds back: an old backup restored, or a long stop, must not fire a week of orders at once.

import { type QueryResult, type RawBuilder, sql } from "kysely";
import type { Connection, Database } from "./database.ts";
import { adoptNewQueues } from "./queues.ts";

/** Tasks a transaction holds back or spreads at most. */
const tasksPerBatchMax = 5_000;
/** A restart takes less: a longer time without a dispatcher is a stop, or an old backup. */
const rampGapMs = 300_000;
/** Two beats of the heart: a restart takes less. */
const coalesceGapMs = 10_000;
/** How much faster the drain of what is overdue gets each second, in calls a second. */
const rampPerSecond = 20;

/** Notes that a dispatcher lives on this database. */
export async function beat(connection: Connection): Promise<void> {
  await sql`
    insert into lapse.heartbeat (beaten_at) values (clock_timestamp())
    on conflict (id) do update set beaten_at = excluded.beaten_at`.execute(connection);
}

/**
 * Where no dispatcher lived for longer than `catchUpMs`: pauses the tasks that are overdue by more, until a resume. Resolves to how many.
 * To be called before anything is claimed.
 */
export async function holdOverdue(database: Database, catchUpMs: number): Promise<number> {
  if (!(await wasNobodyHere(database, catchUpMs))) return 0;
  const { queues } = await database.query(readQueues);
  let held = 0;
  for (const queue of queues)
    held += await inBatches(database, (connection) =>
      sql`
        update lapse.tasks set state = 'paused', held = true, updated_at = clock_timestamp(), version = version + 1
        where state = 'scheduled' and id in (
          select id from lapse.tasks where queue = ${queue} and state = 'scheduled' and next_attempt_at < ${ago(catchUpMs)}
          order by next_attempt_at, id limit ${tasksPerBatchMax} for update skip locked
        )`.execute(connection),
    );
  return held;
}

/**
 * Where no dispatcher lived for five minutes or more: spreads what is overdue, queue by queue and in due order, so that a drain of it
 * begins with a few calls and grows by 20 a second each second: after t seconds 10 t^2 tasks were due. Resolves to how many were moved.
 * To be called before anything is claimed.
 */
export async function rampOverdue(database: Database): Promise<number> {
  if (!(await wasNobodyHere(database, rampGapMs))) return 0;
  const { now, queues } = await database.query(readQueues);
  let ramped = 0;
  for (const queue of queues) {
    let place = 0;
    ramped += await inBatches(database, async (connection) => {
      const batch = await spreadBatch(connection, { queue, now, place });
      place += Number(batch.numAffectedRows ?? 0);
      return batch;
    });
  }
  return ramped;
}

/**
 * Where no dispatcher lived for ten seconds or more: of what a coalescing schedule had made ahead and what fell due meanwhile only the latest
 * occurrence is fired, and the others are missed, also where the latest is yet to be made. Resolves to how many are missed. To be called
 * before anything is claimed.
 */
export async function coalesceMissed(database: Database): Promise<number> {
  if (!(await wasNobodyHere(database, coalesceGapMs))) return 0;
  const missed = await database.query((connection) =>
    sql`
      update lapse.tasks set state = 'missed', finished_at = clock_timestamp(), updated_at = clock_timestamp(), version = version + 1
      where state = 'scheduled' and id in (
        select overdue.id from (
          select t.id, s.next_occurrence_at, row_number() over (partition by s.id order by t.occurrence_at desc) as place
          from lapse.schedules s join lapse.tasks t on t.schedule_id = s.id
          where s.coalesce and t.occurrence_at is not null and t.attempts = 0 and t.state = 'scheduled' and t.due_at < statement_timestamp()
        ) overdue
        where place > 1 or next_occurrence_at <= statement_timestamp()
        order by overdue.id
      )`.execute(connection),
  );
  return Number(missed.numAffectedRows ?? 0);
}

interface Spreading {
  readonly queue: string;
  /** The instant of the start, as text; what is due later is not overdue. */
  readonly now: string;
  /** How many of the queue have their place before these. */
  readonly place: number;
}

/** What was moved is due after `now`, so that no batch finds it again. */
function spreadBatch(connection: Connection, { queue, now, place }: Spreading) {
  return sql`
    with overdue as (
      select id, next_attempt_at from lapse.tasks
      where queue = ${queue} and state = 'scheduled' and next_attempt_at <= ${now}::timestamptz
      order by next_attempt_at, id limit ${tasksPerBatchMax} for update skip locked
    ), placed as (
      select id, row_number() over (order by next_attempt_at, id) + ${place}::bigint as place from overdue
    )
    update lapse.tasks t set updated_at = clock_timestamp(),
      next_attempt_at = ${now}::timestamptz + make_interval(secs => ceil(1000 * sqrt(2.0 * place / ${rampPerSecond}::float8)) / 1000)
    from placed
    where t.id = placed.id and t.state = 'scheduled'`.execute(connection);
}

async function readQueues(connection: Connection): Promise<{ now: string; queues: string[] }> {
  await adoptNewQueues(connection);
  const read = await sql<{ now: string; queues: string[] }>`
    select date_trunc('milliseconds', clock_timestamp())::text as now,
      array(select name::text from lapse.queues order by name) as queues`.execute(connection);
  return read.rows[0] ?? { now: "now", queues: [] };
}

/** A database on which nobody has lived yet shows no gap. */
async function wasNobodyHere(database: Database, forMs: number): Promise<boolean> {
  const gap = await database.query((connection) =>
    sql`select from lapse.heartbeat where beaten_at < ${ago(forMs)}`.execute(connection),
  );
  return gap.rows.length > 0;
}

function ago(ms: number): RawBuilder<unknown> {
  return sql`statement_timestamp() - ${ms} * interval '1 millisecond'`;
}

/** Runs an update of a batch again while it finds a full one; resolves to how many rows it changed. */
async function inBatches(
  database: Database,
  update: (connection: Connection) => Promise<QueryResult<unknown>>,
): Promise<number> {
  for (let changed = 0; ; ) {
    const count = Number((await database.query(update)).numAffectedRows ?? 0);
    changed += count;
    if (count < tasksPerBatchMax) return changed;
  }
}

/** How many tasks are held back still. */
export async function countHeld(connection: Connection): Promise<number> {
  const counted = await sql<{ count: number }>`select count(*) as count from lapse.tasks where held`.execute(
    connection,
  );
  return counted.rows[0]?.count ?? 0;
}
