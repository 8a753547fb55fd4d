// Owns the checks that a key which is confined to queues cannot see, count, change or infer tasks of any other: each route answers for
// another queue's task byte for byte as it does for one that there never was.

import { randomBytes } from "node:crypto";
import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TaskState, taskStates } from "../../src/task/task.ts";
import { type ApiAnswer, createApi, type TaskJson } from "../support/api.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { taskIn } from "../support/states.ts";
import { listen } from "../events/listen.ts";
import { callRoute, type KeyHolder, makeHolder, nameOf, type Naming, routes, said } from "./key-holders.ts";

const apiKey = `key-${randomBytes(16).toString("hex")}`;
const [ownQueue, secondQueue, otherQueue] = ["own", "own-too", "other"];
/** A wait for a lock takes 2 s; an answer that comes sooner waited for none. */
const unlockedMsMax = 1_500;

let flow: Flow;
let confined: KeyHolder;
/** Tasks of the other queue, one in each state, each with a key and a label. */
const others = new Map<TaskState, TaskJson>();
const label = { shop: "other" };

beforeAll(async () => {
  flow = await startFlow({ config: { apiKey } });
  confined = await makeHolder(flow.api, flow.service.url, {
    scopes: ["tasks:read", "tasks:write", "queues:write"],
    queues: [ownQueue, secondQueue],
  });
  for (const state of taskStates) {
    const task = await taskIn(flow, state, { queue: otherQueue, key: unique("other"), labels: label, timeout: "10m" });
    others.set(state, await flow.read(task.id));
  }
});
afterAll(async () => {
  await confined.api.close();
  await flow.stop();
});

function other(state: TaskState): TaskJson {
  const task = others.get(state);
  if (task === undefined) throw new Error(`no task is ${state}`);
  return task;
}

async function expectUntouched(): Promise<void> {
  for (const task of others.values()) expect(await flow.read(task.id)).toEqual(task);
}

/** How a route of tasks is held to its queues; a route that stands in none of these is a fault. */
type Held = "by id" | "by key" | "bulk" | "list" | "create" | "stream" | "schedule" | "queue";
const confinement: Readonly<Record<string, Held>> = {
  "POST /v1/tasks": "create",
  "POST /v1/tasks/batch": "create",
  "POST /v1/tasks/import": "create",
  "GET /v1/tasks": "list",
  "GET /v1/events": "stream",
  "POST /v1/tasks/cancel": "bulk",
  "POST /v1/tasks/pause": "bulk",
  "POST /v1/tasks/resume": "bulk",
  "POST /v1/tasks/retry": "bulk",
  // See flow-confinement-queues.test.ts.
  "GET /v1/queues": "queue",
  ...Object.fromEntries(
    routes.filter(({ path }) => path.startsWith("/v1/queues/{name}")).map((route) => [nameOf(route), "queue" as const]),
  ),
  "GET /v1/tasks/by-key/{key}": "by key",
  "DELETE /v1/tasks/by-key/{key}": "by key",
  // See flow-confinement-schedules.test.ts.
  ...Object.fromEntries(
    routes.filter(({ path }) => path.startsWith("/v1/schedules")).map((route) => [nameOf(route), "schedule" as const]),
  ),
  ...Object.fromEntries(
    routes.filter(({ path }) => path.startsWith("/v1/tasks/{id}")).map((route) => [nameOf(route), "by id" as const]),
  ),
};
const routesHeld = (how: string) =>
  routes.filter((route) => confinement[nameOf(route)] === how).map((route) => [nameOf(route), route] as const);

test("every route but those of admins, and those that tell nothing of tasks, is held to the key's queues here", () => {
  const told = routes.filter(({ access }) => !["admin", "metrics", "public"].includes(access));
  expect(told.map(nameOf).toSorted()).toEqual(Object.keys(confinement).toSorted());
});

describe.each(routesHeld("by id"))("%s", (_name, route) => {
  const answerOf = async (id: string, naming: Naming = {}): Promise<ApiAnswer> =>
    callRoute(confined.api, route, { ...naming, id });

  test.each(taskStates)("answers for a task of another queue that is %s as for none", async (state) => {
    const { id } = other(state);
    const none = uuidv7();
    const answer = await answerOf(id);
    expect(answer.problem).toMatchObject({ status: 404, type: "urn:lapse:problem:task-not-found" });
    expect(said(answer, id)).toEqual(said(await answerOf(none), none));
    expect(said(await answerOf(id.toUpperCase()), id)).toEqual(said(answer, id));
    await expectUntouched();
  });

  test("answers for a task of another queue that somebody has locked as for none", async () => {
    const client = new pg.Client({ connectionString: flow.service.databaseUrl });
    await client.connect();
    await client.query("begin");
    await client.query("select from lapse.tasks where queue = $1 for update", [otherQueue]);
    const startedAt = performance.now();
    expect((await answerOf(other("scheduled").id)).status).toBe(404);
    expect(performance.now() - startedAt).toBeLessThan(unlockedMsMax);
    await client.query("rollback");
    await client.end();
  });

  test("does what it does for a task of its own queue", async () => {
    const isConfirm = route.access === "confirm";
    const held = isConfirm ? await flow.running({ queue: ownQueue }) : null;
    const { id } =
      held?.task ?? (await taskIn(flow, route.path.endsWith("/retry") ? "failed" : "scheduled", { queue: ownQueue }));
    expect((await answerOf(id)).status).toBe(200);
    held?.release();
  });
});

describe.each(routesHeld("by key"))("%s", (_name, route) => {
  test.each(taskStates)("answers for a key of another queue, whose task is %s, as for none", async (state) => {
    const { key } = other(state);
    const none = unique("none");
    for (const query of [`?queue=${otherQueue}`, "?queue=nowhere", "", `?queue=${ownQueue}`]) {
      const answer = await callRoute(confined.api, route, { key: key ?? "", query });
      expect(answer.problem).toMatchObject({ status: 404, type: "urn:lapse:problem:task-not-found" });
      expect(said(answer, key ?? "")).toEqual(said(await callRoute(confined.api, route, { key: none, query }), none));
    }
    await expectUntouched();
  });

  test("finds the key in its own queue, where another queue has the same one", async () => {
    const key = other("scheduled").key ?? "";
    const own = await flow.create({ queue: secondQueue, key });
    const answer = await callRoute(confined.api, route, { key, query: `?queue=${secondQueue}` });
    expect(answer.task.id).toBe(own.id);
    await flow.api.delete(`/v1/tasks/${own.id}`);
    await expectUntouched();
  });
});

describe.each(routesHeld("bulk"))("%s", (_name, route) => {
  const answerOf = (body: object): Promise<ApiAnswer> => callRoute(confined.api, route, { body });

  test.each([{ dryRun: true }, { dryRun: false }])(
    "with %j touches and tells of no task of another queue, by whatever condition",
    async (options) => {
      const tasks = [...others.values()];
      const [ids, keys] = [tasks.map(({ id }) => id), tasks.map(({ key }) => key)];
      const [noIds, noKeys] = [ids.map(() => uuidv7()), keys.map(() => unique("none"))];
      const none = { labels: { shop: "none" } };
      for (const [body, same] of [
        [{ ids }, { ids: noIds }],
        [
          { ids, queue: otherQueue },
          { ids: noIds, queue: "nowhere" },
        ],
        [{ keys }, { keys: noKeys }],
        [
          { keys, queue: otherQueue },
          { keys: noKeys, queue: "nowhere" },
        ],
        [{ labels: label }, none],
        [
          { labels: label, queue: otherQueue },
          { ...none, queue: otherQueue },
        ],
        [
          { ids, labels: label },
          { ids, ...none },
        ],
      ]) {
        const answer = await answerOf({ ...body, ...options });
        expect(Object.values(answer.as<Record<string, unknown[]>>()).flat()).toEqual([]);
        expect(said(answer)).toEqual(said(await answerOf({ ...same, ...options })));
      }
      await expectUntouched();
    },
  );

  test("does what it does for its own task among others'", async () => {
    const shop = unique("shop");
    const from = { pause: "scheduled", resume: "paused", retry: "failed", cancel: "scheduled" } as const;
    const state = from[route.path.split("/").at(-1) as keyof typeof from];
    const mine = await taskIn(flow, state, { queue: ownQueue, labels: { shop } });
    const theirs = await taskIn(flow, state, { queue: otherQueue, labels: { shop } });
    const before = await flow.read(theirs.id);
    for (const body of [
      { ids: [theirs.id, mine.id], dryRun: true },
      { labels: { shop }, dryRun: true },
      { labels: { shop } },
    ]) {
      const told = Object.values((await answerOf(body)).as<Record<string, unknown[]>>());
      expect(told.flat()).toEqual([mine.id]);
    }
    expect(await flow.read(theirs.id)).toEqual(before);
  });
});

describe("GET /v1/tasks", () => {
  const list = async (query: string, api = confined.api): Promise<ApiAnswer> => api.get(`/v1/tasks?limit=500&${query}`);
  const conditions = [
    "",
    "state=scheduled,paused,running",
    "state=succeeded,failed,cancelled,missed",
    "label.shop=other",
    "keyPrefix=other-",
    "dueAfter=2020-01-01T00:00:00Z",
  ];

  test.each(["order=dueAt", "order=-createdAt"])("by %s tells of no task of another queue", async (order) => {
    await flow.create({ queue: ownQueue });
    await flow.create({ queue: secondQueue });
    for (const condition of [...conditions, `key=${other("scheduled").key}`]) {
      const items = (await list(`${order}&${condition}`)).as<{ items: TaskJson[] }>().items;
      expect(items.filter(({ queue }) => queue !== ownQueue && queue !== secondQueue)).toEqual([]);
      const named = await list(`${order}&${condition}&queue=${otherQueue}`);
      expect(named.json).toEqual({ items: [], nextCursor: null });
      expect(said(named)).toEqual(said(await list(`${order}&${condition}&queue=nowhere`)));
    }
    const all = (await list(order)).as<{ items: TaskJson[] }>().items;
    expect(new Set(all.map(({ queue }) => queue))).toEqual(new Set([ownQueue, secondQueue]));
  });

  test.each(["order=dueAt", "order=-createdAt"])(
    "by %s goes on from another's cursor within its queues",
    async (order) => {
      const { nextCursor } = (await flow.api.get(`/v1/tasks?limit=1&${order}&queue=${otherQueue}`)).as<{
        nextCursor: string;
      }>();
      const { items } = (await list(`${order}&cursor=${nextCursor}`)).as<{ items: TaskJson[] }>();
      expect(items.filter(({ queue }) => queue === otherQueue)).toEqual([]);
    },
  );
});

describe("GET /v1/events", () => {
  test.each(["", `?queue=${otherQueue}`, `?queue=${ownQueue}`])("with %j tells of no other queue", async (query) => {
    const stream = await listen(flow.service.url, { query, apiKey: confined.secret });
    const unconfined = await listen(flow.service.url, { apiKey });
    const theirs = await flow.create({ queue: otherQueue });
    await flow.api.delete(`/v1/tasks/${theirs.id}`);
    const own = await flow.create({ queue: ownQueue });
    await unconfined.saw(["task.created"], own.id);
    expect(unconfined.events.map(({ taskId }) => taskId)).toContain(theirs.id);
    if (query !== `?queue=${otherQueue}`) await stream.saw(["task.created"], own.id);
    // What was sent before is behind what comes now.
    await stream.close();
    const again = await listen(flow.service.url, { query, apiKey: confined.secret, lastEventId: stream.lastId });
    expect([...stream.events, ...again.events].filter(({ queue }) => queue !== ownQueue)).toEqual([]);
    await Promise.all([again.close(), unconfined.close()]);
  });
});

test("what tells of all queues is for admins, who are never confined", async () => {
  for (const route of routes.filter(({ access }) => access === "admin"))
    expect((await callRoute(confined.api, route)).status).toBe(403);
  expect((await flow.api.get("/v1/audit")).text).toContain(`"${otherQueue}"`);
});

test("a confirm token reaches its own task, whatever queues the key beside it is confined to", async () => {
  const { task, request, release } = await flow.running({ queue: otherQueue });
  const confirm = (headers: Readonly<Record<string, string>>): Promise<ApiAnswer> =>
    confined.api.post(`/v1/tasks/${task.id}/confirm`, { attempt: 1 }, headers);
  expect((await confirm({})).status).toBe(404);
  expect((await confirm({ "lapse-confirm-token": "another" })).status).toBe(404);
  expect((await confirm({ "lapse-confirm-token": String(request.headers["lapse-confirm-token"]) })).status).toBe(200);
  release();
});

test("a key that is not confined reaches every queue", async () => {
  const { api } = await makeHolder(flow.api, flow.service.url, { scopes: ["tasks:read"] });
  const both = await createApi(flow.service.url, apiKey);
  for (const { id } of others.values())
    expect((await api.get(`/v1/tasks/${id}`)).text).toBe((await both.get(`/v1/tasks/${id}`)).text);
  await Promise.all([api.close(), both.close()]);
});
