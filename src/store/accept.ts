// Owns the statements that store new tasks. The order of steps is intake's.

import { sql } from "kysely";
import { v7 as uuidv7 } from "uuid";
import { failpoint } from "../runtime/failpoint.ts";
import type { NewTask } from "../task/new-task.ts";
import type { Task, TaskBody } from "../task/task.ts";
import {
  type BoundStatement,
  bind,
  type Connection,
  type Database,
  execute,
  type Rows,
  type Statement,
} from "./database.ts";
import { instant, type TaskRow } from "./task-rows.ts";

/** A new task with its id and times, ready to be stored. */
export interface Arrival {
  readonly id: string;
  readonly task: NewTask;
  readonly createdAt: number;
  readonly dueAt: number;
}

/**
 * The columns of an arrival, each sent as one array. `shared` ones are JSON that nearly all tasks of a flush have in common, and that takes
 * Postgres 5 µs to read: each text is sent once, in an array of its own, and a row has its place there (a third of a flush of 500).
 */
const columns = [
  ["id", "uuid"],
  ["queue", "text"],
  ["key", "text"],
  ["state", "text"],
  ["due_at", "timestamptz"],
  ["created_at", "timestamptz"],
  ["url", "text"],
  ["method", "text"],
  ["headers", "shared"],
  ["payload", "text"],
  ["body", "text"],
  ["content_type", "text"],
  ["timeout_ms", "int"],
  ["retry", "shared"],
  ["misfire_grace_ms", "bigint"],
  ["delivery", "text"],
  ["max_reschedules", "int"],
  ["labels", "shared"],
  ["traceparent", "text"],
  ["request_hash", "text"],
] as const;

const names = columns.map(([name]) => name).join(", ");
const arrays = columns.map(([, type], i) => `$${i + 1}::${type === "shared" ? "int" : type}[]`).join(", ");
const [notAfterPlace, tallyPlace, sharedPlace] = [1, 2, 3].map((n) => `$${columns.length + n}`);
const values = columns
  .map(([name, type]) => (type === "shared" ? `(${sharedPlace}::jsonb[])[${name}]` : name))
  .join(", ");

/**
 * Counts what it stores, and nothing else: it may be sent again after its answer was lost, and may then store what a key had kept out.
 * A network that stood still may deliver it long after its caller was told 503 and has asked again: it must store nothing then, since its
 * key may be free again, and the task would be a second one. `on conflict do nothing` covers a taken key and, where it is sent again, the
 * ids themselves. Its plan depends on nothing that the tables hold.
 */
const storeTasks: Statement = {
  name: "accept_tasks",
  keepsPlan: true,
  text: `with stored as (
      insert into lapse.tasks (${names}, next_attempt_at, updated_at, finished_at)
      select ${values}, due_at, created_at, case when state = 'cancelled' then created_at end
      from unnest(${arrays}) as arrival (${names})
      where ${notAfterPlace}::timestamptz is null or clock_timestamp() < ${notAfterPlace}::timestamptz
      on conflict do nothing
      returning id, queue
    ), counted as (
      insert into lapse.tallies (id, queue, kind, count)
      select ${tallyPlace}::uuid, queue, 'accepted', count(*) from stored group by queue
    )
    select id from stored`,
};

/**
 * Stores all that no standing key refuses, and counts them. Resolves to the ids stored; the rest need a closer look. `notAfter`: by
 * Postgres's clock, when its answer is no longer waited for.
 */
export async function insertArrivals(
  database: Database,
  arrivals: readonly Arrival[],
  notAfter: number,
): Promise<Set<string>> {
  return idsOf(
    await database.run(storing(arrivals, { state: "scheduled", notAfter: instant(notAfter) }), "accept.sent"),
  );
}

/** Which of the arrivals are stored, by an earlier send whose answer was lost. */
export async function findStored(connection: Connection, arrivals: readonly Arrival[]): Promise<Set<string>> {
  const ids = arrivals.map((arrival) => arrival.id);
  const found = await connection.selectFrom("lapse.tasks").select("id").where("id", "in", ids).execute();
  return new Set(found.map((row) => row.id));
}

/** The same within a transaction under way; `cancelled` for those that a tombstone stops on arrival. */
export async function insertArrivalsIn(
  trx: Connection,
  arrivals: readonly Arrival[],
  state: "scheduled" | "cancelled",
): Promise<Set<string>> {
  if (arrivals.length === 0) return new Set();
  const stored = idsOf(await execute(trx, storing(arrivals, { state, notAfter: null })));
  failpoint("accept.inserted");
  return stored;
}

function storing(
  arrivals: readonly Arrival[],
  { state, notAfter }: { state: "scheduled" | "cancelled"; notAfter: string | null },
): BoundStatement {
  const shared = new SharedTexts();
  return bind(storeTasks, [...columnValues(arrivals, state, shared), notAfter, uuidv7(), shared.texts]);
}

function idsOf(rows: Rows): Set<string> {
  return new Set(rows.map((row) => String(row["id"])));
}

/** What stands where an arrival was refused: the arrival itself (an earlier send was committed), or the live task or tombstone with its key. */
export async function findStanding(connection: Connection, arrival: Arrival): Promise<TaskRow | null> {
  const own = await connection.selectFrom("lapse.tasks").selectAll().where("id", "=", arrival.id).executeTakeFirst();
  if (own !== undefined || arrival.task.key === null) return own ?? null;
  const standing = await connection
    .selectFrom("lapse.tasks")
    .selectAll()
    .where("queue", "=", arrival.task.queue)
    .where("key", "=", arrival.task.key)
    .where("state", "in", ["scheduled", "paused", "running", "tombstone"])
    .executeTakeFirst();
  return standing ?? null;
}

/** The live tasks that have the arrivals' keys, each once; no tombstones. */
export async function findStandingByKeys(connection: Connection, arrivals: readonly Arrival[]): Promise<TaskRow[]> {
  const keyed = [...new Map(arrivals.map(({ task }) => [`${task.queue} ${task.key}`, task])).values()];
  const [queues, keys] = [keyed.map(({ queue }) => queue), keyed.map(({ key }) => key)];
  const found = await sql<TaskRow>`
    select t.* from unnest(${queues}::text[], ${keys}::text[]) as want (queue, key)
    join lapse.tasks t on t.queue = want.queue and t.key = want.key
    where t.state in ('scheduled', 'paused', 'running', 'tombstone') and t.state <> 'tombstone'`.execute(connection);
  return found.rows;
}

/** Removes a tombstone whose time is over, so that its key is free. Resolves to whether it stands still. */
export async function doesTombstoneHold(connection: Connection, id: string): Promise<boolean> {
  const spent = sql`delete from lapse.tasks where id = ${id} and state = 'tombstone' and due_at <= clock_timestamp()`;
  await spent.execute(connection);
  // Where nothing was removed it may have been removed by somebody else meanwhile.
  const standing = await sql`select from lapse.tasks where id = ${id} and state = 'tombstone'`.execute(connection);
  return standing.rows.length > 0;
}

/** Gives a waiting task a new definition and due time, with a fresh budget; its id, its pause and its attempts stay. Null where it waits no more. */
export async function replaceTask(
  connection: Connection,
  standingId: string,
  arrival: Arrival,
): Promise<TaskRow | null> {
  const { task } = arrival;
  const replaced = await connection
    .updateTable("lapse.tasks")
    .set({
      ...definitionColumns(task),
      request_hash: task.requestHash,
      due_at: instant(arrival.dueAt),
      next_attempt_at: instant(arrival.dueAt),
      updated_at: sql`clock_timestamp()`,
      attempts_before: sql`attempts`,
      attempts_at_due: sql`attempts`,
      reschedules: 0,
      version: sql`version + 1`,
    })
    .where("id", "=", standingId)
    .where("state", "in", ["scheduled", "paused"])
    .returningAll()
    .executeTakeFirst();
  return replaced ?? null;
}

/** The task as it stands once its arrival is stored. */
export function acceptedTask(arrival: Arrival, state: "scheduled" | "cancelled"): Task {
  const { task, createdAt, dueAt } = arrival;
  const { onConflict: _onConflict, due: _due, requestHash: _requestHash, ...definition } = task;
  return {
    ...definition,
    id: arrival.id,
    state,
    dueAt,
    nextAttemptAt: dueAt,
    createdAt,
    updatedAt: createdAt,
    finishedAt: state === "cancelled" ? createdAt : null,
    scheduleId: null,
    attempts: 0,
    cancelRequested: false,
    version: 1,
    lastAttempt: null,
  };
}

/** A definition's columns, as a write takes them. */
export function definitionColumns(task: NewTask) {
  return {
    url: task.url,
    method: task.method,
    headers: JSON.stringify(task.headers),
    ...bodyColumns(task.body),
    timeout_ms: task.timeoutMs,
    retry: JSON.stringify(task.retry),
    misfire_grace_ms: task.misfireGraceMs,
    delivery: task.delivery,
    max_reschedules: task.maxReschedules,
    labels: JSON.stringify(task.labels),
    traceparent: task.traceparent,
  };
}

export function bodyColumns(body: TaskBody): {
  payload: string | null;
  body: string | null;
  content_type: string | null;
} {
  return {
    payload: body.kind === "payload" ? body.json : null,
    body: body.kind === "raw" ? body.text : null,
    content_type: body.kind === "raw" ? body.contentType : null,
  };
}

/** One array a column, in the order of `columns`. */
function columnValues(arrivals: readonly Arrival[], state: string, shared: SharedTexts): unknown[][] {
  const rows = arrivals.map((arrival): Record<(typeof columns)[number][0], unknown> => {
    const { headers, retry, labels, ...definition } = definitionColumns(arrival.task);
    return {
      ...definition,
      id: arrival.id,
      queue: arrival.task.queue,
      key: arrival.task.key,
      state,
      due_at: instant(arrival.dueAt),
      created_at: instant(arrival.createdAt),
      request_hash: arrival.task.requestHash,
      headers: shared.placeOf(headers),
      retry: shared.placeOf(retry),
      labels: shared.placeOf(labels),
    };
  });
  return columns.map(([name]) => rows.map((row) => row[name]));
}

/** The different ones of many texts, and each one's place among them, counted from 1 as in Postgres. */
class SharedTexts {
  readonly #places = new Map<string, number>();

  get texts(): string[] {
    return [...this.#places.keys()];
  }

  placeOf(text: string): number {
    const place = this.#places.get(text) ?? this.#places.size + 1;
    this.#places.set(text, place);
    return place;
  }
}
