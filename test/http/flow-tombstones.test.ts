// Owns the checks of tombstones through the real service: a cancel that comes before its task.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { execute } from "../support/database.ts";
import { type Flow, promptRetry, startFlow, unique, until } from "../support/flow.ts";
import { taskIn, waitingForRetry } from "../support/states.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

interface Cancelled {
  readonly cancelled: string[];
  readonly notCancelled: { id: string; state: string }[];
  readonly tombstones: string[];
}

async function bury(fields: object, tombstone = "10m"): Promise<Cancelled> {
  return (await flow.api.post("/v1/tasks/cancel", { tombstone, ...fields })).as<Cancelled>();
}

describe("a tombstone made before its task", () => {
  test("is told of, and nothing else", async () => {
    const key = unique("key");
    expect(await bury({ keys: [key] })).toEqual({ cancelled: [], notCancelled: [], tombstones: [key] });
  });

  test("stores the task as cancelled at once, and it never fires", async () => {
    const key = unique("key");
    await bury({ keys: [key] });
    const hook = flow.hook();
    const answer = await flow.api.post("/v1/tasks", { url: hook.url, key, delay: "50ms" });
    expect(answer.status).toBe(201);
    expect(answer.task).toMatchObject({ state: "cancelled", attempts: 0, finishedAt: expect.any(String) });
    await flow.reaches((await flow.create({ url: flow.hook().url, delay: "200ms" })).id, "succeeded");
    expect(hook.requests).toHaveLength(0);
    expect((await flow.read(answer.task.id)).state).toBe("cancelled");
  });

  test("cancels every arrival", async () => {
    const key = unique("key");
    await bury({ keys: [key] });
    const ids = new Set<string>();
    for (const payload of [1, 2, 3]) {
      const { task } = await flow.api.post("/v1/tasks", { url: flow.hook().url, key, payload });
      expect(task.state).toBe("cancelled");
      ids.add(task.id);
    }
    expect(ids.size).toBe(3);
  });

  test.each(["reject", "keep", "replace"])("cancels an arrival with onConflict %s", async (onConflict) => {
    const key = unique("key");
    await bury({ keys: [key] });
    const { status, task } = await flow.api.post("/v1/tasks", { url: flow.hook().url, key, onConflict });
    expect([status, task.state]).toEqual([201, "cancelled"]);
  });

  test("cancels an arrival under an Idempotency-Key, whose replay says the same", async () => {
    const key = unique("key");
    await bury({ keys: [key] });
    const headers = { "idempotency-key": unique("once") };
    const first = await flow.api.post("/v1/tasks", { url: flow.hook().url, key }, headers);
    expect([first.status, first.task.state]).toEqual([201, "cancelled"]);
  });

  test.each([false, true])("cancels an arrival in a batch (atomic %s)", async (atomic) => {
    const key = unique("key");
    await bury({ keys: [key] });
    const url = flow.hook().url;
    const answer = await flow.api.post("/v1/tasks/batch", {
      atomic,
      tasks: [
        { url, key },
        { url, delay: "1h" },
      ],
    });
    expect(answer.json).toMatchObject({
      items: [
        { status: 201, task: { state: "cancelled" } },
        { status: 201, task: { state: "scheduled" } },
      ],
    });
  });

  test("is no task: no listing and no read shows it", async () => {
    const key = unique("key");
    await bury({ keys: [key] });
    expect((await flow.api.get(`/v1/tasks?key=${key}`)).json).toEqual({ items: [], nextCursor: null });
    expect((await flow.api.get(`/v1/tasks/by-key/${key}`)).status).toBe(404);
    expect((await flow.api.delete(`/v1/tasks/by-key/${key}`)).status).toBe(404);
  });

  test("stands in its queue alone", async () => {
    const key = unique("key");
    await bury({ keys: [key], queue: "one" });
    expect((await flow.create({ key })).state).toBe("scheduled");
    expect((await flow.create({ key, queue: "one" })).state).toBe("cancelled");
  });

  test("lets arrivals through once its time is over", async () => {
    const key = unique("key");
    await bury({ keys: [key] }, "150ms");
    const fields = { url: flow.hook().url, key, delay: "1h" };
    expect((await flow.create(fields)).state).toBe("cancelled");
    const { task } = await until(
      () => flow.api.post("/v1/tasks", fields),
      (answer) => answer.task.state !== "cancelled",
    );
    expect(task.state).toBe("scheduled");
  });

  test("is not shortened by a later, shorter one", async () => {
    const key = unique("key");
    await bury({ keys: [key] }, "10m");
    await bury({ keys: [key] }, "1ms");
    const made = Date.now();
    await until(Date.now, (now) => now > made + 20);
    expect((await flow.create({ key })).state).toBe("cancelled");
  });

  test("lets one of two racing decide: no task of a buried key stays live", async () => {
    const keys = Array.from({ length: 30 }, () => unique("race"));
    const [created] = await Promise.all([
      Promise.all(keys.map((key) => flow.create({ key }))),
      Promise.all(keys.map((key) => bury({ keys: [key] }))),
    ]);
    for (const { id } of created) expect((await flow.read(id)).state).toBe("cancelled");
  });
});

describe("a tombstone over a task that stands", () => {
  test.each(["scheduled", "paused"] as const)("cancels one that is %s, and what comes after it", async (state) => {
    const key = unique("key");
    const { id } = await taskIn(flow, state, { key });
    expect(await bury({ keys: [key] })).toEqual({ cancelled: [id], notCancelled: [], tombstones: [key] });
    expect((await flow.create({ key })).state).toBe("cancelled");
  });

  test("cancels one that waits for a retry", async () => {
    const key = unique("key");
    const { id } = await waitingForRetry(flow, { key });
    expect(await bury({ keys: [key] })).toMatchObject({ cancelled: [id], tombstones: [key] });
    expect((await flow.create({ key })).state).toBe("cancelled");
  });

  test.each(["succeeded", "failed", "cancelled", "missed"] as const)(
    "leaves one that is %s as it is",
    async (state) => {
      const key = unique("key");
      const { id } = await taskIn(flow, state, { key });
      expect((await bury({ keys: [key] })).tombstones).toEqual([key]);
      expect((await flow.read(id)).state).toBe(state);
      expect((await flow.create({ key })).state).toBe("cancelled");
    },
  );

  test.each([
    ["succeeds", {}, "succeeded"],
    ["fails", { status: 500 }, "cancelled"],
  ] as const)("in flight stands once that attempt %s", async (_name, answer, state) => {
    const key = unique("key");
    const { task, release } = await flow.running({ key });
    expect(await bury({ keys: [key] })).toEqual({
      cancelled: [],
      notCancelled: [{ id: task.id, state: "running" }],
      tombstones: [key],
    });
    expect((await flow.read(task.id)).cancelRequested).toBe(true);
    release(answer);
    await flow.reaches(task.id, state);
    expect((await flow.create({ key })).state).toBe("cancelled");
  });

  test("in flight cancels what comes with its key meanwhile", async () => {
    const key = unique("key");
    const { task, release } = await flow.running({ key });
    await bury({ keys: [key] });
    const late = flow.hook();
    const answers = await Promise.all(
      ["reject", "keep", "replace"].map((onConflict) => flow.api.post("/v1/tasks", { url: late.url, key, onConflict })),
    );
    expect(answers.map(({ status, task: { state } }) => [status, state])).toEqual(
      answers.map(() => [201, "cancelled"]),
    );
    release();
    await flow.reaches(task.id, "succeeded");
    await flow.reaches((await flow.create({ url: flow.hook().url, delay: "100ms" })).id, "succeeded");
    expect(late.requests).toHaveLength(0);
  });

  test("that is confirmed stands once that task has ended, however often it is tried", async () => {
    const key = unique("key");
    const { task, release } = await flow.running({ key, retry: promptRetry });
    await flow.api.post(`/v1/tasks/${task.id}/confirm`, { attempt: 1 });
    expect(await bury({ keys: [key] })).toMatchObject({ notCancelled: [{ id: task.id }], tombstones: [key] });
    release({ reset: true }, {});
    await flow.reaches(task.id, "succeeded");
    expect((await flow.create({ key })).state).toBe("cancelled");
  });
});

test("a tombstone over a confirmed task stands also where that task is missed in the end", async () => {
  const key = unique("key");
  const retry = { backoff: "fixed", minDelay: "1h" };
  const { task, release } = await flow.running({ key, retry, misfireGrace: "1h" });
  await flow.api.post(`/v1/tasks/${task.id}/confirm`, { attempt: 1 });
  release({ reset: true });
  await flow.reaches(task.id, "scheduled");
  expect((await bury({ keys: [key] })).tombstones).toEqual([key]);
  // Due an hour ago, as after a long outage: found later than its grace.
  const late =
    "misfire_grace_ms = 1, attempts_at_due = attempts, due_at = now() - interval '1 hour', next_attempt_at = now()";
  await execute(flow.service.databaseUrl, `update lapse.tasks set ${late} where id = '${task.id}'`);
  await flow.reaches(task.id, "missed");
  expect((await flow.create({ key })).state).toBe("cancelled");
});

describe("a tombstone", () => {
  test("is made for each key of the call once", async () => {
    const [one, two] = [unique("key"), unique("key")];
    expect((await bury({ keys: [one, two, one] })).tombstones.toSorted()).toEqual([one, two].toSorted());
  });

  test("needs keys", async () => {
    const answer = await flow.api.post("/v1/tasks/cancel", { labels: { a: "b" }, tombstone: "10m" });
    expect(answer.problem).toMatchObject({ status: 422, errors: [{ path: "/tombstone" }] });
  });

  test("is not made by a dry run", async () => {
    const key = unique("key");
    await bury({ keys: [key], dryRun: true });
    expect((await flow.create({ key })).state).toBe("scheduled");
  });

  test("refuses the retry of a task with its key", async () => {
    const key = unique("key");
    const { id } = await taskIn(flow, "failed", { key });
    await bury({ keys: [key] });
    expect((await flow.api.post(`/v1/tasks/${id}/retry`)).problem.type).toBe("urn:lapse:problem:key-conflict");
  });

  test("that has ended refuses no retry, before it is swept away either", async () => {
    for (const retry of [
      (id: string) => flow.api.post(`/v1/tasks/${id}/retry`),
      (id: string) => flow.api.post("/v1/tasks/retry", { ids: [id] }),
    ]) {
      const key = unique("key");
      const { id } = await taskIn(flow, "failed", { key });
      await bury({ keys: [key] });
      await execute(
        flow.service.databaseUrl,
        `update lapse.tasks set due_at = now() where key = '${key}' and state = 'tombstone'`,
      );
      const dry = await flow.api.post("/v1/tasks/retry", { ids: [id], dryRun: true });
      expect(dry.as<{ retried: string[] }>().retried).toEqual([id]);
      expect((await retry(id)).status).toBe(200);
      expect((await flow.read(id)).finishedAt).toBeNull();
    }
  });
});
