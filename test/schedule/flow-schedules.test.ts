// Owns the facts about a schedule's life over the API: made, brought forth, paused, resumed, changed, run, ended, removed.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Flow, startFlow, unique, until } from "../support/flow.ts";
import {
  everyHour,
  everySecond,
  makeSchedule,
  readSchedule,
  type ScheduleJson,
  secondMs,
  tasksOf,
} from "./scheduling.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

/** Within the 30 s ahead of which tasks are made, and far enough off not to fire during a test. */
const soon = (): string => new Date(Date.now() + 14 * secondMs).toISOString();
const waiting = "&state=scheduled";

describe("a schedule", () => {
  test("is answered whole, with its defaults and when it occurs next", async () => {
    const trigger = { type: "cron", expression: "30 5 * * mon-fri", timezone: "Asia/Shanghai" };
    const made = await makeSchedule(flow, { trigger, payload: { id: 1 } });
    expect(made).toMatchObject({
      state: "active",
      trigger: { ...trigger, dialect: "crontab", startAt: null, endAt: null },
      coalesce: true,
      maxInstances: 1,
      jitter: null,
      queue: "default",
      payload: { id: 1 },
      timeout: null,
      previousOccurrenceAt: null,
      version: 1,
    });
    const preview = await flow.api.post("/v1/schedules/preview", { trigger, count: 1 });
    expect(preview.json).toEqual({ occurrences: [made.nextOccurrenceAt] });
    expect(await readSchedule(flow, made.id)).toEqual(made);
  });

  test("makes one task an occurrence, which fires with what the schedule says", async () => {
    const hook = flow.hook();
    const made = await makeSchedule(flow, {
      trigger: everySecond,
      url: hook.url,
      queue: unique("queue"),
      payload: { big: 1 },
      labels: { team: "ops" },
      key: "tick",
    });
    const first = await hook.next();
    const second = await hook.next();
    const startAt = Date.parse(made.nextOccurrenceAt ?? "");
    expect(Date.parse(made.createdAt) + secondMs).toBeGreaterThanOrEqual(startAt - secondMs);
    expect([first, second].map(({ headers }) => headers["lapse-due-at"])).toEqual(
      [startAt, startAt + secondMs].map((at) => new Date(at).toISOString()),
    );
    expect(first.body.toString()).toBe('{"big":1}');
    const [task] = await tasksOf(flow, made.id);
    expect(task).toMatchObject({
      scheduleId: made.id,
      queue: made.queue,
      key: `tick:${new Date(startAt).toISOString()}`,
      dueAt: new Date(startAt).toISOString(),
      labels: { team: "ops" },
      timeout: "PT30S",
    });
    expect(Date.parse((await readSchedule(flow, made.id)).previousOccurrenceAt ?? "")).toBeGreaterThanOrEqual(startAt);
    await flow.api.delete(`/v1/schedules/${made.id}`);
  });

  test("ends with its last occurrence, once that is there", async () => {
    const at = new Date(Date.now() + 1_500).toISOString();
    const hook = flow.hook();
    const made = await makeSchedule(flow, { trigger: { type: "date", at }, url: hook.url });
    expect(made).toMatchObject({ state: "active", nextOccurrenceAt: at });
    await hook.next();
    const ended = await until(
      () => readSchedule(flow, made.id),
      ({ state }) => state === "ended",
    );
    expect(ended).toMatchObject({ nextOccurrenceAt: null, previousOccurrenceAt: at, error: null });
    expect(await tasksOf(flow, made.id)).toHaveLength(1);
  });

  test("ends where its receiver says so, and what it made ahead is cancelled with it", async () => {
    const hook = flow.hook({ headers: { "lapse-schedule": "end" } });
    const made = await makeSchedule(flow, { trigger: everySecond, url: hook.url });
    await hook.next();
    await until(
      () => readSchedule(flow, made.id),
      ({ state }) => state === "ended",
    );
    const tasks = await tasksOf(flow, made.id);
    expect(tasks[0]?.state).toBe("succeeded");
    expect(new Set(tasks.slice(1).map(({ state }) => state))).toEqual(new Set(["cancelled"]));
    expect(hook.requests).toHaveLength(1);
  });
});

describe("a paused schedule", () => {
  test("has what it made ahead cancelled, and makes nothing; resumed, it counts from now", async () => {
    const made = await makeSchedule(flow, { trigger: everySecond });
    await until(
      () => tasksOf(flow, made.id, waiting),
      (tasks) => tasks.length > 5,
    );
    const paused = await flow.api.post(`/v1/schedules/${made.id}/pause`);
    expect(paused.json).toMatchObject({ state: "paused", nextOccurrenceAt: null, version: 2 });
    expect(await tasksOf(flow, made.id, waiting)).toEqual([]);
    expect((await flow.api.post(`/v1/schedules/${made.id}/pause`)).json).toMatchObject({ version: 2 });

    const before = Date.now();
    const resumed = (await flow.api.post(`/v1/schedules/${made.id}/resume`)).as<{ nextOccurrenceAt: string }>();
    expect(Date.parse(resumed.nextOccurrenceAt)).toBeGreaterThan(before);
    const anew = await until(
      () => tasksOf(flow, made.id, waiting),
      (tasks) => tasks.length > 5,
    );
    expect(Date.parse(anew[0]?.dueAt ?? "")).toBeGreaterThan(before);
    await flow.api.delete(`/v1/schedules/${made.id}`);
  });

  test("that has ended can be neither paused nor resumed", async () => {
    const made = await makeSchedule(flow, {
      trigger: { type: "date", at: new Date(Date.now() + 1_200).toISOString() },
    });
    await until(
      () => readSchedule(flow, made.id),
      ({ state }) => state === "ended",
    );
    for (const action of ["pause", "resume"]) {
      const { problem } = await flow.api.post(`/v1/schedules/${made.id}/${action}`);
      expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:schedule-state", state: "ended" });
    }
    const revived = await flow.api.patch(`/v1/schedules/${made.id}`, { trigger: everyHour });
    expect(revived.json).toMatchObject({ state: "active", version: 3 });
  });
});

describe("a change", () => {
  test("makes anew what was made ahead, of the new definition", async () => {
    const trigger = { type: "date", at: soon() };
    const made = await makeSchedule(flow, { trigger, payload: 1 });
    const [before] = await until(
      () => tasksOf(flow, made.id),
      (tasks) => tasks.length === 1,
    );
    const changed = await flow.api.patch(`/v1/schedules/${made.id}`, { payload: 2, jitter: null });
    expect(changed.json).toMatchObject({ payload: 2, version: 2, trigger: { at: trigger.at } });
    const tasks = await until(
      () => tasksOf(flow, made.id),
      (all) => all.length === 2,
    );
    expect(tasks.find(({ id }) => id === before?.id)?.state).toBe("cancelled");
    expect(tasks.find(({ id }) => id !== before?.id)).toMatchObject({
      state: "scheduled",
      payload: 2,
      dueAt: trigger.at,
    });
  });

  test("of the trigger counts from now", async () => {
    const made = await makeSchedule(flow, { trigger: everySecond });
    const before = Date.now();
    const changed = await flow.api.patch(`/v1/schedules/${made.id}`, { trigger: { type: "interval", every: "10m" } });
    const { nextOccurrenceAt } = changed.as<{ nextOccurrenceAt: string }>();
    expect(Date.parse(nextOccurrenceAt) - before).toBeGreaterThanOrEqual(600 * secondMs);
    expect(await tasksOf(flow, made.id, waiting)).toEqual([]);
  });

  test("of another version than the one expected is refused", async () => {
    const { id } = await makeSchedule(flow);
    const change = (tag: string) => flow.api.patch(`/v1/schedules/${id}`, { maxInstances: 2 }, { "if-match": tag });
    expect((await change('"2"')).problem).toMatchObject({ status: 412, version: 1 });
    expect((await change('"1"')).json).toMatchObject({ version: 2, maxInstances: 2 });
  });

  test("to a name that another has is refused", async () => {
    const [one, two] = [await makeSchedule(flow), await makeSchedule(flow)];
    const answer = await flow.api.patch(`/v1/schedules/${two.id}`, { name: one.name });
    expect(answer.problem).toMatchObject({ status: 409, type: "urn:lapse:problem:schedule-name-conflict" });
  });
});

describe("a name that a schedule has", () => {
  test("is refused, but for the very same request; kept or replaced where the caller says so", async () => {
    const body = { name: unique("name"), trigger: everyHour, url: flow.hook().url };
    const post = (more: object) => flow.api.post("/v1/schedules", { ...body, ...more });
    const first = (await post({})).as<{ id: string }>();
    const again = await post({});
    expect([again.status, again.as<{ id: string }>().id]).toEqual([200, first.id]);
    const conflict = await post({ payload: 1 });
    expect(conflict.problem).toMatchObject({
      status: 409,
      type: "urn:lapse:problem:schedule-name-conflict",
      id: first.id,
    });
    expect((await post({ payload: 1, onConflict: "keep" })).json).toMatchObject({ id: first.id, payload: null });
    const replaced = await post({ payload: 1, onConflict: "replace" });
    expect([replaced.status, replaced.json]).toMatchObject([200, { id: first.id, payload: 1, version: 2 }]);
  });

  test("under an Idempotency-Key is made once, and its answer replayed", async () => {
    const body = { name: unique("name"), trigger: everyHour, url: flow.hook().url };
    const headers = { "idempotency-key": unique("key") };
    const first = await flow.api.post("/v1/schedules", body, headers);
    const again = await flow.api.post("/v1/schedules", body, headers);
    expect([first.status, again.status, again.text]).toEqual([201, 201, first.text]);
    expect(again.headers["idempotency-replayed"]).toBe("true");
    const other = await flow.api.post("/v1/schedules", { ...body, payload: 1 }, headers);
    expect(other.problem).toMatchObject({ status: 422, type: "urn:lapse:problem:idempotency-key-reused" });
  });
});

test("run makes a task that is due now, beside the occurrences, also while it is paused", async () => {
  const hook = flow.hook();
  const made = await makeSchedule(flow, { url: hook.url });
  await flow.api.post(`/v1/schedules/${made.id}/pause`);
  const ran = await flow.api.post(`/v1/schedules/${made.id}/run`);
  expect([ran.status, ran.task.scheduleId]).toEqual([201, made.id]);
  await hook.next();
  await flow.reaches(ran.task.id, "succeeded");
  expect(await tasksOf(flow, made.id)).toHaveLength(1);
});

test("a schedule that is removed has what it made ahead cancelled; its other tasks stay", async () => {
  const made = await makeSchedule(flow, { trigger: { type: "date", at: soon() } });
  await flow.api.post(`/v1/schedules/${made.id}/run`);
  await until(
    () => tasksOf(flow, made.id),
    (tasks) => tasks.length === 2 && tasks[0]?.state === "succeeded",
  );
  expect((await flow.api.delete(`/v1/schedules/${made.id}`)).status).toBe(204);
  expect((await flow.api.get(`/v1/schedules/${made.id}`)).problem.status).toBe(404);
  expect((await flow.api.delete(`/v1/schedules/${made.id}`)).problem.status).toBe(404);
  expect((await tasksOf(flow, made.id)).map(({ state }) => state)).toEqual(["succeeded", "cancelled"]);
});

test("schedules are listed by name, page by page, by name, queue and state", async () => {
  const queue = unique("listed");
  const names = [];
  for (let i = 0; i < 5; i += 1) names.push((await makeSchedule(flow, { queue, name: `${queue}-${i}` })).name);
  const listed: string[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const answer = await flow.api.get(`/v1/schedules?queue=${queue}&limit=2${cursor}`);
    const page = answer.as<{ items: ScheduleJson[]; nextCursor: string | null }>();
    listed.push(...page.items.map(({ name }) => name));
    cursor = page.nextCursor === null ? null : `&cursor=${page.nextCursor}`;
  }
  expect(listed).toEqual(names);
  const namesOf = async (query: string) =>
    (await flow.api.get(`/v1/schedules?${query}`)).as<{ items: { name: string }[] }>().items.map(({ name }) => name);
  expect(await namesOf(`name=${names[3]}`)).toEqual([names[3]]);
  expect(await namesOf(`queue=${queue}&state=paused,ended`)).toEqual([]);
  expect(await namesOf(`limit=500`)).toEqual(expect.arrayContaining(names));
});

test("all faults of a schedule are told at once", async () => {
  const answer = await flow.api.post("/v1/schedules", {
    name: "",
    trigger: { type: "interval", every: "10ms" },
    url: "x",
    delay: "1m",
    maxInstances: 0,
    jitter: 5,
    key: "k".repeat(488),
  });
  expect(answer.problem.errors?.map(({ path }) => path).toSorted()).toEqual(
    ["/delay", "/jitter", "/key", "/maxInstances", "/name", "/trigger/every", "/url"].toSorted(),
  );
});

test("a preview names the occurrences after an instant, at most as many as there are", async () => {
  const preview = (body: object) => flow.api.post("/v1/schedules/preview", body);
  const at = "2030-01-01T00:00:00.000Z";
  const interval = { type: "interval", every: "1m", startAt: at, endAt: "2030-01-01T00:02:00Z" };
  expect((await preview({ trigger: interval, after: at, count: 5 })).json).toEqual({
    occurrences: ["2030-01-01T00:01:00.000Z", "2030-01-01T00:02:00.000Z"],
  });
  const all = (await preview({ trigger: { type: "interval", every: "1s" }, count: 1_000 })).as<{
    occurrences: string[];
  }>();
  expect(all.occurrences).toHaveLength(1_000);
  expect((await preview({ trigger: interval, count: 1_001 })).problem.errors?.[0]?.path).toBe("/count");
  expect((await preview({ trigger: interval, after: "2031-01-01T00:00:00Z" })).problem.errors?.[0]?.path).toBe(
    "/trigger",
  );
});
