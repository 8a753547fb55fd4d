// Owns the checks of confirm through the real service: exactly one of the receiver's act and a cancel wins.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiAnswer } from "../support/api.ts";
import { type Flow, promptRetry, startFlow, unique, until } from "../support/flow.ts";
import type { ReceiverAnswer } from "../support/receiver.ts";
import { taskIn } from "../support/states.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

const laterRetry = { backoff: "fixed", minDelay: "1h", jitter: 0 };

function confirm(id: string, attempt: unknown): Promise<ApiAnswer> {
  return flow.api.post(`/v1/tasks/${id}/confirm`, { attempt });
}

function cancel(id: string): Promise<ApiAnswer> {
  return flow.api.delete(`/v1/tasks/${id}`);
}

describe("a confirm of the attempt in flight", () => {
  test("is 200 with the task, and 200 again", async () => {
    const { task, release } = await flow.running();
    for (let times = 0; times < 2; times += 1) {
      const answer = await confirm(task.id, 1);
      expect(answer.status).toBe(200);
      expect(answer.task).toMatchObject({ id: task.id, state: "running", cancelRequested: false });
    }
    release();
    await flow.reaches(task.id, "succeeded");
  });

  test("makes a cancel 409 by id, by key and in bulk, also one that waits", async () => {
    const key = unique("key");
    const { task, release } = await flow.running({ key });
    await confirm(task.id, 1);
    for (const path of [`/v1/tasks/${task.id}`, `/v1/tasks/by-key/${key}`, `/v1/tasks/${task.id}?wait=30s`]) {
      const { problem } = await flow.api.delete(path);
      expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:task-confirmed", state: "running" });
      expect(problem["lastAttempt"]).toMatchObject({ number: 1, outcome: null });
    }
    const bulk = await flow.api.post("/v1/tasks/cancel", { ids: [task.id] });
    expect(bulk.json).toMatchObject({ cancelled: [], notCancelled: [{ id: task.id, state: "running" }] });
    expect((await flow.read(task.id)).cancelRequested).toBe(false);
    release();
    expect((await flow.reaches(task.id, "succeeded")).cancelRequested).toBe(false);
  });

  test("may come before the receiver answers, within its own handler", async () => {
    const statuses: number[] = [];
    const hook = flow.hook(async (request): Promise<ReceiverAnswer> => {
      const answer = await confirm(String(request.headers["webhook-id"]), Number(request.headers["lapse-attempt"]));
      statuses.push(answer.status);
      return {};
    });
    const { id } = await flow.create({ url: hook.url, delay: "0s" });
    await flow.reaches(id, "succeeded");
    expect(statuses).toEqual([200]);
  });
});

describe("a confirm after a cancel", () => {
  test("is 409, and the task ends cancelled whatever the receiver answers", async () => {
    const { task, release } = await flow.running();
    expect((await cancel(task.id)).status).toBe(202);
    const { problem } = await confirm(task.id, 1);
    expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:confirm-refused", state: "running" });
    const cancelling = flow.api.delete(`/v1/tasks/${task.id}?wait=10s`);
    release({ status: 200 });
    expect(await cancelling).toMatchObject({ status: 200, task: { state: "cancelled" } });
    const ended = await flow.read(task.id);
    expect(ended).toMatchObject({ state: "cancelled", lastAttempt: { outcome: "succeeded", status: 200 } });
  });

  test("that was not asked leaves the task to what the receiver answers", async () => {
    const { task, release } = await flow.running();
    await cancel(task.id);
    release();
    expect((await flow.reaches(task.id, "succeeded", "cancelled")).state).toBe("succeeded");
  });

  test("or before it: one of many that race wins", async () => {
    const calls = await Promise.all(Array.from({ length: 20 }, () => flow.running()));
    const raced = await Promise.all(
      calls.map(async ({ task }) => {
        const [confirmed, cancelled] = await Promise.all([confirm(task.id, 1), cancel(task.id)]);
        return [confirmed.status, cancelled.status];
      }),
    );
    for (const statuses of raced)
      expect([
        [200, 409],
        [409, 202],
      ]).toContainEqual(statuses);
    for (const [i, { task, release }] of calls.entries()) {
      release();
      const { state } = await flow.reaches(task.id, "succeeded", "cancelled");
      expect(state).toBe(raced[i]?.[0] === 200 ? "succeeded" : "cancelled");
    }
  });
});

describe("a confirm that means no attempt in flight is 409", () => {
  test.each(["scheduled", "paused", "succeeded", "failed", "cancelled", "missed"] as const)(
    "of a task that is %s",
    async (state) => {
      const { id } = await taskIn(flow, state);
      expect((await confirm(id, 1)).problem).toMatchObject({
        status: 409,
        type: "urn:lapse:problem:confirm-refused",
        state,
      });
      expect((await flow.read(id)).state).toBe(state);
    },
  );

  test("of an attempt that is yet to come", async () => {
    const { task, release } = await flow.running();
    expect((await confirm(task.id, 2)).status).toBe(409);
    release();
    expect((await flow.reaches(task.id, "succeeded", "cancelled")).state).toBe("succeeded");
  });

  test("of an attempt that another has followed, which does not disturb that one", async () => {
    const { task, hook, release } = await flow.running({ retry: promptRetry });
    release({ status: 500 }, { delayMs: 400 });
    await hook.next();
    expect((await confirm(task.id, 1)).status).toBe(409);
    expect((await confirm(task.id, 2)).status).toBe(200);
    expect((await flow.reaches(task.id, "succeeded")).attempts).toBe(2);
  });

  test("of an attempt that is over while the task waits for the next", async () => {
    const { task, release } = await flow.running({ retry: laterRetry });
    release({ status: 500 });
    await flow.reaches(task.id, "scheduled");
    expect((await confirm(task.id, 1)).status).toBe(409);
    expect((await cancel(task.id)).status).toBe(200);
  });
});

describe("a confirm", () => {
  test.each([
    ["an answer other than 2xx", { status: 500 }],
    ["a redirect", { status: 302, headers: { location: "/" } }],
    ["a lapse-reschedule", { headers: { "lapse-reschedule": "1h" } }],
    ["a lapse-reschedule that cannot be used", { headers: { "lapse-reschedule": "soon" } }],
  ] as const)("ends with %s: a cancel is 200 again", async (_name, answer) => {
    const { task, release } = await flow.running({ retry: laterRetry });
    expect((await confirm(task.id, 1)).status).toBe(200);
    release(answer);
    await flow.reaches(task.id, "scheduled");
    expect((await cancel(task.id)).status).toBe(200);
  });

  test("stands after a reset, since nobody knows whether the receiver acted", async () => {
    const { task, release } = await flow.running({ retry: laterRetry });
    await confirm(task.id, 1);
    release({ reset: true });
    await flow.reaches(task.id, "scheduled");
    expect((await cancel(task.id)).problem).toMatchObject({ status: 409, type: "urn:lapse:problem:task-confirmed" });
  });

  test("stands after a timeout", async () => {
    const { task } = await flow.running({ retry: laterRetry, timeout: "500ms" });
    expect((await confirm(task.id, 1)).status).toBe(200);
    expect((await flow.reaches(task.id, "scheduled")).lastAttempt?.outcome).toBe("timed-out");
    expect((await cancel(task.id)).status).toBe(409);
  });

  test("that stands lets the next attempt confirm as well", async () => {
    const { task, hook, release } = await flow.running({ retry: promptRetry });
    await confirm(task.id, 1);
    release({ reset: true }, { delayMs: 400 });
    await hook.next();
    expect((await confirm(task.id, 2)).status).toBe(200);
    await flow.reaches(task.id, "succeeded");
  });

  test("that stands is not ended by what a later attempt says: the first may have acted", async () => {
    const { task, hook, release } = await flow.running({ retry: laterRetry });
    await confirm(task.id, 1);
    release({ reset: true }, { status: 500 });
    await flow.reaches(task.id, "scheduled");
    await flow.api.post(`/v1/tasks/${task.id}/run`);
    await hook.next();
    await until(
      () => flow.read(task.id),
      ({ state, attempts }) => state === "scheduled" && attempts === 2,
    );
    expect((await cancel(task.id)).status).toBe(409);
  });

  test("that stands outlives a replace, a run and a change", async () => {
    const key = unique("key");
    const { task, release } = await flow.running({ key, retry: laterRetry });
    await confirm(task.id, 1);
    release({ reset: true });
    await flow.reaches(task.id, "scheduled");
    await flow.api.patch(`/v1/tasks/${task.id}`, { delay: "2h" });
    expect((await cancel(task.id)).status).toBe(409);
    await flow.api.post("/v1/tasks", { url: task.url, key, delay: "1h", onConflict: "replace" });
    expect((await cancel(task.id)).status).toBe(409);
  });

  test.each([0, -1, 1.5, "1", null, undefined])("of attempt %j is 422", async (attempt) => {
    const { id } = await flow.create();
    expect((await confirm(id, attempt)).problem).toMatchObject({ status: 422, errors: [{ path: "/attempt" }] });
  });

  test.each(["01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57", "42"])("of the unknown task %s is 404", async (id) => {
    expect((await confirm(id, 1)).problem.status).toBe(404);
  });
});
