// Owns the facts about listings: that pages follow one another without a gap or a repeat, in either order.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listTasks } from "../../src/store/listing.ts";
import type { TaskFilter, TaskOrder } from "../../src/store/task-filter.ts";
import { type Task, taskStates } from "../../src/task/task.ts";
import { openStore, randomOf } from "./store.ts";

const hourMs = 3_600_000;
const store = await openStore();
const { database } = store;
let tasks: Task[] = [];

/** Tasks of three queues in all states, many of them due at the same instants; a tombstone among them. */
beforeAll(async () => {
  const random = randomOf(3);
  const dueAt = Math.floor(Date.now() / 1_000) * 1_000;
  for (let i = 0; i < 60; i += 1) {
    const due = new Date(dueAt + Math.floor(random() * 6) * 1_000).toISOString();
    await store.insert({
      queue: ["default", "mail", "reports"][i % 3],
      state: taskStates[Math.floor(random() * taskStates.length)] ?? "scheduled",
      key: `order-${i}:${i % 2 === 0 ? "payment" : "reminder"}`,
      due_at: due,
      labels: JSON.stringify(i % 4 === 0 ? { shop: "north", tier: "1" } : {}),
    });
  }
  await store.insert({ state: "tombstone", key: "gone" });
  tasks = [...(await listTasks(database, {}, { order: "dueAt", limit: 500, after: null })).items];
});
afterAll(() => store.close());

async function pages(filter: TaskFilter, order: TaskOrder, limit: number): Promise<string[][]> {
  const found: string[][] = [];
  for (let after = null, isLast = false; !isLast; ) {
    const page = await listTasks(database, filter, { order, limit, after });
    found.push(page.items.map((task) => task.id));
    isLast = page.next === null;
    after = page.next as never;
  }
  return found;
}

function byDueTime(one: Task, two: Task): number {
  return one.dueAt - two.dueAt || (one.id < two.id ? -1 : 1);
}

function byAge(one: Task, two: Task): number {
  return one.id < two.id ? 1 : -1;
}

describe.each([
  { order: "dueAt", compare: byDueTime },
  { order: "-createdAt", compare: byAge },
] as const)("pages by $order", ({ order, compare }) => {
  test.each<TaskFilter>([
    { reach: ["mail", "reports"] },
    { reach: ["mail"], states: ["scheduled", "paused", "failed"] },
    { reach: ["mail", "none"], keyPrefix: "order-1" },
    { reach: ["mail", "reports"], queue: "mail" },
    { reach: ["mail"], queue: "default" },
    { reach: ["mail"], labels: { shop: "north" } },
    { reach: ["mail"], key: "order-1:reminder" },
    { reach: ["mail"], key: "order-2:payment" },
    { reach: [] },
  ])("within %j hold the tasks of those queues alone, once and in order", async (filter) => {
    const { reach, ...rest } = filter;
    const fitting = await pages(rest, order, 500);
    const own = tasks.filter(({ id, queue }) => reach?.includes(queue) && fitting.flat().includes(id));
    expect((await pages(filter, order, 3)).flat()).toEqual(own.toSorted(compare).map(({ id }) => id));
  });

  test.each([1, 7, 59, 60, 61])("of %i tasks each hold every task once, in order", async (limit) => {
    const found = await pages({}, order, limit);
    expect(found.flat()).toEqual(tasks.toSorted(compare).map((task) => task.id));
    expect(found.slice(0, -1).every((page) => page.length === limit)).toBe(true);
    expect(found.at(-1)?.length).toBeGreaterThan(0);
  });

  test.each([
    ["a queue", { queue: "mail" }, (task: Task) => task.queue === "mail"],
    ["states", { states: ["failed", "paused"] }, (task: Task) => task.state === "failed" || task.state === "paused"],
    ["a label", { labels: { shop: "north" } }, (task: Task) => task.labels["shop"] === "north"],
    ["labels that none has", { labels: { shop: "north", tier: "2" } }, () => false],
    ["a key", { key: "order-6:payment" }, (task: Task) => task.key === "order-6:payment"],
    ["a key's beginning", { keyPrefix: "order-1" }, (task: Task) => task.key?.startsWith("order-1") ?? false],
    ["a key in another queue", { queue: "mail", key: "order-6:payment" }, () => false],
  ] as const)("hold what fits %s alone", async (_what, filter, fits) => {
    expect((await pages(filter, order, 4)).flat()).toEqual(
      tasks
        .filter(fits)
        .toSorted(compare)
        .map((task) => task.id),
    );
  });

  test("hold what is due after and before an instant, both left out", async () => {
    const instants = [...new Set(tasks.map((task) => task.dueAt))].toSorted((a, b) => a - b);
    const [dueAfter = 0, dueBefore = 0] = [instants[1], instants[4]];
    const within = tasks.filter((task) => task.dueAt > dueAfter && task.dueAt < dueBefore);
    expect((await pages({ dueAfter, dueBefore }, order, 3)).flat()).toEqual(
      within.toSorted(compare).map((task) => task.id),
    );
  });
});

test("no listing shows a tombstone", () => {
  expect(tasks).toHaveLength(60);
});

test("pages hold every task once while others come and go between them", async () => {
  const first = await listTasks(database, {}, { order: "dueAt", limit: 30, after: null });
  const early = await store.insert({ queue: "default", dueInMs: -hourMs });
  const late = await store.insert({ queue: "default", dueInMs: hourMs });
  const rest = await listTasks(database, {}, { order: "dueAt", limit: 500, after: first.next });
  const seen = [...first.items, ...rest.items].map((task) => task.id);
  expect(seen).toEqual([...tasks.map((task) => task.id), late]);
  expect(seen).not.toContain(early);
  await store.query("delete from lapse.tasks where id = any($1)", [[early, late]]);
});

test("each task of a page comes with its last attempt", async () => {
  const id = await store.insert({ queue: "attempted", state: "failed", attempts: 2 });
  for (const number of [1, 2])
    await store.query(
      `insert into lapse.attempts (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, status)
       values ($1, $2, now(), now(), 1, 1, 'failed', 500)`,
      [id, number],
    );
  const { items } = await listTasks(database, { queue: "attempted" }, { order: "dueAt", limit: 5, after: null });
  expect(items).toMatchObject([{ id, attempts: 2, lastAttempt: { number: 2, outcome: "failed", status: 500 } }]);
});
