// Owns the end of a dispatcher's lease: declaring it dead, and taking over what it had in flight. The renewal has a thread of its own.

import { sql } from "kysely";
import { failpoint } from "../runtime/failpoint.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import { type ClaimedRow, claimedColumns, toClaimedTask } from "./claims.ts";
import { bind, type Connection, type Database, execute } from "./database.ts";
import { plantTombstones } from "./tombstones.ts";

/** How long a dispatcher's word holds; renewed every 3 s. What it had in flight is taken over after that. */
export const leaseMs = 10_000;
/** A claim that began before its owner was declared dead has committed or failed by then (statements end after 5 s). */
const lastClaimMsMax = 10_000;
/** A cast to an integer would fail for what SQL may have left there, and the whole takeover with it. */
const maxAttempts = sql`case jsonb_typeof(r.retry -> 'maxAttempts') when 'number' then (r.retry ->> 'maxAttempts')::numeric end`;
/** Tasks moved by one transaction of a takeover. */
const takeoverBatchMax = 500;

/** Declares dead whose lease has lapsed; for good: it cannot renew any more. Resolves to all the dead that still hold tasks or slots. */
export async function declareDead(connection: Connection, owner: string): Promise<string[]> {
  await sql`
    update lapse.dispatchers set dead_at = clock_timestamp()
    where dead_at is null and id in (
      select id from lapse.dispatchers where dead_at is null and lease_until < clock_timestamp() and id <> ${owner} order by id for update skip locked
    )`.execute(connection);
  // A claim that committed after its owner was gone: the owner is entered again, as a dead one.
  await sql`
    insert into lapse.dispatchers (id, lease_until, dead_at)
    select distinct owner, clock_timestamp(), clock_timestamp() from lapse.tasks t
    where state = 'running' and not exists (select from lapse.dispatchers d where d.id = t.owner)
    on conflict do nothing`.execute(connection);
  const dead = await connection
    .selectFrom("lapse.dispatchers")
    .select("id")
    .where("dead_at", "is not", null)
    .orderBy("id")
    .execute();
  return dead.map((row) => row.id);
}

/** Declares dead whoever held a lease before: for a database that is this process's own child, so that nobody else can live. */
export async function declareAllDead(connection: Connection): Promise<void> {
  await sql`update lapse.dispatchers set dead_at = clock_timestamp() where dead_at is null`.execute(connection);
}

export interface Takeover {
  /** To be fired again, as new attempts of the new owner, whose share of slots grew by them. */
  readonly claimed: readonly ClaimedTask[];
  /** Where the others stand: ended, or waiting and due. */
  readonly released: readonly { readonly id: string; readonly queue: string; readonly isEnded: boolean }[];
  /** Nothing of the dead is left, and its row is removed. */
  readonly isComplete: boolean;
}

const nothing: Takeover = { claimed: [], released: [], isComplete: false };

/**
 * Takes over part of what a dead dispatcher had in flight. Each attempt is recorded `lost`; its task goes on as the new owner's next
 * attempt, together with its slot, unless it must not: then it ends, or waits where its queue is paused or has a rate limit, due as it was. Another taker, or a row held by
 * a transaction of somebody else, is passed over.
 */
export async function takeOver(database: Database, dead: string, owner: string): Promise<Takeover> {
  return database.transaction(async (trx) => {
    if (!(await isAlive(trx, owner))) return nothing;
    const held =
      await sql`select id from lapse.dispatchers where id = ${dead} and dead_at is not null for update skip locked`.execute(
        trx,
      );
    if (held.rows.length === 0) return nothing;
    const slots = await lockShares(trx, dead);
    const rows = await sql<{ id: string; queue: string }>`
      select id, queue from lapse.tasks where owner = ${dead} and state = 'running'
      order by id limit ${takeoverBatchMax} for update skip locked`.execute(trx);
    await recordLost(
      trx,
      rows.rows.map((row) => row.id),
    );
    if (rows.rows.length > 0) failpoint("takeover.recorded");
    const moved = await reassign(trx, { owner, rows: rows.rows, slots });
    if (rows.rows.length > 0) failpoint("takeover.reassigned");
    await moveShares(trx, { dead, owner, moved });
    if (rows.rows.length > 0) failpoint("takeover.shares_moved");
    const isComplete = rows.rows.length < takeoverBatchMax && (await bury(trx, dead));
    return { ...moved, isComplete };
  });
}

/** Holds the living in place until the commit: its own burial waits. */
export async function isAlive(trx: Connection, owner: string): Promise<boolean> {
  const alive = await sql`
    select from lapse.dispatchers where id = ${owner} and dead_at is null for key share`.execute(trx);
  return alive.rows.length > 0;
}

async function lockShares(trx: Connection, dead: string): Promise<Map<string, number>> {
  const shares = await trx
    .selectFrom("lapse.shares")
    .select(["queue", "slots"])
    .where("owner", "=", dead)
    .orderBy("queue")
    .forUpdate()
    .execute();
  return new Map(shares.map((share) => [share.queue, share.slots]));
}

async function recordLost(trx: Connection, ids: readonly string[]): Promise<void> {
  await sql`
    insert into lapse.attempts (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, error)
    select id, attempts, attempt_started_at, clock_timestamp(), lateness_ms,
      greatest(0, extract(epoch from clock_timestamp() - attempt_started_at) * 1000)::bigint, 'lost', 'the process that made this attempt died'
    from lapse.tasks where id = any(${ids}::uuid[]) order by id
    on conflict do nothing`.execute(trx);
}

interface Reassignment {
  readonly claimed: readonly ClaimedTask[];
  readonly released: Takeover["released"];
}

/** A task without a slot to bring along (its dispatcher had given it up already) waits for one like any other. */
async function reassign(
  trx: Connection,
  { owner, rows, slots }: { owner: string; rows: readonly { id: string; queue: string }[]; slots: Map<string, number> },
): Promise<Reassignment> {
  const left = new Map(slots);
  const withSlot = rows.map(({ queue }) => {
    const free = left.get(queue) ?? 0;
    left.set(queue, free - 1);
    return free > 0;
  });
  const updated = await sql<ClaimedRow>`
    update lapse.tasks t set
      state = s.next,
      owner = case when s.next = 'running' then ${owner}::uuid end,
      attempts = t.attempts + case when s.next = 'running' then 1 else 0 end,
      attempt_started_at = case when s.next = 'running' then clock_timestamp() end,
      lateness_ms = case when s.next = 'running'
        then greatest(0, floor(extract(epoch from clock_timestamp() - greatest(t.next_attempt_at, 'epoch')) * 1000))::bigint end,
      finished_at = case when s.next in ('cancelled', 'failed') then clock_timestamp() end,
      updated_at = clock_timestamp(),
      version = t.version + 1
    from (
      select r.id, case
          when r.cancel_requested then 'cancelled'
          when r.delivery = 'at-most-once' or r.attempts - r.attempts_before >= coalesce(${maxAttempts}, 1) then 'failed'
          when not m.with_slot or r.queue in (select name from lapse.queues where paused or rate_limit_count is not null) then 'scheduled'
          else 'running'
        end as next
      from unnest(${rows.map((row) => row.id)}::uuid[], ${withSlot}::boolean[]) as m (id, with_slot)
      join lapse.tasks r on r.id = m.id
    ) s
    where t.id = s.id and t.state = 'running'
    returning ${sql.raw(claimedColumns)}`.execute(trx);
  await execute(trx, bind(plantTombstones, [rows.map((row) => row.id)]));
  const running = updated.rows.filter((row) => row.state === "running");
  return {
    claimed: running.map(toClaimedTask),
    released: updated.rows
      .filter((row) => row.state !== "running")
      .map((row) => ({ id: row.id, queue: row.queue, isEnded: row.state !== "scheduled" })),
  };
}

/** Slots of tasks that go on move with them; those of tasks that ended or wait are given up. */
async function moveShares(
  trx: Connection,
  { dead, owner, moved }: { dead: string; owner: string; moved: Reassignment },
): Promise<void> {
  const byQueue = Map.groupBy(moved.claimed, (task) => task.queue);
  const queues = [...byQueue.keys()].toSorted();
  const counts = queues.map((queue) => byQueue.get(queue)?.length ?? 0);
  await sql`
    update lapse.shares s set slots = s.slots - m.slots, wanted = 0
    from unnest(${queues}::text[], ${counts}::int[]) as m (queue, slots)
    where s.owner = ${dead} and s.queue = m.queue`.execute(trx);
  await sql`
    insert into lapse.shares (queue, owner, slots)
    select queue, ${owner}::uuid, slots from unnest(${queues}::text[], ${counts}::int[]) as m (queue, slots)
    on conflict (queue, owner) do update set slots = lapse.shares.slots + excluded.slots`.execute(trx);
}

/** Once nothing of the dead is in flight, its slots that are left become free; its row goes when no claim of its can be under way any more. */
async function bury(trx: Connection, dead: string): Promise<boolean> {
  const left = await sql`select from lapse.tasks where owner = ${dead} and state = 'running' limit 1`.execute(trx);
  if (left.rows.length > 0) return false;
  await trx.deleteFrom("lapse.shares").where("owner", "=", dead).execute();
  const buried = await sql`
    delete from lapse.dispatchers
    where id = ${dead} and dead_at < clock_timestamp() - ${lastClaimMsMax} * interval '1 millisecond'`.execute(trx);
  return buried.numAffectedRows === 1n;
}

/** Ends a lease of one's own: nothing is in flight nor being claimed any more. */
export async function unregisterDispatcher(database: Database, id: string): Promise<void> {
  await database.transaction(async (trx) => {
    const left = await sql`select from lapse.tasks where owner = ${id} and state = 'running' limit 1`.execute(trx);
    if (left.rows.length > 0) return;
    await trx.deleteFrom("lapse.shares").where("owner", "=", id).execute();
    await trx.deleteFrom("lapse.dispatchers").where("id", "=", id).execute();
  });
}
