// Owns the facts about what is read otherwise where there are many tasks: pages are the same as where there are few, and counts too.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listTasks } from "../../src/store/listing.ts";
import { QueueStatsReader } from "../../src/store/queue-stats.ts";
import type { TaskCursor, TaskFilter, TaskOrder } from "../../src/store/task-filter.ts";
import { Explainer } from "./plans.ts";
import { openStore } from "./store.ts";

const pageMax = 500;
/** As in src/store/listing.ts and queue-stats.ts: up to so many are sorted, and up to so many of a state counted. */
const fewMax = 10_000;
const countedMax = 100_000;

const store = await openStore();
const { database } = store;
afterAll(() => store.close());

const created = "timestamptz '2026-01-01' + i * interval '1 second'";
const insertTasks = (columns: string, values: string, range: string): Promise<unknown> =>
  store.query(`
    insert into lapse.tasks (id, url, next_attempt_at, created_at, updated_at, ${columns})
    select (lpad(to_hex((extract(epoch from ${created}) * 1000)::bigint), 12, '0') || '7000' || '8000' || lpad(to_hex(i), 12, '0'))::uuid,
      'https://shop.example/hooks/cancel-order', due_at, ${created}, ${created}, ${values}
    from generate_series(${range}) i, lateral (select timestamptz '2027-01-01' + (i::bigint * 7919 % 5000) * interval '1 minute' as due_at) t`);

describe("a page", () => {
  /** Tasks of three queues, many of them due at the same instants; what is looked for stands together, far from either end. */
  beforeAll(async () => {
    const labels = `case when i between 5001 and ${5_000 + fewMax} then '{"few":"1","many":"1"}'
      when i = ${5_001 + fewMax} then '{"many":"1"}'
      when i % 50 = 0 then '{"common":"1"}' else '{}' end`;
    await insertTasks(
      "queue, key, state, due_at, labels, schedule_id",
      `(array['default', 'mail', 'reports'])[i % 3 + 1], case when i between 5001 and ${5_001 + fewMax} then 'many-' else 'other-' end || i,
        'scheduled', due_at, (${labels})::jsonb, case when i between 3001 and 15000 then '00000000-0000-7000-8000-000000000001'::uuid end`,
      "1, 20000",
    );
    await store.query("insert into lapse.queues (name) values ('mail'), ('reports')");
    await store.query("vacuum analyze lapse.tasks");
  });
  afterAll(() => store.query("truncate lapse.tasks"));

  const reach = ["default", "mail", "reports"];
  const conditions: readonly [string, TaskFilter, string][] = [
    ["a label of ten thousand", { labels: { few: "1" } }, `labels @> '{"few":"1"}'`],
    ["a label of one more", { labels: { many: "1" } }, `labels @> '{"many":"1"}'`],
    ["a label, in a queue", { labels: { many: "1" }, queue: "mail" }, `labels @> '{"many":"1"}' and queue = 'mail'`],
    ["a label of ten thousand within reach", { labels: { few: "1" }, reach }, `labels @> '{"few":"1"}'`],
    ["a label of one more within reach", { labels: { many: "1" }, reach }, `labels @> '{"many":"1"}'`],
    ["a label of one in fifty", { labels: { common: "1" } }, `labels @> '{"common":"1"}'`],
    ["keys that begin alike", { keyPrefix: "many-" }, "starts_with(key, 'many-')"],
    ["a few keys that begin alike", { keyPrefix: "many-77" }, "starts_with(key, 'many-77')"],
    ["a schedule", { scheduleId: "00000000-0000-7000-8000-000000000001" }, "schedule_id is not null"],
    ["a queue", { queue: "mail" }, "queue = 'mail'"],
    ["queues within reach", { reach: ["mail", "reports"] }, "queue in ('mail', 'reports')"],
    [
      "a span of due times",
      { dueAfter: Date.UTC(2027, 0, 2), dueBefore: Date.UTC(2027, 0, 3) },
      "due_at > '2027-01-02' and due_at < '2027-01-03'",
    ],
    ["a state that none has", { states: ["failed"] }, "false"],
  ];

  test.each(
    conditions.flatMap(([name, filter, where]) =>
      (["dueAt", "-createdAt"] as const).map((order) => [name, order, filter, where] as const),
    ),
  )("of %s by %s follows the one before until all were met", async (_name, order, filter, where) => {
    const rows = await store.query<{ id: string }>(
      `select id from lapse.tasks where ${where} order by ${order === "dueAt" ? "due_at, id" : "id desc"}`,
    );
    expect(await allPages(filter, order)).toEqual(rows.map(({ id }) => id));
  });

  test.each([
    ["half of all", "many", 0],
    ["a fiftieth", "common", 0],
    ["none", "nobody", 1],
  ])(
    "by due time of a label that %s have is read with no more counts of them than it needs",
    async (_name, label, counts) => {
      const explainer = await Explainer.open(store);
      try {
        const page = { order: "dueAt", limit: 50, after: null } as const;
        const sent = await explainer.record((recording) => listTasks(recording, { labels: { [label]: "1" } }, page));
        expect(sent.filter(({ text }) => text.includes(") counted"))).toHaveLength(counts);
      } finally {
        await explainer.close();
      }
    },
  );
});

async function allPages(filter: TaskFilter, order: TaskOrder): Promise<string[]> {
  const ids: string[] = [];
  let after: TaskCursor | null = null;
  do {
    const page = await listTasks(database, filter, { order, limit: pageMax, after });
    ids.push(...page.items.map(({ id }) => id));
    after = page.next;
  } while (after !== null);
  return ids;
}

describe("the counts of a queue", () => {
  const scheduled = async () => (await new QueueStatsReader(database).read("default")).counts;

  test("are counted up to a hundred thousand of a state, and told by the tallies beyond", async () => {
    await insertTasks("queue, state, due_at, finished_at", "'default', 'succeeded', due_at, due_at", "200001, 200007");
    await insertTasks("queue, state, due_at", "'default', 'scheduled', due_at", `1, ${countedMax}`);
    // More than there are, to tell who told.
    await store.query(`insert into lapse.tallies (id, queue, kind, count) values
      (gen_random_uuid(), 'default', 'accepted', 300_012), (gen_random_uuid(), 'default', 'pruned', 5), (gen_random_uuid(), 'mail', 'accepted', 1)`);
    expect(await scheduled()).toMatchObject({ scheduled: countedMax, succeeded: 7 });

    await insertTasks("queue, state, due_at", "'default', 'scheduled', due_at", "150001, 150001");
    expect(await scheduled()).toMatchObject({ scheduled: 300_000, succeeded: 7 });
  });

  test("are never less than what was counted, and hold for a second state that is as large", async () => {
    await store.query("delete from lapse.tallies");
    expect(await scheduled()).toMatchObject({ scheduled: countedMax + 1, succeeded: 7 });

    await insertTasks("queue, state, due_at, finished_at", "'default', 'succeeded', due_at, due_at", "300001, 400002");
    await store.query(
      "insert into lapse.tallies (id, queue, kind, count) select gen_random_uuid(), 'default', 'accepted', count(*) from lapse.tasks",
    );
    const counts = await store.query<{ state: string; count: number }>(
      "select state, count(*)::int as count from lapse.tasks group by state",
    );
    expect(await scheduled()).toMatchObject(Object.fromEntries(counts.map(({ state, count }) => [state, count])));
  });
});
