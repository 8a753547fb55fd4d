// Owns the claim of occurrences: an attempt of one begins only while fewer than maxInstances tasks of its schedule are under way.

import { sql } from "kysely";
import { failpoint } from "../runtime/failpoint.ts";
import { type Claim, claimApart, type ClaimedRow, claimTasks, misfiredColumn, toClaim } from "./claims.ts";
import { bind, type Connection, type Database, execute } from "./database.ts";
import { claimRated, lockQueue } from "./rated-claims.ts";

export interface OccurrenceClaim extends Claim {
  /** Of those ended, how many found maxInstances others. */
  readonly crowdedOutCount: number;
}

export interface OccurrenceClaimRequest {
  readonly queue: string;
  readonly owner: string;
  readonly ids: readonly string[];
  /** The queue has a rate limit, within which it is claimed. */
  readonly isRated: boolean;
}

/**
 * Claims those of the ids that are due and were made for an occurrence of which no attempt began. A schedule or a task that somebody else
 * holds is passed over. A retry of an instance that counts already comes in by the other claims.
 */
export async function claimOccurrences(database: Database, request: OccurrenceClaimRequest): Promise<OccurrenceClaim> {
  let crowdedOutCount = 0;
  const claim = await claimApart(database, request.ids, async (ids) => {
    // Most of what another claim did not win is no occurrence: that costs one read.
    const scheduleIds = await database.query((connection) => findSchedules(connection, ids));
    if (scheduleIds.length === 0) return { claimed: [], ended: [] };
    const { missed, rows } = await database.transaction(async (trx) => {
      const judged = await judgeOccurrences(trx, ids, scheduleIds);
      failpoint("claim.judged");
      return { missed: judged.missed, rows: await claimJudged(trx, { ...request, ids: judged.passed }) };
    });
    crowdedOutCount += missed.length;
    const { claimed, ended } = await toClaim(database, rows);
    return { claimed, ended: [...missed, ...ended] };
  });
  return { ...claim, crowdedOutCount };
}

async function claimJudged(
  trx: Connection,
  { queue, owner, ids, isRated }: OccurrenceClaimRequest,
): Promise<readonly ClaimedRow[]> {
  if (ids.length === 0) return [];
  // Last, so that the queue's other claims wait for as little as there is.
  if (isRated) await execute(trx, bind(lockQueue, [queue]));
  const statement = isRated ? bind(claimRated, [ids, owner, queue, ids]) : bind(claimTasks, [ids, owner, ids]);
  return (await execute(trx, statement)) as unknown as readonly ClaimedRow[];
}

interface Judged {
  /** May be claimed within this transaction. */
  readonly passed: readonly string[];
  /** Found maxInstances tasks of their schedule under way, and have ended `missed`. */
  readonly missed: readonly string[];
}

/**
 * Judges those of the ids that were made for an occurrence, are due and not begun. The schedules' rows are locked before anything is
 * counted, so that two dispatchers cannot both let one pass; the count also holds for two occurrences of one claim.
 */
async function judgeOccurrences(
  trx: Connection,
  ids: readonly string[],
  scheduleIds: readonly string[],
): Promise<Judged> {
  const locked = await lockSchedules(trx, scheduleIds);
  // A statement of its own, so that it sees what was committed by whoever held the locks before.
  const found = await sql<{ id: string; isCrowdedOut: boolean }>`
    with due as (
      select id, schedule_id, occurrence_at, ${sql.raw(misfiredColumn)} as misfired
      from lapse.tasks
      where id = any(${ids}::uuid[]) and schedule_id = any(${locked}::uuid[]) and ${isUnbegun}
      order by id
      for update skip locked
    )
    select due.id, not misfired and coalesce(
        row_number() over (partition by due.schedule_id, misfired order by occurrence_at, due.id) + (
          select count(*) from lapse.tasks i
          where i.schedule_id = s.id and i.schedule_id is not null and i.attempts > 0 and i.state in ('scheduled', 'paused', 'running')
        ) > s.max_instances, false) as "isCrowdedOut"
    from due left join lapse.schedules s on s.id = due.schedule_id`.execute(trx);
  const [crowdedOut, passed] = [true, false].map((isOut) =>
    found.rows.filter(({ isCrowdedOut }) => isCrowdedOut === isOut).map(({ id }) => id),
  );
  return { passed: passed ?? [], missed: await missAll(trx, crowdedOut ?? []) };
}

/** The schedules of what is to be claimed; none where no id is an occurrence. */
async function findSchedules(connection: Connection, ids: readonly string[]): Promise<string[]> {
  const found = await sql<{ id: string }>`
    select distinct schedule_id as id from lapse.tasks where id = any(${ids}::uuid[]) and ${isUnbegun}`.execute(
    connection,
  );
  return found.rows.map(({ id }) => id);
}

const isUnbegun = sql`
  state = 'scheduled' and occurrence_at is not null and attempts = 0 and next_attempt_at <= clock_timestamp()
  and queue not in (select name from lapse.queues where paused)`;

/** Resolves to those that may be judged here: locked now, or deleted meanwhile. */
async function lockSchedules(trx: Connection, ids: readonly string[]): Promise<string[]> {
  const locked = await sql<{ id: string }>`
    select id from lapse.schedules where id = any(${ids}::uuid[]) order by id for update skip locked`.execute(trx);
  const standing = await sql<{ id: string }>`select id from lapse.schedules where id = any(${ids}::uuid[])`.execute(
    trx,
  );
  const held = new Set(standing.rows.map(({ id }) => id));
  for (const { id } of locked.rows) held.delete(id);
  return ids.filter((id) => !held.has(id));
}

/** With an event each, in this transaction. */
async function missAll(trx: Connection, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const missed = await sql<{ id: string }>`
    with missed as (
      update lapse.tasks set state = 'missed', finished_at = clock_timestamp(), updated_at = clock_timestamp(), version = version + 1
      where id = any(${ids}::uuid[]) and state = 'scheduled'
      returning id, queue, key, schedule_id, occurrence_at
    ), told as (
      select lapse.record_events(json_agg(json_build_object(
        'type', 'schedule.max-instances', 'queue', m.queue, 'taskId', m.id, 'key', m.key,
        'data', json_build_object('scheduleId', s.id, 'name', s.name, 'occurrenceAt', m.occurrence_at)
      ) order by m.id)) as done
      from missed m join lapse.schedules s on s.id = m.schedule_id having count(*) > 0
    )
    select id, (select count(*) from told) as told from missed`.execute(trx);
  return missed.rows.map(({ id }) => id);
}
