// Owns the claim: how a dispatcher wins due tasks, and what stands where it won none.

import { type Selectable, sql } from "kysely";
import { failpoint } from "../runtime/failpoint.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import type { TaskState } from "../task/task.ts";
import { bind, type Connection, type Database, type Statement } from "./database.ts";
import { isDataFault } from "./errors.ts";
import { isAmong, unseen } from "./kept-plan.ts";
import type { TaskTable } from "./tables.ts";
import { toTerms } from "./task-rows.ts";
import { plantTombstones } from "./tombstones.ts";

/** The columns that firing needs; no more are sent. */
export const claimedColumns = `t.id, t.queue, t.key, t.state, t.attempts, t.attempts_before, t.due_at, t.lateness_ms,
    t.url, t.method, t.headers, t.payload, t.body, t.content_type, t.timeout_ms, t.retry, t.delivery, t.reschedules, t.max_reschedules,
    t.traceparent`;

/** Lateness of the attempt that begins now, in ms: from due_at for the first since it was set, else from next_attempt_at (finite, even if they are not). */
const latenessColumn = `greatest(0, floor(extract(epoch from clock_timestamp() -
    greatest('epoch', case when t.attempts = t.attempts_at_due then t.due_at else t.next_attempt_at end)) * 1000))::bigint`;

/** Found later than its misfire grace, which counts only before the first attempt since due_at was set. */
export const misfiredColumn = `attempts = attempts_at_due and misfire_grace_ms is not null
        and extract(epoch from clock_timestamp() - greatest('epoch', due_at)) * 1000 > misfire_grace_ms`;

/**
 * Which tasks a claim looks at: those of `ids` that are due now, by the clock of Postgres, for an owner that is not dead. A row that a
 * transaction of somebody else holds is skipped. The first attempt of an occurrence begins only where it was judged, in this transaction
 * (occurrence-claims.ts): `judged` is the parameter that says so.
 */
export const dueRows = (judged: `$${number}`, isOfQueue: string): string => `select due.*
      from unnest($1::uuid[]) as wanted (id)
      cross join lateral (
        select id, next_attempt_at, ${misfiredColumn} as misfired
        from lapse.tasks
        where id = wanted.id and ${unseen(`state = 'scheduled' and next_attempt_at <= clock_timestamp()
          and (occurrence_at is null or attempts > 0 or id = any(${judged}::uuid[])) and ${isOfQueue}`)}
        for update skip locked
      ) due
      where exists (select from lapse.dispatchers where id = $2::uuid and dead_at is null)`;

/** What a claim does to the rows of `starting` (id, misfired): a start, or the end of a task that was found too late. */
export const startRows = `update lapse.tasks t set
      state = case when misfired then 'missed' else 'running' end,
      attempts = attempts + case when misfired then 0 else 1 end,
      owner = case when misfired then null else $2::uuid end,
      attempt_started_at = case when misfired then null else clock_timestamp() end,
      lateness_ms = case when misfired then null else ${latenessColumn} end,
      finished_at = case when misfired then clock_timestamp() end,
      confirm_refused = false,
      updated_at = clock_timestamp(),
      version = version + 1
    from starting
    where ${isAmong("t.id", "starting")} and ${unseen("t.state = 'scheduled'")}
    returning ${claimedColumns}`;

/**
 * Wins those of the tasks that are due now and whose queue is not paused and has no rate limit. One found later than its misfire grace ends
 * `missed` instead of starting. A dead owner wins nothing.
 */
export const claimTasks: Statement = {
  name: "claim_tasks",
  keepsPlan: true,
  text: `with starting as (
      ${dueRows("$3", "queue not in (select name from lapse.queues where paused or rate_limit_count is not null)")}
    )
    ${startRows}`,
};

export type ClaimedRow = Pick<
  Selectable<TaskTable>,
  | "id"
  | "queue"
  | "key"
  | "state"
  | "attempts"
  | "attempts_before"
  | "due_at"
  | "lateness_ms"
  | "url"
  | "method"
  | "headers"
  | "payload"
  | "body"
  | "content_type"
  | "timeout_ms"
  | "retry"
  | "delivery"
  | "reschedules"
  | "max_reschedules"
  | "traceparent"
>;

export interface Claim {
  readonly claimed: readonly ClaimedTask[];
  /** Ended instead: found too late, or set aside. */
  readonly ended: readonly string[];
}

/**
 * Claims due tasks for the owner. Rows that another process won, that are not due or locked, or whose queue is paused or has a rate limit
 * are left out: callers must not assume all ids come back.
 */
export async function claim(database: Database, owner: string, ids: readonly string[]): Promise<Claim> {
  return claimApart(database, ids, async (part) => {
    const rows = await database.run(bind(claimTasks, [part, owner, []]), "claim.sent");
    return toClaim(database, rows as unknown as readonly ClaimedRow[]);
  });
}

/** A row of which Postgres can make no claim is found by halving and set aside, so that it cannot hold up its neighbours. */
export async function claimApart(
  database: Database,
  ids: readonly string[],
  claimTogether: (ids: readonly string[]) => Promise<Claim>,
): Promise<Claim> {
  try {
    return await claimTogether(ids);
  } catch (error) {
    const [id] = ids;
    if (!isDataFault(error) || id === undefined) throw error;
    if (ids.length === 1) return { claimed: [], ended: await setAside(database, id) };
    const middle = Math.ceil(ids.length / 2);
    const halves = [ids.slice(0, middle), ids.slice(middle)].map((half) => claimApart(database, half, claimTogether));
    const [first, second] = await Promise.all(halves);
    return {
      claimed: [...(first?.claimed ?? []), ...(second?.claimed ?? [])],
      ended: [...(first?.ended ?? []), ...(second?.ended ?? [])],
    };
  }
}

/** What the rows that a claim returned come to. */
export async function toClaim(database: Database, rows: readonly ClaimedRow[]): Promise<Claim> {
  failpoint("claim.committed");
  const missed = rows.filter((row) => row.state === "missed").map((row) => row.id);
  // A tombstone asked for while a receiver's confirm stood. Apart from the claim, so that it costs nothing where nothing was missed.
  if (missed.length > 0) await database.run(bind(plantTombstones, [missed]));
  return { claimed: rows.filter((row) => row.state === "running").map(toClaimedTask), ended: missed };
}

/** Counters are kept within their type, which may be what cannot be claimed. */
const next = (column: string): string => `least(${column}, 2147483646) + 1`;
const isDue = "id = $1::uuid and state = 'scheduled' and next_attempt_at <= clock_timestamp()";

const recordUnclaimable = {
  name: "record_unclaimable",
  text: `insert into lapse.attempts (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, error)
    select id, ${next("attempts")}, clock_timestamp(), clock_timestamp(), 0, 0, 'blocked', 'The task cannot be claimed: a value of its row is out of range'
    from lapse.tasks where ${isDue} for update
    on conflict do nothing`,
};

const endUnclaimable = {
  name: "end_unclaimable",
  text: `update lapse.tasks set
      state = 'failed',
      attempts = ${next("attempts")},
      finished_at = clock_timestamp(),
      updated_at = clock_timestamp(),
      version = ${next("version")}
    where ${isDue} returning id`,
};

/** Ends a task that cannot be claimed as `failed`, with an attempt that says so. */
async function setAside(database: Database, id: string): Promise<string[]> {
  const [, ended] = await database.runTogether([
    bind(recordUnclaimable, [id]),
    bind(endUnclaimable, [id]),
    bind(plantTombstones, [[id]]),
  ]);
  return (ended ?? []).map((row) => String(row["id"]));
}

export function toClaimedTask(row: ClaimedRow): ClaimedTask {
  return {
    id: row.id,
    queue: row.queue,
    key: row.key,
    attempt: row.attempts,
    attemptsBefore: row.attempts_before,
    dueAt: row.due_at,
    latenessMs: row.lateness_ms ?? 0,
    url: row.url ?? "",
    method: row.method,
    ...toTerms(row),
    delivery: row.delivery,
    reschedules: row.reschedules,
    maxReschedules: row.max_reschedules,
    traceparent: row.traceparent,
  };
}

/** What a task's row says where a claim or a settle did not win it. */
export interface Standing {
  readonly id: string;
  readonly state: TaskState | "tombstone";
  readonly attempts: number;
  readonly owner: string | null;
  readonly nextAttemptAt: number;
  /** Due by the clock of Postgres. */
  readonly isDue: boolean;
  readonly isQueuePaused: boolean;
  /** Its queue has a rate limit: claimed in another way. */
  readonly isQueueRated: boolean;
}

export async function readStanding(connection: Connection, ids: readonly string[]): Promise<Standing[]> {
  const found = await sql<Omit<Standing, "nextAttemptAt"> & { next_attempt_at: number }>`
    select id, state, attempts, owner, next_attempt_at,
      next_attempt_at <= clock_timestamp() as "isDue", queue in (select name from lapse.queues where paused) as "isQueuePaused",
      queue in (select name from lapse.queues where rate_limit_count is not null) as "isQueueRated"
    from lapse.tasks where id = any(${ids}::uuid[])`.execute(connection);
  return found.rows.map(({ next_attempt_at, ...row }) => ({ ...row, nextAttemptAt: next_attempt_at }));
}

/** Which tasks the owner has in flight, and at which attempt. */
export async function readOwned(connection: Connection, owner: string): Promise<{ id: string; attempt: number }[]> {
  const found = await sql<{ id: string; attempt: number }>`
    select id, attempts as attempt from lapse.tasks where owner = ${owner} and state = 'running'`.execute(connection);
  return found.rows;
}

/** Those of the ids that the owner has in flight, as claimed: they were won by a claim whose answer was lost. */
export async function readClaimed(
  connection: Connection,
  owner: string,
  ids: readonly string[],
): Promise<ClaimedTask[]> {
  const found = await sql<ClaimedRow>`
    select ${sql.raw(claimedColumns)} from lapse.tasks t
    where t.id = any(${ids}::uuid[]) and t.owner = ${owner} and t.state = 'running'`.execute(connection);
  return found.rows.map(toClaimedTask);
}
