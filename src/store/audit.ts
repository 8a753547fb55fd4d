// Owns the audit: that every task accepted is live, has ended, or was pruned, by counts kept apart from the tasks.

import { sql } from "kysely";
import { liveStates } from "../task/task.ts";
import type { Connection, Database } from "./database.ts";
import { leastId, type TaskRow } from "./task-rows.ts";

/** A task this much past its time, and not held back, is overdue. */
const overdueMs = 2_000;
const overdueListedMax = 1_000;
/**
 * Rows that one statement goes through: some 20 ms where they stand in memory, and within the statements' timeout where each is fetched from a
 * disk. In one statement the audit of 10,000,000 tasks took 11.9 s, of the 15 that it has.
 */
const auditedTogether = 100_000;

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

/** Reads one snapshot, however many tasks there are. `overdue` are tasks that wait, in queues that are not paused, more than 2 s past their time: the first 1,000. */
export async function readAudit(database: Database, together = auditedTogether): Promise<Audit> {
  return database.query((connection) =>
    connection
      .transaction()
      .setIsolationLevel("repeatable read")
      .setAccessMode("read only")
      .execute(async (trx) => {
        const queues = auditOf(await readTallies(trx), await countStates(trx, together));
        const overdue = await listOverdue(trx);
        const isAll = overdue.length < overdueListedMax;
        return {
          balanced: queues.every(isBalanced),
          queues,
          overdueCount: isAll ? overdue.length : await countOverdue(trx, together),
          overdue,
        };
      }),
  );
}

function isBalanced(audit: QueueAudit): boolean {
  const { accepted, succeeded, failed, cancelled, missed, live, pruned } = audit;
  return accepted === succeeded + failed + cancelled + missed + live + pruned;
}

type States = Readonly<Partial<Record<TaskRow["state"], number>>>;

function auditOf(tallies: readonly Tally[], counts: ReadonlyMap<string, States>): QueueAudit[] {
  return tallies.map(({ queue, accepted, pruned }) => {
    const states = counts.get(queue) ?? {};
    const { succeeded = 0, failed = 0, cancelled = 0, missed = 0 } = states;
    const live = liveStates.reduce((sum, state) => sum + (states[state] ?? 0), 0);
    return { queue, accepted, succeeded, failed, cancelled, missed, live, pruned };
  });
}

const everyQueue = sql`(select name from lapse.queues union select name from lapse.new_queues)`;

type Tally = Pick<QueueAudit, "queue" | "accepted" | "pruned">;

/** Of every queue, by name. */
async function readTallies(trx: Connection): Promise<Tally[]> {
  const tallied = await sql<Tally>`
    select q.name as queue, coalesce(tally.accepted, 0) as accepted, coalesce(tally.pruned, 0) as pruned
    from ${everyQueue} q
    left join (
      select queue, (sum(count) filter (where kind = 'accepted'))::bigint as accepted, (sum(count) filter (where kind = 'pruned'))::bigint as pruned
      from lapse.tallies group by queue
    ) tally on tally.queue = q.name
    order by q.name`.execute(trx);
  return tallied.rows;
}

/** A place in an index; the time as Postgres writes it, to the microsecond. */
interface Place {
  readonly at: string;
  readonly id: string;
}

interface ListPlace extends Place {
  readonly queue: string;
  readonly state: TaskRow["state"];
}

/** How many tasks of each queue are in each state. Goes through the index of listings, some at a time. */
async function countStates(trx: Connection, together: number): Promise<Map<string, States>> {
  const counts = new Map<string, Partial<Record<TaskRow["state"], number>>>();
  const add = ({ queue, state, count }: Omit<ListPlace, keyof Place> & { readonly count: number }): void => {
    const states = counts.get(queue) ?? {};
    counts.set(queue, { ...states, [state]: (states[state] ?? 0) + count });
  };
  for (let after: ListPlace | null = null; ; ) {
    const until: ListPlace | null = await readListPlace(trx, after, together);
    // Mostly few queues and states hold nearly all: so many were gone through, and all of them were of one.
    if (until !== null && after !== null && until.queue === after.queue && until.state === after.state)
      add({ ...until, count: together });
    else for (const counted of await countBetween(trx, after, until)) add(counted);
    if (until === null) return counts;
    after = until;
  }
}

const listColumns = sql`(queue, state, due_at, id)`;
const listValues = ({ queue, state, at, id }: ListPlace) => sql`(${queue}, ${state}, ${at}::timestamptz, ${id}::uuid)`;
/** Says of the queue that it is there, which the index of listings wants to hear (sql/0008_list_index.sql). */
const isAfter = (place: ListPlace | null) =>
  place === null ? sql`queue >= ''` : sql`queue >= ${place.queue} and ${listColumns} > ${listValues(place)}`;

/** The place so many tasks after another, or after the beginning; null where there are fewer. */
async function readListPlace(trx: Connection, after: ListPlace | null, count: number): Promise<ListPlace | null> {
  const found = await sql<ListPlace>`
    select queue, state, due_at::text as at, id from (
      select queue, state, due_at, id from lapse.tasks where ${isAfter(after)}
      order by queue, state, due_at, id offset ${count - 1} limit 1
    ) place`.execute(trx);
  return found.rows[0] ?? null;
}

async function countBetween(trx: Connection, after: ListPlace | null, until: ListPlace | null) {
  const isBefore = until === null ? sql`true` : sql`${listColumns} <= ${listValues(until)}`;
  const counted = await sql<Pick<ListPlace, "queue" | "state"> & { count: number }>`
    select queue, state, count(*) as count from lapse.tasks where ${isAfter(after)} and ${isBefore} group by queue, state`.execute(
    trx,
  );
  return counted.rows;
}

const unpausedQueues = sql`(
  select name from ${everyQueue} every where name not in (select name from lapse.queues where paused)
)`;
/** By the time at which the transaction began: the same for all of its statements. */
const isOverdue = sql`state = 'scheduled' and next_attempt_at < transaction_timestamp() - ${overdueMs} * interval '1 millisecond'`;

async function listOverdue(trx: Connection): Promise<Audit["overdue"]> {
  const listed = await sql<Audit["overdue"][number]>`
    select first.id, t.queue, t.due_at as "dueAt" from (
      select late.id, late.next_attempt_at from ${unpausedQueues} q
      cross join lateral (
        select id, next_attempt_at from lapse.tasks where queue = q.name and ${isOverdue}
        order by next_attempt_at, id limit ${overdueListedMax}
      ) late
      order by late.next_attempt_at, late.id limit ${overdueListedMax}
    ) first
    cross join lateral (select queue, due_at from lapse.tasks where id = first.id offset 0) t
    order by first.next_attempt_at, first.id`.execute(trx);
  return listed.rows;
}

/** Queue by queue, those that have many some at a time. */
async function countOverdue(trx: Connection, together: number): Promise<number> {
  const few = await sql<{ queue: string; count: number }>`
    select q.name as queue, late.count from ${unpausedQueues} q
    cross join lateral (
      select count(*) as count from (
        select from lapse.tasks where queue = q.name and ${isOverdue} order by next_attempt_at, id limit ${overdueListedMax}
      ) first
    ) late`.execute(trx);
  let total = 0;
  for (const { queue, count } of few.rows)
    total += count < overdueListedMax ? count : await countOverdueOf(trx, queue, together);
  return total;
}

async function countOverdueOf(trx: Connection, queue: string, together: number): Promise<number> {
  let total = 0;
  for (let after: Place = { at: "-infinity", id: leastId }; ; ) {
    const late = sql`
      from lapse.tasks where queue = ${queue} and ${isOverdue} and (next_attempt_at, id) > (${after.at}::timestamptz, ${after.id}::uuid)`;
    const place = await sql<Place>`
      select next_attempt_at::text as at, id from (
        select next_attempt_at, id ${late} order by next_attempt_at, id offset ${together - 1} limit 1
      ) place`.execute(trx);
    const [until] = place.rows;
    if (until === undefined) {
      const rest = await sql<{ count: number }>`select count(*) as count ${late}`.execute(trx);
      return total + (rest.rows[0]?.count ?? 0);
    }
    total += together;
    after = until;
  }
}
