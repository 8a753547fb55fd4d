// Owns the facts about subscriptions: events posted as signed tasks of their own, and what a subscriber that is slow or gone does to others.

import pg from "pg";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { z } from "zod";
import { backlogMax } from "../../src/events/publisher.ts";
import { subscriptionsMax } from "../../src/events/subscriptions.ts";
import type { subscriptionAnswer } from "../../src/http/schemas/events.ts";
import type { TaskJson } from "../support/api.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type Flow, startFlow, unique, until } from "../support/flow.ts";
import { type TestService, startTestService } from "../support/service.ts";
import type { EventJson } from "./listen.ts";

type Subscription = z.output<typeof subscriptionAnswer>;

let database: TestDatabase;
let flow: Flow;
/** Another process that publishes, so that two compete for each subscription. */
let second: TestService;
let client: pg.Client;
beforeAll(async () => {
  database = await createDatabase();
  flow = await startFlow({ databaseUrl: database.url });
  second = await startTestService({ databaseUrl: database.url });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await second.stop();
  await flow.stop();
  await database.drop();
});

async function subscribe(fields: object): Promise<Subscription> {
  const answer = await flow.api.post("/v1/subscriptions", { types: ["task.created"], ...fields });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.as<Subscription>();
}

const eventOf = ({ body }: { body: Buffer }): EventJson => JSON.parse(body.toString()) as EventJson;
const deliveriesOf = async ({ deliveryQueue }: Subscription, query = ""): Promise<TaskJson[]> =>
  (await flow.api.get(`/v1/tasks?queue=${deliveryQueue}&limit=500${query}`)).as<{ items: TaskJson[] }>().items;

describe("a subscription", () => {
  test("is posted each event that it wants once, signed, as a task that can be looked at", async () => {
    const queue = unique("q");
    const hook = flow.hook();
    const made = await subscribe({ url: hook.url, types: ["task.created", "task.cancelled"], queue });
    const { id } = await flow.create({ queue, key: unique("order") });
    await flow.api.post(`/v1/tasks/${id}/pause`);
    await flow.api.delete(`/v1/tasks/${id}`);
    await flow.create();
    const requests = [await hook.next(), await hook.next()];
    const events = requests.map(eventOf);
    expect(new Set(events.map(({ type, taskId }) => `${type} ${taskId}`))).toEqual(
      new Set([`task.cancelled ${id}`, `task.created ${id}`]),
    );
    const { secrets } = (await flow.api.get("/v1/signing-secrets")).as<{ secrets: [string] }>();
    for (const [i, { body, headers }] of requests.entries()) {
      new Webhook(secrets[0]).verify(body.toString(), headers as Record<string, string>);
      expect(headers["lapse-key"]).toBe(events[i]?.id);
      expect(headers["lapse-queue"]).toBe(made.deliveryQueue);
    }
    const deliveries = await until(
      () => deliveriesOf(made, "&state=succeeded"),
      (tasks) => tasks.length === 2,
    );
    expect(new Set(deliveries.map(({ key }) => key))).toEqual(new Set(events.map((event) => event.id)));
    expect((await flow.api.get(`/v1/subscriptions/${made.id}`)).json).toEqual(made);
  });

  test("is told of all that happens under load exactly as the tasks stand, by whichever process publishes", async () => {
    const queue = unique("load");
    const hook = flow.hook();
    await subscribe({ url: hook.url, queue });
    const ids: string[] = [];
    for (const api of [flow.api, second.api, flow.api, second.api]) {
      const tasks = Array.from({ length: 50 }, () => ({ url: hook.url, delay: "1h", queue }));
      const { items } = (await api.post("/v1/tasks/batch", { tasks })).as<{ items: { task: TaskJson }[] }>();
      ids.push(...items.map(({ task }) => task.id));
    }
    await until(
      () => hook.requests.length,
      (count) => count >= ids.length,
      30_000,
    );
    expect(hook.requests).toHaveLength(ids.length);
    expect(new Set(hook.requests.map((request) => eventOf(request).taskId))).toEqual(new Set(ids));
  });

  test("ends with its deliveries, and is told of nothing more", async () => {
    const queue = unique("q");
    const hook = flow.hook({ status: 500 });
    const made = await subscribe({ url: hook.url, queue });
    await flow.create({ queue });
    await hook.next();
    expect((await flow.api.delete(`/v1/subscriptions/${made.id}`)).status).toBe(204);
    expect((await flow.api.delete(`/v1/subscriptions/${made.id}`)).status).toBe(404);
    expect((await flow.api.get(`/v1/subscriptions/${made.id}`)).status).toBe(404);
    await flow.create({ queue });
    const left = await until(
      () => deliveriesOf(made),
      (tasks) => tasks.every(({ state }) => state === "cancelled"),
    );
    expect(left).toHaveLength(1);
  });

  test("that is dead holds up nobody, and what it is owed is bounded", async () => {
    const queue = unique("q");
    const dead = await subscribe({ url: "http://127.0.0.1:1/", queue });
    const hook = flow.hook();
    await subscribe({ url: hook.url, types: ["task.cancelled"], queue });
    for (let made = 0; made < backlogMax * 3; made += 500) {
      const tasks = Array.from({ length: 500 }, () => ({ url: hook.url, delay: "1h", queue }));
      await flow.api.post("/v1/tasks/batch", { tasks });
    }
    const owed = async (): Promise<number> => {
      const { rows } = await client.query<{ count: number }>(
        "select count(*)::int as count from lapse.tasks where queue = $1",
        [dead.deliveryQueue],
      );
      return rows[0]?.count ?? 0;
    };
    const count = await until(owed, (found) => found >= backlogMax);
    const { id } = await flow.create({ queue });
    await flow.api.delete(`/v1/tasks/${id}`);
    expect(eventOf(await hook.next()).taskId).toBe(id);
    expect(await owed()).toBe(count);
    // One read of at most four statements goes beyond.
    expect(count).toBeLessThan(backlogMax + 4 * 500);
    await client.query("update lapse.events set created_at = now() - interval '24 hours 1 minute'");
    const { dropped } = await until(
      async () => (await flow.api.get(`/v1/subscriptions/${dead.id}`)).as<Subscription>(),
      (subscription) => subscription.dropped + count > backlogMax * 3,
    );
    expect(dropped + count).toBe(backlogMax * 3 + 1);
    await flow.api.delete(`/v1/subscriptions/${dead.id}`);
  }, 60_000);

  test.each([
    [{ url: "ftp://x" }, "/url"],
    [{ url: "http://a.example", types: [] }, "/types"],
    [{ url: "http://a.example", types: ["task.done"] }, "/types/0"],
    [{ url: "http://a.example", queue: "a b" }, "/queue"],
    [{ url: "http://a.example", name: "x" }, "/name"],
  ])("is refused as %j", async (fields, path) => {
    const { problem } = await flow.api.post("/v1/subscriptions", { types: ["task.created"], ...fields });
    expect(problem).toMatchObject({ status: 422, errors: [{ path }] });
  });

  test("is one of 100 at most", async () => {
    const { items } = (await flow.api.get("/v1/subscriptions")).as<{ items: Subscription[] }>();
    const url = "http://127.0.0.1:1/";
    const left = Array.from({ length: subscriptionsMax - items.length }, () =>
      subscribe({ url, types: ["schedule.ended"] }),
    );
    const made = await Promise.all(left);
    const { problem } = await flow.api.post("/v1/subscriptions", { url, types: ["schedule.ended"] });
    expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:too-many-subscriptions" });
    await flow.api.delete(`/v1/subscriptions/${made[0]?.id}`);
    expect((await subscribe({ url })).dropped).toBe(0);
  });
});

test("Lapse's own queues take no tasks of callers", async () => {
  const url = "http://a.example";
  const { problem } = await flow.api.post("/v1/tasks", { url, queue: "lapse:events:x" });
  expect(problem).toMatchObject({ status: 422, errors: [{ path: "/queue" }] });
  const schedule = { name: unique("s"), trigger: { type: "interval", every: "1h" }, url, queue: "lapse:x" };
  expect((await flow.api.post("/v1/schedules", schedule)).problem).toMatchObject({ errors: [{ path: "/queue" }] });
  expect((await flow.api.post("/v1/tasks", { url, queue: "lapse", delay: "1h" })).status).toBe(201);
  expect((await flow.api.post("/v1/tasks", { url, queue: "my:lapse:x", delay: "1h" })).status).toBe(201);
});
