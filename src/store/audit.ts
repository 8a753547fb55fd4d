// Owns the audit: that every task accepted is live, has ended, or was pruned, by counts kept apart from the tasks.

import { sql } from "kysely";
import type { Connection, Database } from "./database.ts";

/** A task this much past its time, and not held back, is overdue. */
const overdueMs = 2_000;
const overdueListedMax = 1_000;

export interface QueueAudit {
  readonly queue: string;
  readonly accepted: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly missed: number;
  readonly live: number;
  readonly pruned: number;
}

export interface Audit {
  readonly balanced: boolean;
  readonly queues: readonly QueueAudit[];
  readonly overdueCount: number;
  readonly overdue: readonly { readonly id: string; readonly queue: string; readonly dueAt: number }[];
}

/** Reads one snapshot. `overdue` are tasks that wait, in queues that are not paused, more than 2 s past their time: the first 1,000. */
export async function readAudit(database: Database): Promise<Audit> {
  return database.query((connection) =>
    connection
      .transaction()
      .setIsolationLevel("repeatable read")
      .execute(async (trx) => {
        const queues = await countQueues(trx);
        const overdue = await sql<{ id: string; queue: string; dueAt: number; total: number }>`
          select late.id, q.name as queue, late.due_at as "dueAt", count(*) over () as total from ${everyQueue} q
          cross join lateral (
            select id, due_at, next_attempt_at from lapse.tasks
            where queue = q.name and state = 'scheduled' and next_attempt_at < statement_timestamp() - ${overdueMs} * interval '1 millisecond'
          ) late
          where q.name not in (select name from lapse.queues where paused)
          order by late.next_attempt_at, late.id limit ${overdueListedMax}`.execute(trx);
        return {
          balanced: queues.every(isBalanced),
          queues,
          overdueCount: overdue.rows[0]?.total ?? 0,
          overdue: overdue.rows.map(({ id, queue, dueAt }) => ({ id, queue, dueAt })),
        };
      }),
  );
}

function isBalanced(audit: QueueAudit): boolean {
  const { accepted, succeeded, failed, cancelled, missed, live, pruned } = audit;
  return accepted === succeeded + failed + cancelled + missed + live + pruned;
}

const everyQueue = sql`(select name from lapse.queues union select name from lapse.new_queues)`;

async function countQueues(trx: Connection): Promise<QueueAudit[]> {
  const counted = await sql<QueueAudit>`
    select q.name as queue,
      coalesce(tally.accepted, 0) as accepted, coalesce(tally.pruned, 0) as pruned,
      coalesce(task.succeeded, 0) as succeeded, coalesce(task.failed, 0) as failed, coalesce(task.cancelled, 0) as cancelled,
      coalesce(task.missed, 0) as missed, coalesce(task.live, 0) as live
    from ${everyQueue} q
    left join (
      select queue, (sum(count) filter (where kind = 'accepted'))::bigint as accepted, (sum(count) filter (where kind = 'pruned'))::bigint as pruned
      from lapse.tallies group by queue
    ) tally on tally.queue = q.name
    left join (
      select queue, count(*) filter (where state = 'succeeded') as succeeded, count(*) filter (where state = 'failed') as failed,
        count(*) filter (where state = 'cancelled') as cancelled, count(*) filter (where state = 'missed') as missed,
        count(*) filter (where state in ('scheduled', 'paused', 'running')) as live
      from lapse.tasks where state <> 'tombstone' group by queue
    ) task on task.queue = q.name
    order by q.name`.execute(trx);
  return counted.rows;
}
