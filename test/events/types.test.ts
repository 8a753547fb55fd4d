// Owns the facts about what each event means: every type, seen once through the flow that makes it.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Flow, held, promptRetry, startFlow, unique, until } from "../support/flow.ts";
import { type Listener, listen } from "./listen.ts";

let flow: Flow;
let listener: Listener;
beforeAll(async () => {
  flow = await startFlow();
  listener = await listen(flow.service.url);
});
afterAll(async () => {
  await listener.close();
  await flow.stop();
});

/** The types of a task's events, in the order in which they came, up to the last that is expected. */
async function typesOf(id: string, last: string, count = 1): Promise<string[]> {
  for (let seen = 0; seen < count; ) {
    seen = (await listener.saw([last], id)).filter(({ type }) => type === last).length;
    if (seen < count) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return listener.events.filter(({ taskId }) => taskId === id).map(({ type }) => type);
}

describe("a task", () => {
  test("that is done is created, started and succeeded, with what is known of it and without its payload", async () => {
    const key = unique("order");
    const { id } = await flow.create({
      url: flow.hook().url,
      delay: "0s",
      key,
      labels: { shop: "eu" },
      payload: { secret: 1 },
    });
    expect(await typesOf(id, "task.succeeded")).toEqual(["task.created", "task.started", "task.succeeded"]);
    const task = await flow.read(id);
    const [, started, succeeded] = listener.events.filter(({ taskId }) => taskId === id);
    expect(started?.data).toMatchObject({ state: "running", attempt: 1, outcome: null, dueAt: task.dueAt });
    expect(succeeded).toMatchObject({
      queue: "default",
      key,
      data: { state: "succeeded", attempt: 1, outcome: "succeeded", status: 200 },
    });
    expect(succeeded?.data.labels).toEqual({ shop: "eu" });
    expect(JSON.stringify(listener.events)).not.toContain("secret");
  });

  test("whose attempts fail tells of each, and of its end", async () => {
    const hook = flow.hook({ status: 500 });
    const { id } = await flow.create({ url: hook.url, delay: "0s", retry: { ...promptRetry, maxAttempts: 2 } });
    expect(await typesOf(id, "task.failed")).toEqual([
      "task.created",
      "task.started",
      "task.attempt-failed",
      "task.started",
      "task.attempt-failed",
      "task.failed",
    ]);
    const failed = listener.events.filter((event) => event.taskId === id && event.type === "task.attempt-failed");
    expect(failed.map(({ data }) => [data.attempt, data.state, data.status])).toEqual([
      [1, "scheduled", 500],
      [2, "failed", 500],
    ]);
  });

  test("whose call is refused or times out tells of a failed attempt", async () => {
    const refused = await flow.create({ url: "http://127.0.0.1:1/", delay: "0s", retry: { maxAttempts: 1 } });
    await typesOf(refused.id, "task.failed");
    const [attempt] = await listener.saw(["task.attempt-failed"], refused.id);
    expect(attempt).toBeDefined();
    const { task, release } = await flow.running({ timeout: "100ms", retry: { maxAttempts: 1 } });
    await typesOf(task.id, "task.failed");
    const outcome = listener.events.find((event) => event.taskId === task.id && event.type === "task.failed");
    expect(outcome?.data.outcome).toBe("timed-out");
    release();
  });

  test("that is cancelled says so once, also where an attempt was in flight", async () => {
    const { id } = await flow.create();
    await flow.api.delete(`/v1/tasks/${id}`);
    await flow.api.delete(`/v1/tasks/${id}`);
    expect(await typesOf(id, "task.cancelled")).toEqual(["task.created", "task.cancelled"]);
    const { task, release } = await flow.running({ retry: { maxAttempts: 3 } });
    expect((await flow.api.delete(`/v1/tasks/${task.id}`)).status).toBe(202);
    release({ status: 500 });
    expect(await typesOf(task.id, "task.cancelled")).toEqual([
      "task.created",
      "task.started",
      "task.attempt-failed",
      "task.cancelled",
    ]);
  });

  test("that a tombstone stops is created and cancelled", async () => {
    const key = unique("stopped");
    await flow.api.post("/v1/tasks/cancel", { keys: [key], tombstone: "10m" });
    const { id } = await flow.create({ key });
    expect(await typesOf(id, "task.cancelled")).toEqual(["task.created", "task.cancelled"]);
    expect(listener.events.filter((event) => event.key === key)).toHaveLength(2);
  });

  test("that is found too late is missed, and rescheduled by a retry", async () => {
    const hook = flow.hook();
    const { id } = await flow.create({ url: hook.url, misfireGrace: "1s" });
    await flow.api.post(`/v1/tasks/${id}/pause`);
    await flow.api.patch(`/v1/tasks/${id}`, { delay: "0s" });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await flow.api.post(`/v1/tasks/${id}/resume`);
    expect(await typesOf(id, "task.missed")).toEqual([
      "task.created",
      "task.paused",
      "task.rescheduled",
      "task.resumed",
      "task.missed",
    ]);
    await flow.api.post(`/v1/tasks/${id}/retry`);
    expect((await typesOf(id, "task.succeeded")).slice(5)).toEqual([
      "task.rescheduled",
      "task.started",
      "task.succeeded",
    ]);
  });

  test("is rescheduled by run, PATCH, replace and its receiver, and not by backoff", async () => {
    const key = unique("moved");
    const hook = flow.hook([{ headers: { "lapse-reschedule": "1s" } }, {}]);
    const { id } = await flow.create({ url: hook.url, key });
    await flow.api.patch(`/v1/tasks/${id}`, { delay: "2h" });
    await flow.api.patch(`/v1/tasks/${id}`, { payload: 2 });
    await flow.api.post("/v1/tasks", { url: hook.url, key, delay: "3h", onConflict: "replace" });
    await flow.api.post(`/v1/tasks/${id}/run`);
    expect(await typesOf(id, "task.succeeded")).toEqual([
      "task.created",
      "task.rescheduled",
      "task.rescheduled",
      "task.rescheduled",
      "task.rescheduled",
      "task.started",
      "task.rescheduled",
      "task.started",
      "task.succeeded",
    ]);
    const last = listener.events.findLast((event) => event.taskId === id && event.type === "task.rescheduled");
    expect(last?.data).toMatchObject({ state: "scheduled", attempt: 1, outcome: "rescheduled" });
  });
});

test("a schedule tells of an occurrence beyond its maxInstances, and of its end", async () => {
  const { answer, release } = held();
  const hook = flow.hook(answer);
  const trigger = { type: "interval", every: "1s" };
  const name = unique("every-second");
  const made = await flow.api.post("/v1/schedules", { name, trigger, url: hook.url, maxInstances: 1 });
  const { id } = made.as<{ id: string }>();
  await hook.next();
  const told = await listener.saw(["schedule.max-instances"]);
  const beyond = told.find(({ type }) => type === "schedule.max-instances");
  expect(beyond?.data).toMatchObject({ scheduleId: id, name });
  expect(Date.parse(String(beyond?.data.occurrenceAt))).not.toBeNaN();
  expect(await flow.read(beyond?.taskId ?? "")).toMatchObject({ state: "missed", scheduleId: id });
  release({ headers: { "lapse-schedule": "end" } });
  const ended = (await listener.saw(["schedule.ended"])).find(({ type }) => type === "schedule.ended");
  expect(ended).toMatchObject({ taskId: null, queue: "default", data: { scheduleId: id, name } });
});

test("a queue tells that it is paused and resumed", async () => {
  const queue = unique("q");
  await flow.create({ queue });
  for (const call of ["pause", "pause", "resume"]) await flow.api.post(`/v1/queues/${queue}/${call}`);
  await until(
    () => listener.events.some((event) => event.queue === queue && event.type === "queue.resumed"),
    (isTold) => isTold,
  );
  const told = listener.events.filter((event) => event.queue === queue && event.taskId === null);
  expect(told.map(({ type }) => type)).toEqual(["queue.paused", "queue.resumed"]);
});
