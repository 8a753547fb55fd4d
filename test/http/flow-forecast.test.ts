// Owns the checks of forecasts through the real service: what is counted where, at which limits, and what is left out.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { forecastBucketsMax } from "../../src/http/limits.ts";
import { forecastMost, readForecast } from "../../src/intake/forecast.ts";
import { Database } from "../../src/store/database.ts";
import { createLog } from "../../src/runtime/log.ts";
import { assumedDurationMs, dispatcherPerSecond } from "../../src/task/forecast.ts";
import { type Flow, startFlow, unique, until } from "../support/flow.ts";
import { importAll } from "../support/import-client.ts";

interface ForecastJson {
  readonly from: string;
  readonly to: string;
  readonly bucket: string;
  readonly overdue: number;
  readonly dueBefore: number;
  readonly buckets: readonly { from: string; tasks: number; occurrences: number; backlog: number }[];
  readonly more?: true;
  readonly throughput: { perSecond: number; limitedBy: string; meanDurationMs: number | null; dispatchers: number };
  readonly drainedAt: string | null;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** Far from now, so that buckets have the same tasks however long a test takes. */
const base = Math.ceil(Date.now() / hourMs) * hourMs + 24 * hourMs;
const iso = (at: number): string => new Date(at).toISOString();

let flow: Flow;
let url: string;
beforeAll(async () => {
  flow = await startFlow();
  url = flow.hook().url;
});
afterAll(() => flow.stop());

async function forecast(queue: string, query: Readonly<Record<string, string>> = {}): Promise<ForecastJson> {
  const answer = await flow.api.get(`/v1/queues/${queue}/forecast?${new URLSearchParams(query).toString()}`);
  return answer.as<ForecastJson>();
}

const inBase = (minutes: number, bucket: string) => ({ from: iso(base), to: iso(base + minutes * minuteMs), bucket });
const createAt = (queue: string, ...minutes: number[]) =>
  Promise.all(minutes.map((minute) => flow.create({ queue, dueAt: iso(base + minute * minuteMs) })));

describe("tasks", () => {
  test("stand in the bucket in which they fall due, its beginning included and its end not", async () => {
    const queue = unique("queue");
    await createAt(queue, -1, 0, 0.5, 1, 1.999, 2, 3, 4);
    const { from, to, bucket, overdue, dueBefore, buckets, more } = await forecast(queue, inBase(4, "1m"));
    expect({ from, to, bucket, overdue, dueBefore, more }).toEqual({
      ...inBase(4, "PT1M"),
      overdue: 0,
      dueBefore: 1,
      more: undefined,
    });
    expect(buckets.map(({ tasks }) => tasks)).toEqual([2, 2, 1, 1]);
    expect(buckets.map((one) => one.from)).toEqual([0, 1, 2, 3].map((minute) => iso(base + minute * minuteMs)));
  });

  test("that are due by now are overdue, and those of other queues and states are not counted", async () => {
    const queue = unique("queue");
    await flow.api.put(`/v1/queues/${queue}`, { paused: true });
    await flow.create({ queue, delay: "0s" });
    const [cancelled, paused] = await createAt(queue, 1, 1);
    await createAt(unique("queue"), 1);
    await flow.api.delete(`/v1/tasks/${cancelled?.id}`);
    await flow.api.post(`/v1/tasks/${paused?.id}/pause`);
    const { overdue, buckets, throughput, drainedAt } = await forecast(queue, inBase(4, "4m"));
    expect([overdue, buckets.map(({ tasks, backlog }) => [tasks, backlog])]).toEqual([1, [[0, 1]]]);
    expect([throughput.limitedBy, throughput.perSecond, drainedAt]).toEqual(["paused", 0, null]);
  });

  test("are counted by their next attempt", async () => {
    const queue = unique("queue");
    const hook = flow.hook({ status: 500 });
    const retry = { maxAttempts: 2, minDelay: "30m", backoff: "fixed", jitter: 0 };
    const { id } = await flow.create({ url: hook.url, queue, delay: "0s", retry });
    await until(
      () => flow.read(id),
      ({ attempts, state }) => attempts === 1 && state === "scheduled",
    );
    const { buckets } = await forecast(queue, { bucket: "10m" });
    expect(buckets.reduce((sum, { tasks }) => sum + tasks, 0)).toBe(1);
  });
});

test("the backlog is carried on at the queue's limits, and ends when they say", async () => {
  const queue = unique("queue");
  await flow.api.put(`/v1/queues/${queue}`, { rateLimit: { limit: 10, per: "1m" } });
  const line = `${JSON.stringify({ url, queue, dueAt: iso(base) })}\n`;
  await importAll(flow.service.url, line.repeat(25));
  const { buckets, throughput, drainedAt } = await forecast(queue, inBase(4, "1m"));
  expect(buckets.map(({ tasks, backlog }) => [tasks, backlog])).toEqual([
    [25, 15],
    [0, 5],
    [0, 0],
    [0, 0],
  ]);
  expect(throughput).toMatchObject({ limitedBy: "rateLimit", perSecond: 0.1667 });
  expect(drainedAt).toBe(iso(base + 2.5 * minuteMs));
});

test("the throughput is the slots over the duration of the latest calls", async () => {
  const queue = unique("queue");
  await flow.api.put(`/v1/queues/${queue}`, { concurrency: 3 });
  expect((await forecast(queue)).throughput).toMatchObject({
    perSecond: 3_000 / assumedDurationMs,
    limitedBy: "concurrency",
    meanDurationMs: null,
    dispatchers: 1,
  });
  const hook = flow.hook({ delayMs: 200 });
  const tasks = await Promise.all([0, 1].map(() => flow.create({ url: hook.url, queue, delay: "0s" })));
  for (const { id } of tasks) await flow.reaches(id, "succeeded");
  const { perSecond, meanDurationMs } = (await forecast(queue)).throughput;
  expect(meanDurationMs).toBeGreaterThanOrEqual(200);
  expect(perSecond).toBeCloseTo(3_000 / (meanDurationMs ?? 0), 1);
  await flow.api.put(`/v1/queues/${queue}`, { concurrency: 10_000 });
  expect((await forecast(queue)).throughput).toMatchObject({
    perSecond: dispatcherPerSecond,
    limitedBy: "dispatchers",
  });
});

describe("a schedule's occurrences", () => {
  const make = (queue: string, trigger: object) =>
    flow.api.post("/v1/schedules", { name: unique("schedule"), url, queue, trigger });

  test("stand beside the tasks, until they are tasks themselves", async () => {
    const queue = unique("queue");
    await make(queue, { type: "interval", every: "1m", startAt: iso(base), endAt: iso(base + 2 * minuteMs) });
    await make(queue, { type: "date", at: iso(base + minuteMs) });
    await createAt(queue, 1);
    const { buckets, dueBefore } = await forecast(queue, inBase(3, "1m"));
    expect([dueBefore, buckets.map(({ tasks, occurrences }) => [tasks, occurrences])]).toEqual([
      0,
      [
        [0, 1],
        [1, 2],
        [0, 1],
      ],
    ]);
    const every = unique("queue");
    await make(every, { type: "interval", every: "10s", startAt: iso(Date.now() + 5_000) });
    await until(
      () => forecast(every, { to: iso(base) }),
      ({ buckets: [first] }) => (first?.tasks ?? 0) > 0,
    );
    const { buckets: nearby } = await forecast(every, { bucket: "1h" });
    const [hour] = nearby;
    expect((hour?.tasks ?? 0) + (hour?.occurrences ?? 0)).toBeGreaterThanOrEqual(358);
    expect((hour?.tasks ?? 0) + (hour?.occurrences ?? 0)).toBeLessThanOrEqual(361);
  });

  test("of one that is paused, or of another queue, are left out", async () => {
    const queue = unique("queue");
    const trigger = { type: "interval", every: "1m", startAt: iso(base) };
    const { id } = (await make(queue, trigger)).as<{ id: string }>();
    await make(unique("queue"), trigger);
    expect((await forecast(queue, inBase(3, "3m"))).buckets[0]?.occurrences).toBe(3);
    await flow.api.post(`/v1/schedules/${id}/pause`);
    await flow.create({ queue });
    expect((await forecast(queue, inBase(3, "3m"))).buckets[0]?.occurrences).toBe(0);
  });
});

describe("limits", () => {
  let queue: string;
  beforeAll(async () => {
    queue = unique("queue");
    await createAt(queue, 0, 1, 2);
    const trigger = { type: "interval", every: "1m", startAt: iso(base), endAt: iso(base + 4 * minuteMs) };
    for (const _ of [1, 2]) await flow.api.post("/v1/schedules", { name: unique("schedule"), url, queue, trigger });
  });

  test("a window has so many buckets, and not one more", async () => {
    const of = (count: number) => ({ from: iso(base), to: iso(base + count * 1_000), bucket: "1s" });
    expect((await forecast(queue, of(forecastBucketsMax))).buckets).toHaveLength(forecastBucketsMax);
    const query = new URLSearchParams(of(forecastBucketsMax + 1)).toString();
    const answer = await flow.api.get(`/v1/queues/${queue}/forecast?${query}`);
    expect(answer.problem).toMatchObject({ status: 422, errors: [{ path: "/bucket" }] });
  });

  test.each([
    ["tasks", 3],
    ["schedules", 2],
    ["occurrences", 10],
  ] as const)(
    "%s are counted up to the limit, and past it the answer says that there are more",
    async (what, there) => {
      const database = new Database(flow.service.databaseUrl, createLog("silent"));
      const window = { now: Date.now(), from: base, to: base + 10 * minuteMs, bucketMs: minuteMs };
      const read = (most: number) => readForecast(database, queue, { window, most: { ...forecastMost, [what]: most } });
      expect((await read(there))?.more).toBe(false);
      expect((await read(there - 1))?.more).toBe(true);
      await database.close();
    },
  );

  test("in production the limits are these", () => {
    expect(forecastMost).toEqual({ tasks: 1_000_000, schedules: 1_000, occurrences: 100_000 });
  });
});

describe("a query", () => {
  test("says nothing: the next hour, by the minute", async () => {
    await flow.create();
    const { from, to, bucket, buckets } = await forecast("default");
    expect(Math.abs(Date.parse(from) - Date.now())).toBeLessThan(5_000);
    expect([Date.parse(to) - Date.parse(from), bucket, buckets.length]).toEqual([hourMs, "PT1M", 60]);
  });

  test("begins in the past: now", async () => {
    const { from } = await forecast("default", { from: "2020-01-01T00:00:00Z", bucket: "1h" });
    expect(Math.abs(Date.parse(from) - Date.now())).toBeLessThan(5_000);
  });

  test.each([
    [{ to: "2020-01-01T00:00:00Z" }, ["/to"]],
    [{ from: iso(base), to: iso(base) }, ["/to"]],
    [{ bucket: "99ms" }, ["/bucket"]],
    [{ bucket: "60", from: "tomorrow", other: "x" }, ["/bucket", "/from", "/other"]],
  ])("%j is refused", async (query, paths) => {
    const answer = await flow.api.get(
      `/v1/queues/default/forecast?${new URLSearchParams(query as Record<string, string>).toString()}`,
    );
    expect(answer.problem.errors?.map(({ path }) => path).toSorted()).toEqual(paths);
  });

  test("of a queue that there is not is 404", async () => {
    expect((await flow.api.get(`/v1/queues/${unique("none")}/forecast`)).problem.type).toBe(
      "urn:lapse:problem:queue-not-found",
    );
  });
});
