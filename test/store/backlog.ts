// Owns the rows that plans are read over: many due, waiting and ended tasks, made in SQL.

import type { TestStore } from "./store.ts";

export interface BacklogSize {
  readonly due: number;
  readonly waiting: number;
  readonly ended: number;
}

/** In this queue tasks wait, and none is due. */
export const quietQueue = "quiet";
/** `default` has eight tasks of ten. */
const queue = `case when i % 10 = 0 then 'lane-' || (i / 10 % 4) else 'default' end`;
const waitingQueue = `case when i % 10 = 1 then '${quietQueue}' else ${queue} end`;
/** A UUIDv7 of the instant `at`, the same for the same i. */
const idOf = (at: string, salt: string): string =>
  `(lpad(to_hex((extract(epoch from ${at}) * 1000)::bigint), 12, '0') || '7' || substr(md5('${salt}' || i), 1, 3) || '8' || substr(md5('${salt}' || i), 4, 15))::uuid`;
const columns = `id, queue, key, state, due_at, next_attempt_at, created_at, updated_at, finished_at, url, payload, labels, attempts,
  owner, attempt_started_at, lateness_ms`;
const url = `'https://shop.example/hooks/cancel-order'`;
const labels = `case when i % 20 = 0 then jsonb_build_object('customer', 'c' || (i % 500)) else '{}' end`;
const payload = `'{"orderId":' || i || '}'`;

/** Fills the tables; no statistics are made of them. `owners` have a hundred tasks in flight each. */
export async function makeBacklog(store: TestStore, size: BacklogSize, owners: readonly string[]): Promise<void> {
  await store.query(
    `insert into lapse.queues (name) select 'lane-' || i from generate_series(0, 3) i union select '${quietQueue}'`,
  );
  await insertWaiting(store, "due", {
    count: size.due,
    queueOf: queue,
    dueAt: `now() - i % 600 * interval '1 second'`,
  });
  await insertWaiting(store, "wait", {
    count: size.waiting,
    queueOf: waitingQueue,
    dueAt: `now() + interval '1 hour' + i * interval '20 seconds'`,
  });
  for (const [n, owner] of owners.entries()) await insertRunning(store, owner, n);
  await store.query(`insert into lapse.tasks (${columns})
    select ${idOf("at - interval '30 minutes'", "end")}, ${queue}, 'order-' || i || ':ended',
      case when i % 10 = 0 then 'cancelled' when i % 50 = 1 then 'failed' else 'succeeded' end, at, at, at - interval '30 minutes', at, at,
      ${url}, ${payload}, ${labels}, case when i % 10 = 0 then 0 else 1 end, null, null, null
    from generate_series(1, ${size.ended}) i, lateral (select now() - i * interval '5 seconds' as at) t`);
  await store.query(`insert into lapse.attempts
      (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, status)
    select id, 1, finished_at, finished_at, 2, 10, 'succeeded', 200 from lapse.tasks where state in ('succeeded', 'failed')`);
}

async function insertWaiting(
  store: TestStore,
  salt: string,
  { count, queueOf, dueAt }: { count: number; queueOf: string; dueAt: string },
): Promise<void> {
  const created = `now() - interval '1 hour' - i * interval '10 ms'`;
  await store.query(`insert into lapse.tasks (${columns})
    select ${idOf(created, salt)}, ${queueOf}, 'order-' || i || ':${salt}', 'scheduled', at, at, ${created}, now(), null,
      ${url}, ${payload}, ${labels}, 0, null, null, null
    from generate_series(1, ${count}) i, lateral (select date_trunc('milliseconds', ${dueAt}) as at) t`);
}

/** A hundred tasks in flight, half of them with a tombstone to leave behind. */
async function insertRunning(store: TestStore, owner: string, n: number): Promise<void> {
  await store.query(
    `insert into lapse.tasks (${columns}, tombstone_until)
    select ${idOf("now() - interval '1 hour'", `run${n}`)}, 'default', 'order-' || i || ':run${n}', 'running', now(), now(),
      now() - interval '1 hour', now(), null, ${url}, ${payload}, ${labels}, 1, $1, now(), 3,
      case when i % 2 = 0 then now() + interval '1 hour' end
    from generate_series(1, 100) i`,
    [owner],
  );
}
