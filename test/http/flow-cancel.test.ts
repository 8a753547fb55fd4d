// Owns the checks of cancelling one task through the real service: the answer in each state, by id and by key, and that a 200 is final.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TaskState } from "../../src/task/task.ts";
import type { ApiAnswer, TaskJson } from "../support/api.ts";
import { type Flow, promptRetry, startFlow, unique } from "../support/flow.ts";
import { overdueWhilePaused, taskIn, waitingForRetry } from "../support/states.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

const ways: readonly [string, (task: TaskJson, query?: string) => Promise<ApiAnswer>][] = [
  ["by id", ({ id }, query = "") => flow.api.delete(`/v1/tasks/${id}${query}`)],
  ["by key", ({ key }, query = "") => flow.api.delete(`/v1/tasks/by-key/${key}${query}`)],
];

function keyed(state: TaskState): Promise<TaskJson> {
  return taskIn(flow, state, { key: unique("key") });
}

describe.each(ways)("a cancel %s", (_way, cancel) => {
  test.each(["scheduled", "paused"] as const)("of a task that is %s is 200, and ends it", async (state) => {
    const task = await keyed(state);
    const answer = await cancel(task);
    expect(answer.status).toBe(200);
    expect(answer.task).toMatchObject({ id: task.id, state: "cancelled", finishedAt: expect.any(String), attempts: 0 });
    expect(await flow.read(task.id)).toEqual(answer.task);
  });

  test("of one that waits for a retry is 200, with the attempt that was", async () => {
    const task = await waitingForRetry(flow, { key: unique("key") });
    const answer = await cancel(task);
    expect(answer.status).toBe(200);
    expect(answer.task).toMatchObject({ state: "cancelled", lastAttempt: { number: 1, outcome: "failed" } });
  });

  test("of one that is overdue while it is paused is 200", async () => {
    expect((await cancel(await overdueWhilePaused(flow, { key: unique("key") }))).status).toBe(200);
  });

  test("is 200 again", async () => {
    const task = await keyed("cancelled");
    const answer = await cancel(task);
    expect([answer.status, answer.task.id, answer.task.state]).toEqual([200, task.id, "cancelled"]);
    expect((await cancel(task)).text).toBe(answer.text);
  });

  test("of a task in flight is 202, each time", async () => {
    const { task, release } = await flow.running({ key: unique("key") });
    for (let times = 0; times < 2; times += 1) {
      const answer = await cancel(task);
      expect(answer.status).toBe(202);
      expect(answer.task).toMatchObject({ id: task.id, state: "running", cancelRequested: true, finishedAt: null });
      expect(answer.task.lastAttempt).toMatchObject({ number: 1, outcome: null, finishedAt: null });
    }
    release();
    await flow.reaches(task.id, "succeeded");
  });

  test.each([
    ["succeeded", { number: 1, outcome: "succeeded", status: 200 }],
    ["failed", { number: 1, outcome: "failed", status: 410 }],
    ["missed", null],
  ] as const)("of a task that has %s is 409, with its state and last attempt", async (state, lastAttempt) => {
    const task = await keyed(state);
    const { problem } = await cancel(task);
    expect(problem).toMatchObject({
      status: 409,
      type: "urn:lapse:problem:task-ended",
      id: task.id,
      state,
      lastAttempt,
    });
    expect((await flow.read(task.id)).version).toBe(task.version);
  });

  test.each([
    ["that succeeds is 409", {}, 409],
    ["that fails is 200: no other follows", { status: 500 }, 200],
  ] as const)("that waits for an attempt %s", async (_name, answer, status) => {
    const { task, release } = await flow.running({ key: unique("key"), retry: promptRetry });
    const cancelling = cancel(task, "?wait=10s");
    await flow.reaches(task.id, "running");
    release(answer, {});
    const cancelled = await cancelling;
    expect(cancelled.status).toBe(status);
    expect(cancelled.json).toMatchObject({ state: status === 200 ? "cancelled" : "succeeded" });
  });

  test("whose wait runs out is 202", async () => {
    const { task, release } = await flow.running({ key: unique("key") });
    const answer = await cancel(task, "?wait=100ms");
    expect([answer.status, answer.task.state, answer.task.cancelRequested]).toEqual([202, "running", true]);
    release();
  });

  test("with a wait that need not be is answered at once", async () => {
    const startedMs = performance.now();
    expect((await cancel(await keyed("scheduled"), "?wait=30s")).status).toBe(200);
    expect((await cancel(await keyed("succeeded"), "?wait=30s")).status).toBe(409);
    expect(performance.now() - startedMs).toBeLessThan(20_000);
  });

  test.each(["31s", "5", "-1s", "soon"])("with wait=%s is 422", async (wait) => {
    const { problem } = await cancel(await keyed("scheduled"), `?wait=${wait}`);
    expect(problem).toMatchObject({ status: 422, errors: [{ path: "/wait" }] });
  });
});

describe("a cancel by key", () => {
  test("means the live task, not one that ended before", async () => {
    const key = unique("key");
    await taskIn(flow, "succeeded", { key });
    const { id } = await flow.create({ key });
    expect((await flow.api.delete(`/v1/tasks/by-key/${key}`)).task).toMatchObject({ id, state: "cancelled" });
  });

  test("means the newest where none is live", async () => {
    const key = unique("key");
    await taskIn(flow, "succeeded", { key });
    const { id } = await taskIn(flow, "cancelled", { key });
    expect((await flow.api.delete(`/v1/tasks/by-key/${key}`)).task.id).toBe(id);
  });

  test("looks into its queue alone", async () => {
    const key = unique("key");
    const { id } = await flow.create({ key, queue: "mail" });
    expect((await flow.api.delete(`/v1/tasks/by-key/${key}`)).status).toBe(404);
    expect((await flow.api.delete(`/v1/tasks/by-key/${key}?queue=mail`)).task.id).toBe(id);
  });

  test("reads any key from its percent-encoding", async () => {
    const key = `${unique("a/b%c d?e#f")}ö🔑`;
    const { id } = await flow.create({ key });
    expect((await flow.api.delete(`/v1/tasks/by-key/${encodeURIComponent(key)}`)).task.id).toBe(id);
  });
});

describe("a cancel of what is not there", () => {
  test.each([
    "/v1/tasks/01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57",
    "/v1/tasks/42",
    "/v1/tasks/by-key/none",
    "/v1/tasks/by-key/%00",
  ])("%s is 404", async (path) => {
    const { problem } = await flow.api.delete(path);
    expect(problem).toMatchObject({ status: 404, type: "urn:lapse:problem:task-not-found" });
  });
});

describe("a task that was cancelled in flight", () => {
  test.each([
    ["succeeds", {}, "succeeded"],
    ["fails", { status: 500 }, "cancelled"],
    ["fails for good", { status: 410 }, "cancelled"],
    ["is rescheduled", { headers: { "lapse-reschedule": "1s" } }, "cancelled"],
    ["is reset", { reset: true }, "cancelled"],
  ] as const)("whose attempt %s, ends so and is not tried again", async (_name, answer, state) => {
    const { task, hook, release } = await flow.running({ retry: promptRetry });
    expect((await flow.api.delete(`/v1/tasks/${task.id}`)).status).toBe(202);
    release(answer, {});
    expect(await flow.reaches(task.id, state)).toMatchObject({ attempts: 1, cancelRequested: true });
    await flow.reaches((await flow.create({ url: flow.hook().url, delay: "100ms" })).id, "succeeded");
    expect(hook.requests).toHaveLength(1);
    expect((await flow.read(task.id)).state).toBe(state);
  });
});

describe("a cancel that races its due time", () => {
  test("either answers 200 and nothing is called, or is told that it came too late", async () => {
    const count = 150;
    const tasks = await Promise.all(
      Array.from({ length: count }, (_, i) => {
        const hook = flow.hook();
        return flow
          .create({ url: hook.url, delay: `${500 + i}ms`, key: unique("race") })
          .then((task) => ({ task, hook }));
      }),
    );
    const raced = await Promise.all(
      tasks.map(async ({ task, hook }, i) => {
        await sleep(Math.max(0, Date.parse(task.dueAt) - Date.now() - 4 + (i % 8)));
        const { status } = await (i % 2 === 0
          ? flow.api.delete(`/v1/tasks/${task.id}`)
          : flow.api.delete(`/v1/tasks/by-key/${task.key}`));
        return { task, hook, status };
      }),
    );
    for (const { task, hook, status } of raced) {
      const { state } = await flow.reaches(task.id, "succeeded", "cancelled");
      expect(state).toBe(status === 200 ? "cancelled" : "succeeded");
      expect(hook.requests).toHaveLength(status === 200 ? 0 : 1);
      expect([200, 202, 409]).toContain(status);
    }
  });
});
