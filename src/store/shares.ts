// Owns the dispatchers' shares of each queue's slots: leased with the dispatcher, never more together than the queue's concurrency.

import { sql } from "kysely";
import { limitLockWaits } from "./lock-waits.ts";
import type { Connection, Database } from "./database.ts";
import { isAlive } from "./owners.ts";

/** How long the queue's row is waited for: other dispatchers hold it for a moment, anybody else's transaction for however long. */
const lockTimeoutMs = 100;

/** A dispatcher's share of a queue, and what the others hold and want. */
export interface Share {
  readonly queue: string;
  readonly concurrency: number;
  readonly slots: number;
  /** What was asked for and not given. */
  readonly wanted: number;
  /** Slots of all owners together. */
  readonly total: number;
  /** How many owners hold slots or want some. */
  readonly holders: number;
  /** How many hold slots, and how many of those come before this one. */
  readonly owners: number;
  readonly place: number;
  readonly othersWant: number;
}

/** What an owner has of a queue once it has asked. */
export type Acquired = Pick<Share, "slots" | "concurrency" | "holders">;

/**
 * Asks for `want` more slots of a queue. What is free is given; where others want some too, no more than up to an even share. What could
 * not be given stands as wanted, so that those who hold more give some up. Null: the owner is dead, or there is no such queue.
 */
export async function acquireSlots(
  database: Database,
  queue: string,
  { owner, want }: { owner: string; want: number },
): Promise<Acquired | null> {
  return database.transaction(async (trx) => {
    await limitLockWaits(trx, lockTimeoutMs);
    // Against a takeover, which locks this row: a share is either seen by it, or not given.
    if (!(await isAlive(trx, owner))) return null;
    const [limit] = (
      await sql<{ concurrency: number }>`select concurrency from lapse.queues where name = ${queue} for update`.execute(
        trx,
      )
    ).rows;
    if (limit === undefined) return null;
    const [held] = (
      await sql<{ total: number; mine: number; rivals: number; others: number }>`
        select coalesce(sum(slots), 0)::int as total, coalesce(sum(slots) filter (where owner = ${owner}), 0)::int as mine,
          count(*) filter (where owner <> ${owner} and wanted > 0)::int as rivals,
          count(*) filter (where owner <> ${owner} and (slots > 0 or wanted > 0))::int as others
        from lapse.shares where queue = ${queue}`.execute(trx)
    ).rows;
    const { total, mine, rivals, others } = held ?? { total: 0, mine: 0, rivals: 0, others: 0 };
    const free = Math.max(0, limit.concurrency - total);
    const fair = rivals === 0 ? free : Math.max(1, Math.floor(limit.concurrency / (rivals + 1))) - mine;
    const granted = Math.max(0, Math.min(want, free, fair));
    await sql`
      insert into lapse.shares (queue, owner, slots, wanted) values (${queue}, ${owner}, ${granted}, ${want - granted})
      on conflict (queue, owner) do update set slots = lapse.shares.slots + excluded.slots, wanted = excluded.wanted`.execute(
      trx,
    );
    return { slots: mine + granted, concurrency: limit.concurrency, holders: others + 1 };
  });
}

/** Gives up some of one's own slots, never more than are held, and wants no more. */
export async function releaseSlots(
  connection: Connection,
  queue: string,
  { owner, count }: { owner: string; count: number },
): Promise<void> {
  await sql`
    update lapse.shares set slots = slots - ${count}, wanted = 0
    where queue = ${queue} and owner = ${owner} and slots >= ${count}`.execute(connection);
}

/** The owner's shares, as they stand. */
export async function readShares(connection: Connection, owner: string): Promise<Share[]> {
  const shares = await sql<Share>`
    select s.queue, q.concurrency, coalesce(sum(s.slots) filter (where s.owner = ${owner}), 0)::int as slots,
      coalesce(sum(s.wanted) filter (where s.owner = ${owner}), 0)::int as wanted, sum(s.slots)::int as total,
      count(*) filter (where s.slots > 0 or s.wanted > 0)::int as holders,
      count(*) filter (where s.slots > 0)::int as owners, count(*) filter (where s.slots > 0 and s.owner < ${owner})::int as place,
      coalesce(sum(s.wanted) filter (where s.owner <> ${owner}), 0)::int as "othersWant"
    from lapse.shares s join lapse.queues q on q.name = s.queue
    where s.queue in (select queue from lapse.shares where owner = ${owner} and (slots > 0 or wanted > 0))
    group by s.queue, q.concurrency`.execute(connection);
  return shares.rows;
}
