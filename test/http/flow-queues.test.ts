// Owns the facts about queues over HTTP: settings that merge, defaults that tasks take over, pause, resume, purge and statistics.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import * as limits from "../../src/http/limits.ts";
import { builtInDefaults } from "../../src/task/queue.ts";
import type { TaskJson } from "../support/api.ts";
import { type Flow, startFlow, unique, until } from "../support/flow.ts";

let flow: Flow;
let queue = "";
const path = (action = ""): string => `/v1/queues/${queue}${action}`;
beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());
beforeEach(() => {
  queue = unique("queue");
});

interface QueueJson {
  readonly name: string;
  readonly concurrency: number;
  readonly paused: boolean;
  readonly rateLimit: unknown;
  readonly defaults: Record<string, unknown>;
}
interface StatsJson {
  readonly counts: Record<TaskJson["state"], number>;
  readonly oldestOverdueMs: number;
  readonly firedPerSecond: number;
  readonly latenessMs: { readonly p50: number | null; readonly p99: number | null };
}

const put = async (body: object): Promise<QueueJson> => (await flow.api.put(path(), body)).as<QueueJson>();
const stats = async (): Promise<StatsJson> => (await flow.api.get(path("/stats"))).as<StatsJson>();
const fresh = { concurrency: 100, rateLimit: null, paused: false };
const noDefaults = { retry: null, timeout: null, misfireGrace: null };

describe("a queue's settings", () => {
  test("are those of a new queue once a task used it; before that there is none", async () => {
    expect((await flow.api.get(path())).problem).toMatchObject({ status: 404 });
    await flow.create({ queue });
    expect((await flow.api.get(path())).json).toEqual({ name: queue, ...fresh, defaults: noDefaults });
  });

  test("merge: what a PUT leaves out stays, in the defaults too, and null takes away", async () => {
    expect(await put({ concurrency: 5, defaults: { timeout: "10s" } })).toMatchObject({
      concurrency: 5,
      rateLimit: null,
    });
    const both = await put({ rateLimit: { limit: 50, per: "1s" }, defaults: { misfireGrace: "1h" } });
    expect(both).toEqual({
      name: queue,
      concurrency: 5,
      rateLimit: { limit: 50, per: "PT1S" },
      paused: false,
      defaults: { retry: null, timeout: "PT10S", misfireGrace: "PT1H" },
    });
    expect(await put({ rateLimit: null, defaults: { timeout: null } })).toMatchObject({
      concurrency: 5,
      rateLimit: null,
      defaults: { timeout: null, misfireGrace: "PT1H" },
    });
    expect((await flow.api.get(path())).json).toMatchObject({ rateLimit: null });
    const listed = (await flow.api.get("/v1/queues")).as<{ items: QueueJson[] }>().items;
    expect(listed.find(({ name }) => name === queue)?.concurrency).toBe(5);
  });

  test("have all their faults told at once", async () => {
    const body = {
      concurrency: 0,
      rateLimit: { limit: 0, per: 5 },
      paused: "yes",
      defaults: { retry: { jitter: 2 }, url: "x" },
      y: 1,
    };
    const { problem } = await flow.api.put(path(), body);
    expect(problem.status).toBe(422);
    expect(problem.errors?.map((error) => error.path).toSorted()).toEqual([
      "/concurrency",
      "/defaults/retry/jitter",
      "/defaults/url",
      "/paused",
      "/rateLimit/limit",
      "/rateLimit/per",
      "/y",
    ]);
    expect((await flow.api.put("/v1/queues/a%20b", {})).problem.errors?.[0]?.path).toBe("/name");
  });

  test.each([
    ["concurrency", { concurrency: limits.concurrencyMax }, { concurrency: limits.concurrencyMax + 1 }],
    [
      "the limit of a rate",
      { rateLimit: { limit: limits.rateLimitMax, per: "1s" } },
      { rateLimit: { limit: limits.rateLimitMax + 1, per: "1s" } },
    ],
    ["the least window", { rateLimit: { limit: 1, per: "100ms" } }, { rateLimit: { limit: 1, per: "99ms" } }],
    ["the longest window", { rateLimit: { limit: 1, per: "31d" } }, { rateLimit: { limit: 1, per: "P31DT0.001S" } }],
  ])("hold %s at N and not one past it", async (_name, within, past) => {
    expect((await flow.api.put(path(), within)).status).toBe(200);
    expect((await flow.api.put(path(), past)).status).toBe(422);
  });
});

describe("a queue's defaults", () => {
  const given = { retry: { maxAttempts: 3 }, timeout: "7s", misfireGrace: "2h" };
  const taken = { timeout: "PT7S", misfireGrace: "PT2H" };
  const url = "http://127.0.0.1:9/hook";

  test("are taken over by tasks that leave the field out, in every way in", async () => {
    await put({ defaults: given });
    const single = await flow.create({ queue });
    expect(single).toMatchObject({ ...taken, retry: { maxAttempts: 3, backoff: "exponential" } });
    const body = { url, queue, delay: "1h", key: "k" };
    const kept = (await flow.api.post("/v1/tasks", body, { "idempotency-key": unique("once") })).task;
    expect(kept).toMatchObject(taken);
    const replaced = (await flow.api.post("/v1/tasks", { ...body, onConflict: "replace" })).task;
    expect(replaced).toMatchObject({ id: kept.id, ...taken });
    for (const atomic of [true, false]) {
      const { items } = (await flow.api.post("/v1/tasks/batch", { tasks: [{ url, queue, delay: "1h" }], atomic })).as<{
        items: { task: TaskJson }[];
      }>();
      expect(items[0]?.task).toMatchObject(taken);
    }
  });

  test("give way to what a task says, null too", async () => {
    await put({ defaults: given });
    const task = await flow.create({ queue, timeout: "9s", misfireGrace: null, retry: { maxAttempts: 4 } });
    expect(task).toMatchObject({ timeout: "PT9S", misfireGrace: null, retry: { maxAttempts: 4 } });
  });

  test("count in what is the very same request", async () => {
    await put({ defaults: given });
    const body = { url, queue, delay: "1h", key: "k" };
    const first = (await flow.api.post("/v1/tasks", body)).task;
    expect((await flow.api.post("/v1/tasks", { ...body, timeout: "7s" })).task.id).toBe(first.id);
    expect((await flow.api.post("/v1/tasks", { ...body, timeout: "8s" })).status).toBe(409);
  });

  test("may change without a change of what an Idempotency-Key is held to", async () => {
    const [body, once] = [{ url, queue, delay: "1h" }, { "idempotency-key": unique("once") }];
    const first = (await flow.api.post("/v1/tasks", body, once)).task;
    await put({ defaults: given });
    expect((await flow.api.post("/v1/tasks", body, once)).task.id).toBe(first.id);
  });

  test("of other queues are no concern of theirs", async () => {
    await put({ defaults: given });
    expect(await flow.create({ queue: unique("queue") })).toMatchObject({
      timeout: "PT30S",
      misfireGrace: null,
      retry: { maxAttempts: builtInDefaults.retry.maxAttempts },
    });
  });
});

describe("a paused queue", () => {
  test("accepts tasks and fires none; its resume fires them at once", async () => {
    const hook = flow.hook();
    await flow.create({ queue });
    expect((await flow.api.post(path("/pause"))).as<QueueJson>().paused).toBe(true);
    const before = await Promise.all([1, 2, 3].map(() => flow.create({ url: hook.url, queue, delay: "0s" })));
    const run = await flow.create({ url: hook.url, queue });
    expect((await flow.api.post(`/v1/tasks/${run.id}/run`)).status).toBe(200);
    // Long enough for each way in which a task might be found.
    await sleep(2_500);
    expect(hook.requests).toEqual([]);
    expect(await flow.read(run.id)).toMatchObject({ state: "scheduled", attempts: 0 });
    const resumedAt = Date.now();
    expect((await flow.api.post(path("/resume"))).as<QueueJson>().paused).toBe(false);
    for (const task of [...before, run]) await flow.reaches(task.id, "succeeded");
    expect(Math.max(...hook.requests.map(({ arrivedAt }) => arrivedAt)) - resumedAt).toBeLessThan(700);
  });

  test("that is full of work starts none 1 s after it was paused, and loses none", async () => {
    const hook = flow.hook({ delayMs: 20 });
    await put({ concurrency: 4 });
    const tasks = Array.from({ length: 300 }, () => ({ url: hook.url, queue }));
    await flow.api.post("/v1/tasks/batch", { tasks });
    await until(
      () => hook.requests.length,
      (count) => count >= 20,
    );
    await put({ paused: true });
    const pausedAt = Date.now();
    await sleep(1_500);
    const count = hook.requests.length;
    expect(Math.max(...hook.requests.map(({ arrivedAt }) => arrivedAt)) - pausedAt).toBeLessThan(1_000);
    expect(count).toBeLessThan(300);
    await put({ paused: false, concurrency: 100 });
    await until(
      () => hook.requests.length,
      (seen) => seen === 300,
    );
    expect(new Set(hook.requests.map(({ headers }) => headers["webhook-id"])).size).toBe(300);
  });
});

describe("a purge", () => {
  test("cancels what is scheduled or paused, of this queue alone, and says how many", async () => {
    const running = await flow.running({ queue });
    const scheduled = await flow.create({ queue });
    const paused = await flow.create({ queue });
    const other = await flow.create({ queue: unique("queue") });
    await flow.api.post(`/v1/tasks/${paused.id}/pause`);
    expect((await flow.api.post(path("/purge"))).json).toEqual({ cancelled: 2 });
    for (const { id } of [scheduled, paused]) expect((await flow.read(id)).state).toBe("cancelled");
    expect((await flow.read(other.id)).state).toBe("scheduled");
    expect(await flow.read(running.task.id)).toMatchObject({ state: "running", cancelRequested: false });
    running.release();
    expect((await flow.api.post(path("/purge"))).json).toEqual({ cancelled: 0 });
  });

  test("cancels more than one transaction takes", async () => {
    const tasks = Array.from({ length: 1_000 }, () => ({ url: flow.receiver.url, queue, delay: "1h" }));
    for (let i = 0; i < 2; i += 1) await flow.api.post("/v1/tasks/batch", { tasks });
    await flow.create({ queue });
    expect((await flow.api.post(path("/purge"))).json).toEqual({ cancelled: 2_001 });
    expect((await stats()).counts).toMatchObject({ scheduled: 0, cancelled: 2_001 });
  });
});

describe("a queue's statistics", () => {
  test("count its tasks by state, and what was fired over the last minute", async () => {
    const hook = flow.hook();
    const fired = await Promise.all([1, 2, 3].map(() => flow.create({ url: hook.url, queue, delay: "0s" })));
    for (const { id } of fired) await flow.reaches(id, "succeeded");
    await flow.create({ queue });
    expect((await stats()).counts).toEqual({
      scheduled: 1,
      paused: 0,
      running: 0,
      succeeded: 3,
      failed: 0,
      cancelled: 0,
      missed: 0,
    });
    const told = await until(stats, ({ firedPerSecond }) => firedPerSecond > 0);
    expect(told.firedPerSecond).toBeCloseTo(3 / 60, 5);
    expect(told.latenessMs.p99).toBeGreaterThanOrEqual(told.latenessMs.p50 ?? Number.NaN);
    expect(told.oldestOverdueMs).toBe(0);
  });

  test("say for how long the oldest has been due", async () => {
    await put({ paused: true });
    await flow.create({ queue, delay: "0s" });
    const told = await until(stats, ({ oldestOverdueMs }) => oldestOverdueMs >= 100);
    expect(told).toMatchObject({ firedPerSecond: 0, latenessMs: { p50: null, p99: null } });
  });

  test("are none of a queue that there is not", async () => {
    expect((await flow.api.get(path("/stats"))).problem.status).toBe(404);
    for (const action of ["/pause", "/resume", "/purge"])
      expect((await flow.api.post(path(action))).problem.type).toBe("urn:lapse:problem:queue-not-found");
  });
});

test.each(["%00", "a%00b", "a%20b"])("there is no queue of the name %s", async (name) => {
  const answers = [
    ...["", "/stats", "/forecast"].map((action) => flow.api.get(`/v1/queues/${name}${action}`)),
    ...["/pause", "/resume", "/purge"].map((action) => flow.api.post(`/v1/queues/${name}${action}`)),
  ];
  for (const { problem } of await Promise.all(answers)) expect(problem.type).toBe("urn:lapse:problem:queue-not-found");
});

test("a rate limit that is raised, or taken away, lets what it held back go at once", async () => {
  const hook = flow.hook();
  await put({ rateLimit: { limit: 1, per: "1h" } });
  await Promise.all(Array.from({ length: 10 }, () => flow.create({ url: hook.url, queue, delay: "0s" })));
  await hook.next();
  await sleep(300);
  expect(hook.requests).toHaveLength(1);
  await put({ rateLimit: { limit: 3, per: "1h" } });
  await until(
    () => hook.requests.length,
    (count) => count === 3,
  );
  await put({ rateLimit: null });
  const changedAt = Date.now();
  await until(
    () => hook.requests.length,
    (count) => count === 10,
  );
  expect(Date.now() - changedAt).toBeLessThan(1_000);
});
