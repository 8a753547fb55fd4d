// Owns the set-up of a store test: a database of the file's own, rows in any state made past the code under test, and values to write.

import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import type { IntakeSignals } from "../../src/intake/signals.ts";
import { createLog } from "../../src/runtime/log.ts";
import type { Arrival } from "../../src/store/arrivals.ts";
import { claim } from "../../src/store/claims.ts";
import { Database } from "../../src/store/database.ts";
import { leaseMs } from "../../src/store/owners.ts";
import type { Settling } from "../../src/store/settle.ts";
import type { AttemptRow, TaskRow } from "../../src/store/task-rows.ts";
import type { ClaimedTask } from "../../src/task/claimed-task.ts";
import type { NewTask } from "../../src/task/new-task.ts";
import type { Next, Settlement } from "../../src/task/settlement.ts";
import { createDatabase } from "../support/database.ts";

const hourMs = 3_600_000;
const untilMsMax = 10_000;
const lookMs = 10;

/** What differs from a task that waits, due since a second. Columns as they are named in SQL. */
export type RowFields = Readonly<Record<string, unknown>> & {
  readonly state?: TaskRow["state"];
  /** From now; negative: in the past. Sets due_at and next_attempt_at. */
  readonly dueInMs?: number;
};

export interface TestStore {
  readonly url: string;
  readonly database: Database;
  /** Runs one statement, without the store's own settings. */
  query<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** A session of a stranger; ends with the store. */
  stranger(): Promise<pg.Client>;
  /** Inserts a row with all that its state demands; resolves to its id. */
  insert(fields?: RowFields): Promise<string>;
  /** The same, many at once. */
  insertMany(count: number, fields?: RowFields): Promise<string[]>;
  read(id: string): Promise<TaskRow>;
  attempts(id: string): Promise<AttemptRow[]>;
  /** A dispatcher whose lease holds for ten seconds, or has lapsed, or which was declared dead. */
  dispatcher(standing?: "alive" | "lapsed" | "dead"): Promise<string>;
  share(queue: string, owner: string, slots: number): Promise<void>;
  /** Inserts due tasks of a queue and claims them for the owner, in the order of their making. */
  claimed(owner: string, ...rows: readonly RowFields[]): Promise<ClaimedTask[]>;
  close(): Promise<void>;
}

/** Nobody needs to hear of what intake does here. */
export const noSignals: IntakeSignals = {
  made: () => undefined,
  due: () => undefined,
  gone: () => undefined,
  queueChanged: () => undefined,
};

export async function openStore(): Promise<TestStore> {
  const testDatabase = await createDatabase();
  const database = new Database(testDatabase.url, createLog("silent"));
  const pool = new pg.Pool({ connectionString: testDatabase.url, max: 4 });
  // Some tests end connections, and so does the drop of the database: also one that is being closed and has nobody to listen.
  pool.on("error", () => undefined).on("connect", (client) => client.on("error", () => undefined));
  const strangers: pg.Client[] = [];

  const query: TestStore["query"] = async <Row extends pg.QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
  ) => (await pool.query<Row>(text, [...values])).rows;
  const insertMany: TestStore["insertMany"] = async (count, fields = {}) => {
    const rows = Array.from({ length: count }, () => rowOf(fields));
    const names = Object.keys(rows[0] ?? {});
    const lists = rows.map((_, r) => `(${names.map((_name, i) => `$${r * names.length + i + 1}`).join(", ")})`);
    const values = rows.flatMap((row) => Object.values(row));
    await query(`insert into lapse.queues (name) values ($1) on conflict do nothing`, [rows[0]?.["queue"]]);
    await query(`insert into lapse.tasks (${names.join(", ")}) values ${lists.join(", ")}`, values);
    return rows.map((row) => String(row["id"]));
  };
  const insert: TestStore["insert"] = async (fields) => (await insertMany(1, fields))[0] ?? "";

  return {
    url: testDatabase.url,
    database,
    query,
    stranger: async () => {
      const client = new pg.Client({ connectionString: testDatabase.url });
      client.on("error", () => undefined); // The drop of the database ends it.
      await client.connect();
      strangers.push(client);
      return client;
    },
    insert,
    insertMany,
    read: (id) =>
      database.query((connection) =>
        connection.selectFrom("lapse.tasks").selectAll().where("id", "=", id).executeTakeFirstOrThrow(),
      ),
    attempts: (id) =>
      database.query((connection) =>
        connection.selectFrom("lapse.attempts").selectAll().where("task_id", "=", id).orderBy("number").execute(),
      ),
    dispatcher: async (standing = "alive") => {
      const id = uuidv7();
      const holdsForMs = standing === "alive" ? leaseMs : -leaseMs;
      await query(
        `insert into lapse.dispatchers (id, lease_until, dead_at)
         values ($1, clock_timestamp() + $2 * interval '1 millisecond', case when $3 then clock_timestamp() end)`,
        [id, holdsForMs, standing === "dead"],
      );
      return id;
    },
    share: async (queue, owner, slots) => {
      await query(`insert into lapse.queues (name) values ($1) on conflict do nothing`, [queue]);
      await query(`insert into lapse.shares (queue, owner, slots) values ($1, $2, $3)`, [queue, owner, slots]);
    },
    claimed: async (owner, ...rows) => {
      const ids: string[] = [];
      for (const row of rows) ids.push(await insert(row));
      const { claimed } = await claim(database, owner, ids);
      if (claimed.length !== ids.length) throw new Error(`${claimed.length} of ${ids.length} tasks were claimed`);
      return ids.flatMap((id) => claimed.filter((task) => task.id === id));
    },
    close: async () => {
      await database.close();
      await Promise.all([pool.end(), ...strangers.map((client) => client.end())]);
      await testDatabase.drop();
    },
  };
}

/** All columns that a row of its state must have. */
function rowOf({ state = "scheduled", dueInMs = -1_000, ...columns }: RowFields): Record<string, unknown> {
  const now = Date.now();
  const isRunning = state === "running";
  const isEnded = ["succeeded", "failed", "cancelled", "missed"].includes(state);
  const started = new Date(now - 500).toISOString();
  return {
    id: uuidv7(),
    queue: "default",
    state,
    due_at: new Date(now + dueInMs).toISOString(),
    next_attempt_at: new Date(now + dueInMs).toISOString(),
    created_at: new Date(now - hourMs).toISOString(),
    updated_at: new Date(now - hourMs).toISOString(),
    finished_at: isEnded ? new Date(now).toISOString() : null,
    url: state === "tombstone" ? null : "https://shop.example/hooks/cancel-order",
    retry: JSON.stringify(retryPolicy),
    attempts: isRunning ? 1 : 0,
    owner: isRunning ? uuidv7() : null,
    attempt_started_at: isRunning ? started : null,
    lateness_ms: isRunning ? 3 : null,
    ...columns,
  };
}

const retryPolicy = {
  maxAttempts: 10,
  backoff: "fixed",
  minDelayMs: 5_000,
  maxDelayMs: 60_000,
  factor: 3,
  jitter: 0,
} as const;

/** A task as intake is given it: due in an hour, unless the fields say otherwise. */
export function newTask(fields: Partial<NewTask> = {}): NewTask {
  return {
    queue: "default",
    key: null,
    onConflict: "reject",
    due: { kind: "delay", delayMs: hourMs },
    requestHash: "hash",
    url: "https://shop.example/hooks/cancel-order",
    method: "POST",
    headers: {},
    body: { kind: "none" },
    timeoutMs: 30_000,
    retry: retryPolicy,
    misfireGraceMs: null,
    delivery: "at-least-once",
    maxReschedules: null,
    labels: {},
    traceparent: null,
    ...fields,
  };
}

export function arrival(fields: Partial<NewTask> = {}): Arrival {
  const now = Date.now();
  return { id: uuidv7(), task: newTask(fields), createdAt: now, dueAt: now + hourMs };
}

/** An outcome to be written: a 200 that ends the task, unless said otherwise. */
export function settlingOf(
  task: ClaimedTask,
  owner: string,
  { next = { kind: "succeeded" }, ...fields }: { next?: Next } & Partial<Settlement> = {},
): Settling {
  const settlement: Settlement = {
    outcome: next.kind === "succeeded" ? "succeeded" : next.kind === "reschedule" ? "rescheduled" : "failed",
    status: next.kind === "succeeded" ? 200 : 500,
    error: null,
    responseSnippet: "an answer",
    next,
    confirmStands: next.kind === "succeeded",
    endsSchedule: false,
    ...fields,
  };
  return { task, owner, settlement, durationMs: 12.4 };
}

/** Reads until what was read fits; fails after 10 s with what was read last. */
export async function until<T>(read: () => Promise<T>, fits: (value: T) => boolean): Promise<T> {
  const deadlineMs = performance.now() + untilMsMax;
  while (true) {
    const value = await read();
    if (fits(value)) return value;
    if (performance.now() > deadlineMs)
      throw new Error(`Not so within ${untilMsMax} ms; the last that was read: ${JSON.stringify(value)}`);
    await sleep(lookMs);
  }
}

/** Numbers from 0 up to 1 that the seed decides (mulberry32), so that a failure can be had again. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
