// Owns the facts about the audit of many tasks: it goes through them some at a time, sees one snapshot, and counts as one statement would.

import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { afterAll, beforeEach, expect, test } from "vitest";
import { insertArrivals } from "../../src/store/accept.ts";
import { readAudit } from "../../src/store/audit.ts";
import type { Database } from "../../src/store/database.ts";
import type { Tables } from "../../src/store/tables.ts";
import { Explainer, type Recorded } from "./plans.ts";
import { arrival, openStore } from "./store.ts";

/** As in src/store/audit.ts. */
const overdueListedMax = 1_000;

const store = await openStore();
const { database } = store;
afterAll(() => store.close());
beforeEach(() => store.query("truncate lapse.tasks, lapse.tallies"));

/** Tasks of three queues and of all states, many due at the same instants, and tallies that say how many. */
async function makeTasks(count: number): Promise<void> {
  await store.query(`
    insert into lapse.tasks (id, url, queue, state, due_at, next_attempt_at, finished_at, created_at, updated_at)
    select gen_random_uuid(), 'https://shop.example/', (array['default', 'mail', 'reports'])[i % 10 / 4 + 1], state, at, at,
      case when state not in ('scheduled', 'paused') then at end, now(), now()
    from generate_series(1, ${count}) i,
      lateral (select (array['scheduled', 'paused', 'succeeded', 'failed', 'cancelled', 'missed'])[i % 7 % 6 + 1] as state,
        now() + interval '1 hour' + i % 5 * interval '1 second' as at) t`);
  await store.query("insert into lapse.queues (name) values ('mail'), ('reports') on conflict do nothing");
  await store.query(`insert into lapse.tallies (id, queue, kind, count)
    select gen_random_uuid(), queue, 'accepted', count(*) from lapse.tasks group by queue`);
}

test("counts the same however many it goes through at once", async () => {
  await makeTasks(100);
  await store.insert({ state: "tombstone", key: "spent" });
  await store.insert({ state: "scheduled", queue: "late", dueInMs: -60_000 });
  const whole = await readAudit(database);
  const expected = await store.query(`
    select queue, count(*)::int as accepted, count(*) filter (where state = 'succeeded')::int as succeeded,
      count(*) filter (where state = 'failed')::int as failed, count(*) filter (where state = 'cancelled')::int as cancelled,
      count(*) filter (where state = 'missed')::int as missed, count(*) filter (where state in ('scheduled', 'paused', 'running'))::int as live,
      0 as pruned
    from lapse.tasks where queue in ('default', 'mail', 'reports') and state <> 'tombstone' group by queue order by queue`);
  expect(whole.queues.filter(({ queue }) => queue !== "late")).toEqual(expected);
  // Nobody accepted that one.
  expect([whole.balanced, whole.overdueCount]).toEqual([false, 1]);
  for (const together of [1, 2, 3, 10, 33, 100, 101, 102, 103])
    expect({ together, ...(await readAudit(database, together)) }).toEqual({ together, ...whole });
});

test("sees one snapshot while tasks come between its statements", async () => {
  await makeTasks(100);
  const coming = new AbortController();
  const others = (async () => {
    while (!coming.signal.aborted) {
      const before = { ...arrival(), dueAt: Date.now() + 60_000 };
      const behind = { ...arrival({ queue: "mail" }), dueAt: Date.now() + 7_200_000 };
      await insertArrivals(database, [before, behind], { notAfter: Date.now() + 3_600_000 });
    }
  })();
  try {
    for (let looks = 0; looks < 8; looks += 1) expect((await readAudit(database, 20)).balanced).toBe(true);
  } finally {
    coming.abort();
    await others;
  }
});

test("counts all that is overdue, some at a time, and lists the first thousand", async () => {
  const late = (queue: string, count: number, agoMs: number) =>
    store.query(`
      insert into lapse.tasks (id, url, queue, state, due_at, next_attempt_at, created_at, updated_at)
      select gen_random_uuid(), 'https://shop.example/', '${queue}', 'scheduled', at, at, now(), now()
      from generate_series(1, ${count}) i, lateral (select now() - interval '${agoMs} ms' - i % 7 * interval '1 ms' as at) t`);
  await store.query("insert into lapse.queues (name, paused) values ('few', false), ('halted', true)");
  await late("default", overdueListedMax + 234, 60_000);
  await late("few", 17, 120_000);
  await late("halted", 50, 60_000);
  for (const together of [100, 617, 2_000]) {
    const { overdueCount, overdue } = await readAudit(database, together);
    expect([overdueCount, overdue.length]).toEqual([overdueListedMax + 251, overdueListedMax]);
    expect(overdue.slice(0, 18).map(({ queue }) => queue)).toEqual([...Array(17).fill("few"), "default"]);
  }
});

test("no statement goes through more than the others leave it", async () => {
  const [count, together] = [20_000, 1_000];
  await makeTasks(count);
  await store.query("update lapse.tasks set next_attempt_at = now() - interval '1 hour' where state = 'scheduled'");
  await store.query("vacuum analyze lapse.tasks");
  const pool = new pg.Pool({ connectionString: store.url, max: 1 });
  // The drop of the database ends them, though they are being closed by then.
  pool.on("error", () => undefined).on("connect", (client) => client.on("error", () => undefined));
  const sent: Recorded[] = [];
  const kysely = new Kysely<Tables>({
    dialect: new PostgresDialect({ pool }),
    log: ({ query: { sql: text, parameters: values } }) => {
      if (text.trimStart().startsWith("select")) sent.push({ name: "", text, values });
    },
  });
  const explainer = await Explainer.open(store);
  try {
    await readAudit(
      { query: (work: (given: typeof kysely) => unknown) => work(kysely) } as unknown as Database,
      together,
    );
    expect(sent.length).toBeGreaterThan(count / together);
    const readings = await explainer.explain(sent, "custom");
    const rows = readings.map(({ taskRows }) => taskRows);
    // What lists the overdue reads so many of each of three queues, and the first of them again; who counts them, too.
    expect(rows.filter((read) => read > together).length).toBeLessThanOrEqual(2);
    expect(Math.max(...rows)).toBeLessThanOrEqual(4 * overdueListedMax);
  } finally {
    await explainer.close();
    await kysely.destroy();
  }
});
