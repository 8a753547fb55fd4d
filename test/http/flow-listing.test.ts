// Owns the checks of listings through the real service: every filter, both orders, and pages without repeats or gaps.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TaskJson } from "../support/api.ts";
import { type Flow, startFlow } from "../support/flow.ts";
import { taskIn } from "../support/states.ts";

let flow: Flow;
/** 120 tasks of the queue `many`, in the order in which they were made; four at each due time. */
let many: TaskJson[];

const count = 120;
const startMs = Date.parse("2031-01-01T00:00:00Z");
const minuteMs = 60_000;

interface Page {
  readonly items: TaskJson[];
  readonly nextCursor: string | null;
}

beforeAll(async () => {
  flow = await startFlow();
  const url = flow.hook().url;
  // Due times fall while ids rise, so that the two orders differ.
  const tasks = Array.from({ length: count }, (_, i) => ({
    url,
    queue: "many",
    key: `order-${i % 3}:${i}`,
    dueAt: new Date(startMs + Math.floor((count - 1 - i) / 4) * minuteMs).toISOString(),
    labels: { third: String(i % 3), half: String(i % 2) },
  }));
  const answer = await flow.api.post("/v1/tasks/batch", { tasks, atomic: true });
  many = answer.as<{ items: { task: TaskJson }[] }>().items.map(({ task }) => task);
});
afterAll(() => flow.stop());

async function list(query: string): Promise<Page> {
  return (await flow.api.get(`/v1/tasks?${query}`)).as<Page>();
}

/** Follows the cursors to the end. */
async function pages(query: string): Promise<Page[]> {
  const found = [await list(query)];
  for (let cursor = found[0]?.nextCursor; typeof cursor === "string"; cursor = found.at(-1)?.nextCursor)
    found.push(await list(`${query}&cursor=${encodeURIComponent(cursor)}`));
  return found;
}

const ids = (tasks: readonly TaskJson[]): string[] => tasks.map(({ id }) => id);
const byId = (tasks: readonly TaskJson[]): string[] => ids(tasks).toSorted();

function inOrder(tasks: readonly TaskJson[], order: "dueAt" | "-createdAt"): string[] {
  const sorted = tasks.toSorted((a, b) => {
    if (order === "-createdAt") return a.id < b.id ? 1 : -1;
    return a.dueAt === b.dueAt ? (a.id < b.id ? -1 : 1) : a.dueAt < b.dueAt ? -1 : 1;
  });
  return ids(sorted);
}

describe("pages", () => {
  test.each([
    ["dueAt", 50],
    ["-createdAt", 50],
    ["dueAt", 7],
    ["-createdAt", 7],
    ["dueAt", 120],
    ["dueAt", 119],
  ] as const)("in order %s of %i hold every task once, in order", async (order, limit) => {
    const found = await pages(`queue=many&order=${order}&limit=${limit}`);
    expect(found.map(({ items }) => items.length)).toEqual([
      ...Array.from({ length: Math.floor(count / limit) }, () => limit),
      ...(count % limit === 0 ? [] : [count % limit]),
    ]);
    expect(ids(found.flatMap(({ items }) => items))).toEqual(inOrder(many, order));
  });

  test.each(["state=scheduled", "label.third=1", "keyPrefix=order-1:"])("keep to the filter %s", async (filter) => {
    const found = await pages(`queue=many&limit=9&${filter}`);
    const expected = many.filter((_, i) => filter === "state=scheduled" || i % 3 === 1);
    expect(ids(found.flatMap(({ items }) => items))).toEqual(inOrder(expected, "dueAt"));
  });

  test("are of 50, by due time, where nothing is said", async () => {
    const { items } = await list("queue=many");
    expect(ids(items)).toEqual(inOrder(many, "dueAt").slice(0, 50));
  });

  test("link to the next one", async () => {
    const answer = await flow.api.get("/v1/tasks?queue=many&limit=100");
    const link = /^<(.+)>; rel="next"$/.exec(String(answer.headers["link"]))?.[1] ?? "";
    const next = await flow.api.get(link);
    expect(ids(next.as<Page>().items)).toEqual(inOrder(many, "dueAt").slice(100));
    expect(next.headers["link"]).toBeUndefined();
  });

  test("are not disturbed by tasks that come meanwhile", async () => {
    const query = "queue=growing&order=-createdAt&limit=2";
    const first: TaskJson[] = [];
    for (let made = 0; made < 4; made += 1) first.push(await flow.create({ queue: "growing" }));
    const page = await list(query);
    await flow.create({ queue: "growing" });
    const next = await list(`${query}&cursor=${page.nextCursor}`);
    expect(ids([...page.items, ...next.items])).toEqual(inOrder(first, "-createdAt"));
  });
});

describe("a filter", () => {
  test.each<[string, (task: TaskJson, i: number) => boolean]>([
    ["key=order-1:7", (task) => task.key === "order-1:7"],
    ["key=order-1:", () => false],
    ["keyPrefix=order-2:1", (task) => task.key?.startsWith("order-2:1") === true],
    ["keyPrefix=order_2", () => false],
    ["keyPrefix=%25", () => false],
    ["label.third=2", (_, i) => i % 3 === 2],
    ["label.third=2&label.half=1", (_, i) => i % 3 === 2 && i % 2 === 1],
    ["label.third=9", () => false],
    ["label.other=2", () => false],
    ["state=scheduled", () => true],
    ["state=paused,running", () => false],
    [
      `dueAfter=${new Date(startMs + 10 * minuteMs).toISOString()}`,
      (task) => Date.parse(task.dueAt) > startMs + 10 * minuteMs,
    ],
    [
      `dueBefore=${new Date(startMs + 10 * minuteMs).toISOString()}`,
      (task) => Date.parse(task.dueAt) < startMs + 10 * minuteMs,
    ],
    [
      "dueAfter=2031-01-01T08:05:30%2B08:00&dueBefore=2031-01-01T00:06:30Z",
      (task) => Date.parse(task.dueAt) === startMs + 6 * minuteMs,
    ],
    ["dueAfter=0000-01-01T00:00:00Z", () => true],
    ["dueBefore=9999-12-31T23:59:59-12:00", () => true],
    ["scheduleId=01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57", () => false],
    [
      "keyPrefix=order-0&label.half=0&state=scheduled",
      (task, i) => task.key?.startsWith("order-0") === true && i % 2 === 0,
    ],
  ])("%s", async (filter, fits) => {
    const { items } = await list(`queue=many&limit=500&${filter}`);
    expect(byId(items)).toEqual(byId(many.filter(fits)));
    const newestFirst = await list(`queue=many&limit=500&order=-createdAt&${filter}`);
    expect(ids(newestFirst.items)).toEqual(inOrder(many.filter(fits), "-createdAt"));
  });

  test("of a queue shows no other's tasks", async () => {
    const { id } = await flow.create({ queue: "alone" });
    expect(ids((await list("queue=alone")).items)).toEqual([id]);
    expect((await list("queue=nobody")).items).toEqual([]);
  });

  test("of states shows each and no other", async () => {
    const states = ["scheduled", "paused", "running", "succeeded", "failed", "cancelled", "missed"] as const;
    const made = new Map<string, string>();
    for (const state of states) made.set(state, (await taskIn(flow, state, { queue: "states" })).id);
    for (const state of states)
      expect(ids((await list(`queue=states&state=${state}`)).items)).toEqual([made.get(state)]);
    const { items } = await list("queue=states&state=failed&state=missed,failed");
    expect(byId(items)).toEqual(
      [made.get("failed") ?? "", made.get("missed") ?? ""].toSorted((a, b) => (a < b ? -1 : 1)),
    );
    expect((await list("queue=states")).items).toHaveLength(states.length);
  });

  test("of a key finds each task that ever had it", async () => {
    const first = await taskIn(flow, "succeeded", { queue: "again", key: "again" });
    const second = await flow.create({ queue: "again", key: "again" });
    expect(byId((await list("queue=again&key=again")).items)).toEqual(byId([first, second]));
  });
});

describe("a query that is refused", () => {
  test.each([
    ["cursor=x", "/cursor"],
    ["cursor=", "/cursor"],
    [`cursor=${Buffer.from('[1,"dueAt",1]').toString("base64url")}`, "/cursor"],
    [`cursor=${cursorAt(9e15)}`, "/cursor"],
    ["limit=0", "/limit"],
    ["limit=501", "/limit"],
    ["limit=-1", "/limit"],
    ["limit=all", "/limit"],
    ["order=createdAt", "/order"],
    ["state=done", "/state"],
    ["queue=a%20b", "/queue"],
    ["dueAfter=yesterday", "/dueAfter"],
    ["dueBefore=2031-01-01T00:00:00", "/dueBefore"],
    ["scheduleId=1", "/scheduleId"],
    ["label.a=%00", "/label.a"],
    ["labels=a", "/labels"],
    ["offset=1", "/offset"],
    ["queue=a&queue=b", "/queue"],
  ])("%s", async (query, path) => {
    const { problem } = await flow.api.get(`/v1/tasks?${query}`);
    expect(problem).toMatchObject({ status: 422, type: "urn:lapse:problem:validation-failed" });
    expect(problem.errors?.map((error) => error.path)).toContain(path);
  });

  test("a cursor of another order", async () => {
    const { nextCursor } = await list("queue=many&limit=1&order=dueAt");
    const { problem } = await flow.api.get(`/v1/tasks?queue=many&order=-createdAt&cursor=${nextCursor}`);
    expect(problem).toMatchObject({ status: 422, errors: [{ path: "/cursor" }] });
  });
});

test.each([-62_167_219_200_000, -62_135_596_800_000, 0, 1e-9, 253_402_300_799_999])(
  "a forged cursor at %d is no fault of the server",
  async (at) => {
    const { status } = await flow.api.get(`/v1/tasks?queue=many&cursor=${cursorAt(at)}`);
    expect([200, 422]).toContain(status);
  },
);

function cursorAt(at: number): string {
  return Buffer.from(JSON.stringify([1, "dueAt", at, "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57"])).toString("base64url");
}
