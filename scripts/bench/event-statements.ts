// Owns the figure of what events cost Postgres: the statements of a task's life by themselves, the variants taking turns within milliseconds,
// so that it holds also on a machine that does other things.

import pg from "pg";
import { percentile } from "./statistics.ts";

/** As many as a flush has with 50 connections. */
const tasks = 25;
const rounds = 200;
const owner = "00000000-0000-4000-8000-000000000001";

const variants = {
  before: { role: "replica", until: "'-infinity'" },
  unheard: { role: "origin", until: "'-infinity'" },
  streamed: { role: "origin", until: "now() + interval '1 day'" },
} as const;
type Variant = keyof typeof variants;

const insertTasks = `
  insert into lapse.tasks (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at, url, payload, retry, request_hash)
  select gen_random_uuid(), 'default', gen_random_uuid()::text, 'scheduled', now(), now(), now(), now(),
    'http://127.0.0.1/hooks/cancel-order', '{"orderId":1042}', '{"maxAttempts":10}', 'hash'
  from generate_series(1, $1::int) returning id`;
const claimTasks = `
  with due as (select id from lapse.tasks where id = any($1::uuid[]) and state = 'scheduled' order by id for update skip locked)
  update lapse.tasks t set state = 'running', attempts = attempts + 1, owner = $2::uuid, attempt_started_at = clock_timestamp(),
    lateness_ms = 1, updated_at = clock_timestamp(), version = version + 1
  from due where t.id = due.id returning t.*`;
const insertAttempts = `
  insert into lapse.attempts (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, status)
  select id, 1, now(), now(), 1, 1, 'succeeded', 200 from unnest($1::uuid[]) as t (id)`;
const settleTasks = `
  update lapse.tasks t set state = 'succeeded', owner = null, attempt_started_at = null, lateness_ms = null,
    finished_at = clock_timestamp(), updated_at = clock_timestamp(), version = version + 1
  from lapse.attempts a where a.task_id = any($1::uuid[]) and a.number = 1 and t.id = a.task_id and t.state = 'running'`;

/** Median ms of storing, claiming and settling 25 tasks. */
export async function measureStatements(databaseUrl: string): Promise<Readonly<Record<string, unknown>>> {
  const options = "-c plan_cache_mode=force_custom_plan -c enable_seqscan=off -c jit=off -c synchronous_commit=off";
  const client = new pg.Client({ connectionString: databaseUrl, options });
  await client.connect();
  const times: Record<Variant, Record<"accept" | "claim" | "settle", number[]>> = {
    before: { accept: [], claim: [], settle: [] },
    unheard: { accept: [], claim: [], settle: [] },
    streamed: { accept: [], claim: [], settle: [] },
  };
  const names = ["before", "unheard", "streamed"] as const;
  for (let round = 0; round < rounds; round += 1) {
    for (const variant of round % 2 === 0 ? names : names.toReversed()) {
      const { role, until } = variants[variant];
      // As a replica a session fires no triggers.
      await client.query(`set session_replication_role = ${role}`);
      await client.query(`update lapse.event_recording set recorded_until = ${until}`);
      const timed = async (step: "accept" | "claim" | "settle", text: string, values: unknown[]) => {
        const startedMs = performance.now();
        const { rows } = await client.query<{ id: string }>({ name: step, text, values });
        times[variant][step].push(performance.now() - startedMs);
        return rows;
      };
      const ids = (await timed("accept", insertTasks, [tasks])).map((row) => row.id);
      await timed("claim", claimTasks, [ids, owner]);
      await client.query(insertAttempts, [ids]);
      await timed("settle", settleTasks, [ids]);
    }
  }
  await client.query("truncate lapse.events, lapse.tasks, lapse.attempts");
  await client.query("update lapse.event_recording set recorded_until = '-infinity'");
  await client.end();
  return Object.fromEntries(names.map((variant) => [variant, mediansOf(times[variant])]));
}

function mediansOf(steps: Readonly<Record<string, readonly number[]>>): Readonly<Record<string, number>> {
  const medians = Object.entries(steps).map(([step, times]) => [
    step,
    percentile(
      times.toSorted((a, b) => a - b),
      0.5,
    ),
  ]);
  return Object.fromEntries(medians) as Record<string, number>;
}
