// Owns the checks of due times through the real service: how they are given, that nothing fires before its own, and what a misfire is.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { execute } from "../support/database.ts";
import { type Flow, promptRetry, startFlow } from "../support/flow.ts";
import { overdueWhilePaused, taskIn } from "../support/states.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

const hourMs = 3_600_000;
const nextYear = new Date().getUTCFullYear() + 1;

/** When the European Union changes its clocks, as a date. */
function lastSunday(month: 3 | 10): string {
  const last = new Date(Date.UTC(nextYear, month, 0));
  last.setUTCDate(last.getUTCDate() - last.getUTCDay());
  return last.toISOString().slice(0, 10);
}

const spring = lastSunday(3);
const autumn = lastSunday(10);

describe("a due time", () => {
  test.each([
    ["with Z", { dueAt: `${nextYear}-01-15T12:00:00Z` }, `${nextYear}-01-15T12:00:00.000Z`],
    ["with an offset", { dueAt: `${nextYear}-01-15T12:00:00+08:00` }, `${nextYear}-01-15T04:00:00.000Z`],
    ["finer than a ms is rounded up", { dueAt: `${nextYear}-01-15T12:00:00.0001Z` }, `${nextYear}-01-15T12:00:00.001Z`],
    ["local, in UTC by default", { dueAt: `${nextYear}-01-15T12:00:00` }, `${nextYear}-01-15T12:00:00.000Z`],
    [
      "local, in a zone",
      { dueAt: `${nextYear}-01-15T09:00:00`, timezone: "Asia/Shanghai" },
      `${nextYear}-01-15T01:00:00.000Z`,
    ],
    [
      "local, of the summer half",
      { dueAt: `${nextYear}-07-15T09:00:00`, timezone: "Europe/Berlin" },
      `${nextYear}-07-15T07:00:00.000Z`,
    ],
    [
      "local, that occurs twice, is the first",
      { dueAt: `${autumn}T02:30:00`, timezone: "Europe/Berlin" },
      `${autumn}T00:30:00.000Z`,
    ],
  ])("%s", async (_name, fields, dueAt) => {
    expect(await flow.create(fields)).toMatchObject({ dueAt, nextAttemptAt: dueAt });
  });

  test("that its zone skips is refused", async () => {
    const fields = { url: "https://shop.example", dueAt: `${spring}T02:30:00`, timezone: "Europe/Berlin" };
    const { problem } = await flow.api.post("/v1/tasks", fields);
    expect(problem).toMatchObject({ status: 422, errors: [{ path: "/dueAt" }] });
  });

  test("up to 10 years ahead is taken", async () => {
    const dueAt = new Date(Date.now() + 3_650 * 24 * hourMs).toISOString();
    expect((await flow.create({ dueAt })).dueAt).toBe(dueAt);
  });

  test.each(["PT1H", "60m", "1h"])("after a delay of %s counts from receipt", async (delay) => {
    const before = Date.now();
    const task = await flow.create({ delay });
    expect(Date.parse(task.dueAt)).toBeGreaterThanOrEqual(before + hourMs);
    expect(Date.parse(task.dueAt)).toBeLessThanOrEqual(Date.now() + hourMs + 100);
    expect(Date.parse(task.dueAt) - Date.parse(task.createdAt)).toBeGreaterThanOrEqual(hourMs);
  });

  test.each([
    ["none", {}],
    ["a second ago", { dueAt: new Date(Date.now() - 1_000).toISOString() }],
    ["an hour ago", { dueAt: new Date(Date.now() - hourMs).toISOString() }],
    ["in the year 0", { dueAt: "0000-01-01T00:00:00Z" }],
    ["years ago, by a zone", { dueAt: "2001-01-01T00:00:00", timezone: "Asia/Tokyo" }],
  ])("of %s is now", async (_name, fields) => {
    const before = Date.now();
    const answer = await flow.api.post("/v1/tasks", { url: flow.hook().url, ...fields });
    expect(answer.status).toBe(201);
    const dueAt = Date.parse(answer.task.dueAt);
    expect(dueAt).toBeGreaterThanOrEqual(before - 100);
    expect(dueAt).toBeLessThanOrEqual(Date.now() + 100);
    expect((await flow.reaches(answer.task.id, "succeeded")).lastAttempt?.latenessMs).toBeLessThan(2_000);
  });
});

test("a due time in the past is no misfire: it is now", async () => {
  const dueAt = new Date(Date.now() - hourMs).toISOString();
  const { id } = await flow.create({ url: flow.hook().url, dueAt, misfireGrace: "1m" });
  expect((await flow.reaches(id, "succeeded", "missed")).state).toBe("succeeded");
});

describe("firing", () => {
  test("never begins before the due time, and hardly after it", async () => {
    const hook = flow.hook();
    const delays = Array.from({ length: 30 }, (_, i) => `${i * 25}ms`);
    const tasks = await Promise.all(delays.map((delay) => flow.create({ url: hook.url, delay })));
    for (const { id, dueAt } of tasks) {
      const { lastAttempt } = await flow.reaches(id, "succeeded");
      const latenessMs = Date.parse(lastAttempt?.startedAt ?? "") - Date.parse(dueAt);
      expect(latenessMs).toBeGreaterThanOrEqual(0);
      expect(latenessMs).toBeLessThan(2_000);
      expect(Math.abs((lastAttempt?.latenessMs ?? 0) - latenessMs)).toBeLessThanOrEqual(1);
    }
    expect(hook.requests).toHaveLength(tasks.length);
  });

  test("is once a task, also where many fall due at once", async () => {
    const hook = flow.hook();
    const tasks = Array.from({ length: 200 }, () => ({ url: hook.url, delay: "200ms" }));
    const { items } = (await flow.api.post("/v1/tasks/batch", { tasks })).as<{ items: { task: { id: string } }[] }>();
    for (const { task } of items) await flow.reaches(task.id, "succeeded");
    expect(new Set(hook.requests.map((request) => request.headers["webhook-id"])).size).toBe(200);
    expect(hook.requests).toHaveLength(200);
  });
});

describe("misfireGrace", () => {
  test("ends a task that is found later as missed, without an attempt", async () => {
    const task = await taskIn(flow, "missed");
    expect(task).toMatchObject({ state: "missed", attempts: 0, lastAttempt: null, finishedAt: expect.any(String) });
  });

  test("left out, a task fires however late", async () => {
    const hook = flow.hook();
    const { id } = await overdueWhilePaused(flow, { url: hook.url });
    await execute(
      flow.service.databaseUrl,
      `update lapse.tasks set due_at = due_at - interval '1 year' where id = '${id}'`,
    );
    await flow.api.post(`/v1/tasks/${id}/resume`);
    expect((await flow.reaches(id, "succeeded")).lastAttempt?.latenessMs).toBeGreaterThan(364 * 24 * hourMs);
  });

  test("that has not passed lets it fire", async () => {
    const { id } = await overdueWhilePaused(flow, { url: flow.hook().url, misfireGrace: "1h" });
    await flow.api.post(`/v1/tasks/${id}/resume`);
    expect((await flow.reaches(id, "succeeded", "missed")).state).toBe("succeeded");
  });

  test("is judged before the first attempt alone: a retry may be later", async () => {
    const { task, release } = await flow.running({ misfireGrace: "1h", retry: promptRetry });
    const late = "set misfire_grace_ms = 1, due_at = due_at - interval '1 hour'";
    await execute(flow.service.databaseUrl, `update lapse.tasks ${late} where id = '${task.id}'`);
    release({ status: 500 }, { status: 200 });
    expect((await flow.reaches(task.id, "succeeded", "missed")).state).toBe("succeeded");
  });

  test("is judged anew once run has set the due time", async () => {
    const { id } = await overdueWhilePaused(flow, { url: flow.hook().url, misfireGrace: "1m" });
    await execute(
      flow.service.databaseUrl,
      `update lapse.tasks set due_at = due_at - interval '1 hour' where id = '${id}'`,
    );
    await flow.api.post(`/v1/tasks/${id}/run`);
    expect((await flow.reaches(id, "succeeded", "missed")).state).toBe("succeeded");
  });
});
