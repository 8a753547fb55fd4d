// Owns the checks of changing one task through the real service: PATCH, pause, resume, run and retry, in each state.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TaskState, taskStates } from "../../src/task/task.ts";
import type { ApiAnswer } from "../support/api.ts";
import { execute } from "../support/database.ts";
import { type Flow, promptRetry, startFlow, unique } from "../support/flow.ts";
import { overdueWhilePaused, taskIn, waitingForRetry } from "../support/states.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

const hourMs = 3_600_000;
const waiting: readonly TaskState[] = ["scheduled", "paused"];
const notWaiting = taskStates.filter((state) => !waiting.includes(state));
const unknownIds = ["01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57", "42"];

function act(id: string, action: string): Promise<ApiAnswer> {
  return flow.api.post(`/v1/tasks/${id}/${action}`);
}

/** Something due later than all else has fired: what was due and has not been called will not be. */
async function laterTaskFired(): Promise<void> {
  await flow.reaches((await flow.create({ url: flow.hook().url, delay: "150ms" })).id, "succeeded");
}

describe("PATCH", () => {
  test.each<[string, object, object?]>([
    ["url", { url: "https://shop.example/other" }],
    ["headers", { headers: { "x-other": "1" } }],
    ["payload", { payload: { other: [1] } }],
    ["payload, by a raw body", { body: "raw", contentType: "text/plain" }, { payload: null, body: "raw" }],
    ["timeout", { timeout: "5s" }, { timeout: "PT5S" }],
    ["retry", { retry: { maxAttempts: 3 } }, { retry: { maxAttempts: 3, backoff: "exponential", minDelay: "PT5S" } }],
    ["labels", { labels: { other: "1" } }],
    ["labels, all away", { labels: {} }],
  ])("changes %s, and nothing else", async (_name, changes, shown = changes) => {
    const fields = { key: unique("key"), payload: 1, labels: { a: "b" }, headers: { a: "b" }, retry: { factor: 2 } };
    const { updatedAt, version, retry, ...task } = await flow.create(fields);
    const answer = await flow.api.patch(`/v1/tasks/${task.id}`, changes);
    expect(answer).toMatchObject({ status: 200, headers: { etag: '"2"' } });
    const unchanged = Object.fromEntries(Object.entries(task).filter(([name]) => !(name in shown)));
    expect(answer.task).toMatchObject({ ...unchanged, ...shown, version: version + 1 });
    expect(answer.task.updatedAt >= updatedAt).toBe(true);
    expect("retry" in changes || answer.task.retry.factor === retry.factor).toBe(true);
    expect(await flow.read(task.id)).toEqual(answer.task);
  });

  test.each([
    ["a delay, from now", { delay: "2h" }, 2 * hourMs],
    ["a dueAt", { dueAt: "2031-01-01T00:00:00Z" }, null],
    ["a dueAt in the past, which is now", { dueAt: "2001-01-01T00:00:00Z" }, 0],
    ["a local dueAt", { dueAt: "2031-01-01T08:00:00", timezone: "Asia/Shanghai" }, null],
  ])("sets the due time by %s", async (_name, changes, inMs) => {
    const { id } = await flow.create();
    const { task } = await flow.api.patch(`/v1/tasks/${id}`, changes);
    expect(task.nextAttemptAt).toBe(task.dueAt);
    const expected = inMs === null ? Date.parse("2031-01-01T00:00:00Z") : Date.now() + inMs;
    expect(Math.abs(Date.parse(task.dueAt) - expected)).toBeLessThan(2_000);
  });

  test("brings a due time forward, and what fires is the changed task", async () => {
    const [old, changed] = [flow.hook(), flow.hook()];
    const { id } = await flow.create({ url: old.url, payload: "old", delay: "20m" });
    await flow.api.patch(`/v1/tasks/${id}`, {
      url: changed.url,
      payload: "new",
      headers: { "x-a": "b" },
      delay: "100ms",
    });
    const request = await changed.next();
    expect([request.body.toString(), request.headers["x-a"]]).toEqual(['"new"', "b"]);
    expect(old.requests).toHaveLength(0);
  });

  test("puts a due time off: the old one passes and nothing fires", async () => {
    const hook = flow.hook();
    const { id } = await flow.create({ url: hook.url, delay: "100ms" });
    await flow.api.patch(`/v1/tasks/${id}`, { delay: "1h" });
    await laterTaskFired();
    expect(hook.requests).toHaveLength(0);
    expect((await flow.read(id)).state).toBe("scheduled");
  });

  test("leaves a paused task paused", async () => {
    expect((await overdueWhilePaused(flow)).state).toBe("paused");
  });

  test.each(notWaiting)("of a task that is %s is 409", async (state) => {
    const { id } = await taskIn(flow, state);
    const { problem } = await flow.api.patch(`/v1/tasks/${id}`, { payload: 1 });
    expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:task-state", id, state });
  });

  test.each<[string, object, string]>([
    ["nothing", {}, ""],
    ["the key", { key: "a" }, "/key"],
    ["the queue", { queue: "a" }, "/queue"],
    ["the method", { method: "PUT" }, "/method"],
    ["the state", { state: "paused" }, "/state"],
    ["the url to none", { url: "x" }, "/url"],
    ["dueAt and delay", { dueAt: "2031-01-01T00:00:00Z", delay: "1h" }, "/delay"],
    ["a header to one that is refused", { headers: { host: "a" } }, "/headers/host"],
  ])("of %s is 422", async (_name, changes, path) => {
    const { id } = await flow.create();
    const { problem } = await flow.api.patch(`/v1/tasks/${id}`, changes);
    expect(problem.status).toBe(422);
    expect(problem.errors?.map((error) => error.path)).toContain(path);
  });

  test.each(unknownIds)("of the unknown %s is 404", async (id) => {
    expect((await flow.api.patch(`/v1/tasks/${id}`, { payload: 1 })).problem.status).toBe(404);
  });
});

describe("If-Match", () => {
  const patch = (id: string, tag: string): Promise<ApiAnswer> =>
    flow.api.patch(`/v1/tasks/${id}`, { payload: tag }, { "if-match": tag });

  test.each(['"1"', "*"])("%s lets the version that it names be changed", async (tag) => {
    const answer = await patch((await flow.create()).id, tag);
    expect([answer.status, answer.task.version, answer.headers["etag"]]).toEqual([200, 2, '"2"']);
  });

  test.each(['"2"', '"0"', 'W/"1"', '"x"'])("%s of another version is 412, and changes nothing", async (tag) => {
    const task = await flow.create();
    expect((await patch(task.id, tag)).problem).toMatchObject({
      status: 412,
      type: "urn:lapse:problem:version-mismatch",
      version: 1,
    });
    expect(await flow.read(task.id)).toEqual(task);
  });

  test("lets one of two changes of the same version through", async () => {
    const { id } = await flow.create();
    const answers = await Promise.all([patch(id, '"1"'), patch(id, '"1"')]);
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 412]);
  });

  test("of the right version does not help a task that runs", async () => {
    const { task, release } = await flow.running();
    expect((await patch(task.id, `"${task.version}"`)).status).toBe(409);
    release();
  });

  test("that is no tag is 400", async () => {
    expect((await patch((await flow.create()).id, "1")).problem.status).toBe(400);
  });
});

describe("pause", () => {
  test.each(waiting)("of a task that is %s is 200", async (state) => {
    const { id, dueAt } = await taskIn(flow, state);
    const answer = await act(id, "pause");
    expect(answer).toMatchObject({ status: 200, task: { id, state: "paused", dueAt, finishedAt: null } });
  });

  test("lets the due time pass without a call", async () => {
    const hook = flow.hook();
    const { id } = await overdueWhilePaused(flow, { url: hook.url });
    await laterTaskFired();
    expect(hook.requests).toHaveLength(0);
    expect((await flow.read(id)).state).toBe("paused");
  });
});

describe("resume", () => {
  test.each(waiting)("of a task that is %s is 200, and leaves its due time", async (state) => {
    const { id, dueAt } = await taskIn(flow, state);
    const { status, task } = await act(id, "resume");
    expect([status, task.state, task.dueAt, task.nextAttemptAt]).toEqual([200, "scheduled", dueAt, dueAt]);
  });

  test("of one that is overdue fires it now, its lateness from its due time", async () => {
    const { id, dueAt } = await overdueWhilePaused(flow, { url: flow.hook().url });
    const { task } = await act(id, "resume");
    expect(task.dueAt).toBe(dueAt);
    expect(task.nextAttemptAt > dueAt).toBe(true);
    const { lastAttempt } = await flow.reaches(id, "succeeded");
    expect(lastAttempt?.latenessMs).toBeGreaterThanOrEqual(10);
  });

  test("of one past its misfireGrace ends it missed", async () => {
    expect((await taskIn(flow, "missed")).attempts).toBe(0);
  });
});

describe("run", () => {
  test.each([
    ["scheduled", () => flow.create()],
    ["paused", () => taskIn(flow, "paused")],
    ["waiting for a retry", () => waitingForRetry(flow)],
  ] as const)("of a task that is %s makes it due now, and fires it", async (_name, make) => {
    const before = await make();
    const { status, task } = await act(before.id, "run");
    expect([status, task.state]).toEqual([200, "scheduled"]);
    expect(Math.abs(Date.parse(task.dueAt) - Date.now())).toBeLessThan(2_000);
    expect(task.nextAttemptAt).toBe(task.dueAt);
    const ended = await flow.reaches(before.id, "succeeded");
    expect(ended.attempts).toBe(before.attempts + 1);
    expect(ended.lastAttempt?.latenessMs).toBeLessThan(2_000);
  });

  test("leaves the budget of attempts as it is", async () => {
    const retry = { maxAttempts: 2, minDelay: "1h" };
    const { id } = await waitingForRetry(flow, { url: flow.hook({ status: 500 }).url, retry });
    await act(id, "run");
    expect((await flow.reaches(id, "failed")).attempts).toBe(2);
  });
});

describe("retry", () => {
  test.each(["failed", "missed"] as const)("of a task that has %s schedules it anew, and fires it", async (state) => {
    const before = await taskIn(flow, state, { key: unique("key") });
    // A grace of 1 ms, which made it missed, would soon do so again.
    await execute(flow.service.databaseUrl, `update lapse.tasks set misfire_grace_ms = null where id = '${before.id}'`);
    const { status, task } = await act(before.id, "retry");
    expect(status).toBe(200);
    expect(task).toMatchObject({
      id: before.id,
      state: "scheduled",
      finishedAt: null,
      lastAttempt: before.lastAttempt,
    });
    expect(Math.abs(Date.parse(task.dueAt) - Date.now())).toBeLessThan(2_000);
    const again = await flow.reaches(before.id, "succeeded", "failed");
    expect(again.attempts).toBe(before.attempts + 1);
  });

  test("gives a fresh budget; numbers go on", async () => {
    const retry = { ...promptRetry, maxAttempts: 2 };
    const { id } = await flow.create({ url: flow.hook({ status: 500 }).url, delay: "0s", retry });
    expect((await flow.reaches(id, "failed")).attempts).toBe(2);
    await act(id, "retry");
    expect((await flow.reaches(id, "failed")).attempts).toBe(4);
    const { items } = (await flow.api.get(`/v1/tasks/${id}/attempts`)).as<{ items: { number: number }[] }>();
    expect(items.map(({ number }) => number)).toEqual([1, 2, 3, 4]);
  });

  test("is 409 while the key is live on another task, and names that one", async () => {
    const key = unique("key");
    const { id } = await taskIn(flow, "failed", { key });
    const other = await flow.create({ key });
    const { problem } = await act(id, "retry");
    expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:key-conflict", id: other.id });
    expect((await flow.read(id)).state).toBe("failed");
  });
});

describe("what a state does not allow is 409", () => {
  const allowed: Readonly<Record<string, readonly TaskState[]>> = {
    pause: waiting,
    resume: waiting,
    run: waiting,
    retry: ["failed", "missed"],
  };
  const refused = Object.entries(allowed).flatMap(([action, from]) =>
    taskStates.filter((state) => !from.includes(state)).map((state) => [action, state] as const),
  );

  test.each(refused)("%s of a task that is %s", async (action, state) => {
    const { id } = await taskIn(flow, state);
    const { problem } = await act(id, action);
    expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:task-state", id, state });
    expect((await flow.read(id)).state).toBe(state);
  });

  test.each(unknownIds.flatMap((id) => Object.keys(allowed).map((action) => [action, id] as const)))(
    "%s of the unknown %s is 404",
    async (action, id) => {
      expect((await act(id, action)).problem).toMatchObject({ status: 404, type: "urn:lapse:problem:task-not-found" });
    },
  );
});
