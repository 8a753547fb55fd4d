// Owns the limit's statements and its loop, on tables like Lapse's, without their triggers.

import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { Batcher } from "./batcher.ts";
import { concurrency } from "./contender.ts";

export interface LimitRow {
  readonly id: string;
  readonly dueAt: number;
  readonly url: string;
  readonly payload: string;
}

const claimsMax = 200;
const idleMs = 5;

export const countSql = `select count(*) filter (where state in ('scheduled', 'running'))::int as live,
  count(*) filter (where state = 'succeeded')::int as succeeded from bench.tasks`;

const insert = `insert into bench.tasks (id, queue, state, due_at, next_attempt_at, created_at, updated_at, url, payload, retry, request_hash)
  select id, 'default', 'scheduled', due_at, due_at, now(), now(), url, payload, '{"maxAttempts":10}', 'hash'
  from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[]) as row (id, due_at, url, payload)`;
const cancel = `update bench.tasks set state = 'cancelled', finished_at = now(), updated_at = now(), version = version + 1
  where id = any($1::uuid[]) and state = 'scheduled'`;
const claim = `with due as (select id from bench.tasks where state = 'scheduled' and next_attempt_at <= clock_timestamp()
    order by next_attempt_at limit $1 for update skip locked)
  update bench.tasks t set state = 'running', attempts = attempts + 1, owner = '00000000-0000-4000-8000-000000000001',
    attempt_started_at = clock_timestamp(), lateness_ms = 0, updated_at = clock_timestamp(), version = version + 1
  from due where t.id = due.id
  returning t.id, extract(epoch from t.due_at) * 1000 as due_at, t.url, t.payload`;
const settle = `with attempt as (
    insert into bench.attempts (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, status)
    select id, 1, now(), now(), 1, 1, 'succeeded', 204 from unnest($1::uuid[]) as row (id) returning task_id)
  update bench.tasks t set state = 'succeeded', owner = null, attempt_started_at = null, lateness_ms = null,
    finished_at = clock_timestamp(), updated_at = clock_timestamp(), version = version + 1
  from attempt where t.id = attempt.task_id and t.state = 'running'`;

export async function createTables(pool: pg.Pool): Promise<void> {
  await pool.query(`create schema bench;
    create table bench.tasks (like lapse.tasks including all);
    create table bench.attempts (like lapse.attempts including all)`);
}

export async function insertRows(pool: pg.Pool, rows: readonly LimitRow[]): Promise<void> {
  const values = [
    rows.map(({ id }) => id),
    rows.map(({ dueAt }) => new Date(dueAt).toISOString()),
    rows.map(({ url }) => url),
    rows.map(({ payload }) => payload),
  ];
  await pool.query({ name: "insert", text: insert, values });
}

export async function cancelRows(pool: pg.Pool, ids: readonly string[]): Promise<void> {
  const { rowCount } = await pool.query({ name: "cancel", text: cancel, values: [ids] });
  if (rowCount !== ids.length) throw new Error(`${rowCount} of ${ids.length} rows were cancelled`);
}

interface ClaimedRow {
  readonly id: string;
  readonly due_at: string;
  readonly url: string;
  readonly payload: string;
}

/** Claims what is due while calls are in flight, keeps 100 of them in flight, and records outcomes together. */
export function startLoop(pool: pg.Pool, call: (row: LimitRow) => Promise<void>): { stop(): Promise<void> } {
  const stopping = new AbortController();
  let inFlight = 0;
  const claimed: LimitRow[] = [];
  const settles = new Batcher(async (ids: readonly string[]) => {
    await pool.query({ name: "settle", text: settle, values: [ids] });
  });
  const fire = (): void => {
    for (let row = claimed.shift(); row !== undefined; row = claimed.shift()) {
      inFlight += 1;
      void call(row).then(() => {
        inFlight -= 1;
        if (claimed.length > 0) fire();
        return settles.add(row.id);
      });
      if (inFlight >= concurrency) return;
    }
  };
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const { rows } = await pool.query<ClaimedRow>({ name: "claim", text: claim, values: [claimsMax] });
      claimed.push(...rows.map(({ due_at, ...row }) => ({ ...row, dueAt: Number(due_at) })));
      if (inFlight < concurrency) fire();
      while (claimed.length > concurrency) await sleep(1);
      if (rows.length === 0) await sleep(idleMs);
    }
  };
  const ended = run();
  return {
    async stop() {
      stopping.abort();
      await ended;
    },
  };
}
