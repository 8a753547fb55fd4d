// Owns the checks of keys through the real service: one live task a key, and what a second one means.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TaskState } from "../../src/task/task.ts";
import { type Flow, promptRetry, startFlow, unique, until } from "../support/flow.ts";
import { taskIn, waitingForRetry } from "../support/states.ts";

let flow: Flow;
let url: string;

beforeAll(async () => {
  flow = await startFlow();
  url = flow.hook().url;
});
afterAll(() => flow.stop());

const live: readonly TaskState[] = ["scheduled", "paused", "running"];
const ended: readonly TaskState[] = ["succeeded", "failed", "cancelled", "missed"];
const parallel = 20;

async function countOf(key: string): Promise<number> {
  return (await flow.api.get(`/v1/tasks?key=${key}`)).as<{ items: unknown[] }>().items.length;
}

describe("onConflict reject", () => {
  test.each(live)("refuses another request while a task is %s, and names it", async (state) => {
    const key = unique("key");
    const { id } = await taskIn(flow, state, { key });
    const { problem } = await flow.api.post("/v1/tasks", { url, key, payload: "other" });
    expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:key-conflict", id, state });
    expect(await countOf(key)).toBe(1);
  });

  test.each(ended)("lets another task come once the first is %s", async (state) => {
    const key = unique("key");
    const first = await taskIn(flow, state, { key });
    const second = await flow.create({ key });
    expect(second.id).not.toBe(first.id);
  });

  test("answers the very same request with the first task", async () => {
    const fields = { url, key: unique("key"), delay: "1h", payload: { a: 1 }, headers: { a: "b" }, labels: { c: "d" } };
    const first = await flow.api.post("/v1/tasks", fields);
    const again = await flow.api.post("/v1/tasks", fields);
    expect(again.status).toBe(200);
    expect(again.text).toBe(first.text);
  });

  test.each<[string, object, object]>([
    ["defaults spelt out", {}, { queue: "default", method: "POST", timeout: "30s", retry: {}, onConflict: "reject" }],
    ["headers in another order", { headers: { a: "1", b: "2" } }, { headers: { b: "2", a: "1" } }],
    ["labels in another order", { labels: { a: "1", b: "2" } }, { labels: { b: "2", a: "1" } }],
    ["the same instant in another zone", { dueAt: "2031-01-01T01:00:00+01:00" }, { dueAt: "2031-01-01T00:00:00Z" }],
  ])("takes %s for the very same", async (_name, one, other) => {
    const fields = { url, key: unique("key"), ...("dueAt" in one ? {} : { delay: "1h" }) };
    const { task } = await flow.api.post("/v1/tasks", { ...fields, ...one });
    const again = await flow.api.post("/v1/tasks", { ...fields, ...other });
    expect([again.status, again.task.id]).toEqual([200, task.id]);
  });

  test.each<[string, object]>([
    ["url", { url: "https://shop.example/other" }],
    ["delay", { delay: "2h" }],
    ["payload", { payload: { a: 1.0, b: 2 } }],
    ["method", { method: "PUT" }],
    ["headers", { headers: { a: "b" } }],
    ["timeout", { timeout: "1s" }],
    ["retry", { retry: { maxAttempts: 2 } }],
    ["misfireGrace", { misfireGrace: "1h" }],
    ["delivery", { delivery: "at-most-once" }],
    ["maxReschedules", { maxReschedules: 1 }],
    ["labels", { labels: { a: "b" } }],
    ["onConflict", { onConflict: "replace" }],
  ])("takes another %s for another request", async (field, other) => {
    const fields = { url, key: unique("key"), delay: "1h" };
    await flow.create(fields);
    const answer = await flow.api.post("/v1/tasks", { ...fields, ...other });
    expect(answer.status).toBe(field === "onConflict" ? 200 : 409);
  });

  test("answers the very same request also while the task runs", async () => {
    const key = unique("key");
    const { task, hook, release } = await flow.running({ key });
    const again = await flow.api.post("/v1/tasks", { url: hook.url, delay: "0s", key });
    expect([again.status, again.task.id, again.task.state]).toEqual([200, task.id, "running"]);
    release();
  });

  test("lets one of many different requests at once through", async () => {
    const key = unique("key");
    const answers = await Promise.all(
      Array.from({ length: parallel }, (_, payload) => flow.api.post("/v1/tasks", { url, key, delay: "1h", payload })),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      201,
      ...Array.from({ length: parallel - 1 }, () => 409),
    ]);
    expect(await countOf(key)).toBe(1);
  });

  test("answers many of the same request at once with one task", async () => {
    const key = unique("key");
    const answers = await Promise.all(
      Array.from({ length: parallel }, () => flow.api.post("/v1/tasks", { url, key, delay: "1h" })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(new Set(answers.map(({ task }) => task.id)).size).toBe(1);
  });

  test("knows a key within its queue alone", async () => {
    const key = unique("key");
    const one = await flow.create({ key, queue: "one" });
    const other = await flow.create({ key, queue: "other" });
    expect(one.id).not.toBe(other.id);
  });
});

describe("onConflict keep", () => {
  test.each(live)("answers with the task that stands %s, unchanged", async (state) => {
    const key = unique("key");
    const { id, payload } = await taskIn(flow, state, { key, payload: "first" });
    const answer = await flow.api.post("/v1/tasks", { url, key, onConflict: "keep", payload: "second" });
    expect(answer).toMatchObject({ status: 200, task: { id, payload, state } });
  });

  test("creates where none stands", async () => {
    expect((await flow.create({ key: unique("key"), onConflict: "keep" })).state).toBe("scheduled");
  });
});

describe("onConflict replace", () => {
  test("gives the task that stands the new definition and due time, and keeps its id", async () => {
    const key = unique("key");
    const first = await flow.create({ key, payload: "first", labels: { a: "b" }, timeout: "1s" });
    const fields = { url: flow.hook().url, key, delay: "2h", payload: "second", method: "PUT", onConflict: "replace" };
    const answer = await flow.api.post("/v1/tasks", fields);
    expect(answer).toMatchObject({ status: 200, headers: { etag: '"2"' } });
    const { url: newUrl, payload, method } = fields;
    expect(answer.task).toMatchObject({
      url: newUrl,
      payload,
      method,
      labels: {},
      timeout: "PT30S",
      state: "scheduled",
    });
    expect(answer.task).toMatchObject({ id: first.id, createdAt: first.createdAt, version: 2 });
    expect(Date.parse(answer.task.dueAt) - Date.parse(first.dueAt)).toBeGreaterThanOrEqual(3_600_000);
    expect(answer.task.nextAttemptAt).toBe(answer.task.dueAt);
    expect((await flow.read(first.id)).payload).toBe("second");
  });

  test("moves the due time also by the very same request: a debounce", async () => {
    const fields = { url, key: unique("key"), delay: "1h", onConflict: "replace" };
    const first = await flow.create(fields);
    const again = await until(
      () => flow.api.post("/v1/tasks", fields),
      ({ task }) => task.dueAt > first.dueAt,
    );
    expect([again.status, again.task.id]).toEqual([200, first.id]);
  });

  test("keeps a pause", async () => {
    const key = unique("key");
    const { id } = await taskIn(flow, "paused", { key });
    const hook = flow.hook();
    const { task } = await flow.api.post("/v1/tasks", { url: hook.url, key, onConflict: "replace" });
    expect(task).toMatchObject({ id, state: "paused" });
    await flow.reaches((await flow.create({ url, delay: "100ms" })).id, "succeeded");
    expect(hook.requests).toHaveLength(0);
  });

  test("is refused while the task runs", async () => {
    const key = unique("key");
    const { task, release } = await flow.running({ key });
    const { problem } = await flow.api.post("/v1/tasks", { url, key, onConflict: "replace" });
    expect(problem).toMatchObject({
      status: 409,
      type: "urn:lapse:problem:key-conflict",
      id: task.id,
      state: "running",
    });
    expect(problem["lastAttempt"]).toMatchObject({ number: 1, outcome: null });
    release();
  });

  test("fires the new definition at the new time, and the old one not at all", async () => {
    const [old, next] = [flow.hook(), flow.hook()];
    const key = unique("key");
    const { id } = await flow.create({ url: old.url, key, delay: "300ms" });
    await flow.api.post("/v1/tasks", { url: next.url, key, delay: "600ms", onConflict: "replace" });
    await flow.reaches(id, "succeeded");
    expect([old.requests.length, next.requests.length]).toEqual([0, 1]);
  });

  test("brings a due time forward", async () => {
    const key = unique("key");
    const { id } = await flow.create({ key, delay: "9d" });
    await flow.api.post("/v1/tasks", { url, key, onConflict: "replace" });
    expect((await flow.reaches(id, "succeeded")).attempts).toBe(1);
  });

  test("gives a fresh budget of attempts to one that waits for a retry", async () => {
    const key = unique("key");
    const { id } = await waitingForRetry(flow, { key });
    const failing = { url: flow.hook({ status: 500 }).url, retry: { ...promptRetry, maxAttempts: 2 } };
    await flow.api.post("/v1/tasks", { ...failing, key, onConflict: "replace" });
    expect(await flow.reaches(id, "failed")).toMatchObject({ attempts: 3 });
  });

  test("creates where none stands", async () => {
    expect((await flow.create({ key: unique("key"), onConflict: "replace" })).state).toBe("scheduled");
  });

  test("by many at once leaves one task with the definition of one of them", async () => {
    const key = unique("key");
    const answers = await Promise.all(
      Array.from({ length: parallel }, (_, payload) =>
        flow.api.post("/v1/tasks", { url, key, delay: "1h", payload, onConflict: "replace" }),
      ),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(await countOf(key)).toBe(1);
    expect((await flow.read(answers[0]?.task.id ?? "")).version).toBe(parallel);
  });
});

describe("GET by key", () => {
  test("answers the live task, not one that ended before", async () => {
    const key = unique("key");
    await taskIn(flow, "succeeded", { key });
    const { id } = await flow.create({ key });
    expect((await flow.api.get(`/v1/tasks/by-key/${key}`)).task.id).toBe(id);
  });

  test("answers the newest where none is live", async () => {
    const key = unique("key");
    await taskIn(flow, "succeeded", { key });
    const { id } = await taskIn(flow, "failed", { key });
    expect((await flow.api.get(`/v1/tasks/by-key/${key}`)).task.id).toBe(id);
  });

  test("looks into the queue that is named", async () => {
    const key = unique("key");
    const { id } = await flow.create({ key, queue: "mail" });
    expect((await flow.api.get(`/v1/tasks/by-key/${key}?queue=mail`)).task.id).toBe(id);
    expect((await flow.api.get(`/v1/tasks/by-key/${key}`)).problem.status).toBe(404);
  });

  test("reads any key from its percent-encoding", async () => {
    const key = `${unique("a/b%c d?e#f")}ö🔑`;
    const { id } = await flow.create({ key });
    expect((await flow.api.get(`/v1/tasks/by-key/${encodeURIComponent(key)}`)).task.id).toBe(id);
  });
});
