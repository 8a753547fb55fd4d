// Owns the removal of what is past: ended tasks with their attempts, spent tombstones, folded tallies.

import { sql } from "kysely";
import type { Connection, Database } from "./database.ts";
import { instant } from "./task-rows.ts";

export interface Pruned {
  readonly count: number;
  /** When the last of them ended, in ms since the epoch; null where there is none. */
  readonly lastEndedAt: number | null;
}

/**
 * Removes the oldest tasks that ended more than `retentionMs` ago, at most `limit`, with their attempts, and counts them as pruned in the
 * same transaction. Those that ended before `from` are not looked for.
 */
export async function pruneEnded(
  database: Database,
  tallyId: string,
  { retentionMs, limit, from }: { retentionMs: number; limit: number; from: number | null },
): Promise<Pruned> {
  return database.transaction(async (trx) => {
    const old = await sql<{ id: string; finished_at: number }>`
      select id, finished_at from lapse.tasks
      where finished_at is not null and finished_at < statement_timestamp() - ${retentionMs} * interval '1 millisecond'
        and finished_at >= ${from === null ? "-infinity" : instant(from)}::timestamptz
      order by finished_at, id limit ${limit} for update skip locked`.execute(trx);
    const ids = old.rows.map((row) => row.id);
    if (ids.length === 0) return { count: 0, lastEndedAt: null };
    await sql`
      insert into lapse.tallies (id, queue, kind, count)
      select ${tallyId}::uuid, queue, 'pruned', count(*) from lapse.tasks where id = any(${ids}::uuid[]) group by queue`.execute(
      trx,
    );
    await sql`delete from lapse.attempts where task_id = any(${ids}::uuid[])`.execute(trx);
    await sql`delete from lapse.tasks where id = any(${ids}::uuid[]) and finished_at is not null`.execute(trx);
    return { count: ids.length, lastEndedAt: old.rows.at(-1)?.finished_at ?? null };
  });
}

/** Removes tombstones whose time is over, at most `limit`. */
export async function removeSpentTombstones(connection: Connection, limit: number): Promise<number> {
  const removed = await sql`
    delete from lapse.tasks where state = 'tombstone' and id in (
      select id from lapse.tasks where state = 'tombstone' and due_at <= statement_timestamp() order by due_at, id limit ${limit} for update skip locked
    )`.execute(connection);
  return Number(removed.numAffectedRows ?? 0);
}

const talliesFoldedMax = 10_000;

/** Adds up tallies, into one row a queue and kind; resolves to whether there are more to be added up than it takes at once. */
export async function foldTallies(database: Database, tallyId: string): Promise<boolean> {
  return database.transaction(async (trx) => {
    const folded = await sql<{ queue: string; kind: string; count: number; rows: number }>`
      with gone as (
        delete from lapse.tallies where (id, queue, kind) in (
          select id, queue, kind from lapse.tallies order by id, queue, kind limit ${talliesFoldedMax} for update skip locked
        )
        returning queue, kind, count
      )
      select queue, kind, sum(count)::bigint as count, count(*) as rows from gone group by queue, kind`.execute(trx);
    if (folded.rows.length === 0) return false;
    await trx
      .insertInto("lapse.tallies")
      .values(
        folded.rows.map((row) => ({
          id: tallyId,
          queue: row.queue,
          kind: row.kind as "accepted" | "pruned",
          count: row.count,
        })),
      )
      .execute();
    const taken = folded.rows.reduce((sum, { rows }) => sum + rows, 0);
    // With thousands of queues what was added up already may fill a round.
    return taken >= talliesFoldedMax && folded.rows.length < taken / 2;
  });
}
