// Owns the facts about dividing a lane's slots among origins, on a real index and a real Postgres; calls end as the test says.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { LaneOrigins } from "../../src/dispatch/lane-origins.ts";
import { parkAfterMs, probeMsMin } from "../../src/dispatch/origin.ts";
import { Origins } from "../../src/dispatch/origins.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { createLog } from "../../src/runtime/log.ts";
import { Metrics } from "../../src/runtime/metrics.ts";
import { readTime } from "../../src/store/due.ts";
import type { AttemptResult } from "../../src/task/attempt-result.ts";
import { type OpenIndex, openIndex } from "../due-index/redis.ts";
import { openStore } from "../store/store.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";

const slots = 20;
const good = "https://shop.example/hooks";
const bad = "https://hangs.example/hooks";
const answered: AttemptResult = {
  kind: "answered",
  status: 500,
  headers: { retryAfter: null, reschedule: null, schedule: null, noRetry: null, location: null },
  snippet: "",
};
const timedOut: AttemptResult = { kind: "timed-out", error: "no answer" };

const store = await openStore();
const { database } = store;
const clock = new Clock();
let redis: TestRedis;
let open: OpenIndex;
let queue = "";
let nowMs = 0;
let metrics = new Metrics();
let lane = new LaneOrigins("", parts());

beforeAll(async () => {
  redis = await startRedis();
  open = await openIndex([redis.url]);
  await clock.settle(() => readTime(database));
});
afterAll(async () => {
  open.close();
  await redis.stop();
  await store.close();
});
beforeEach(() => {
  queue = uuidv7();
  nowMs = 1_000_000;
  metrics = new Metrics();
  lane = new LaneOrigins(queue, parts());
});

function parts() {
  const origins = new Origins({ nowMs: () => nowMs, log: createLog("silent"), metrics });
  return {
    database,
    get index() {
      return open.index;
    },
    clock,
    metrics,
    origins,
  };
}

async function due(count: number, url: string): Promise<string[]> {
  const ids = await Promise.all(Array.from({ length: count }, () => store.insert({ queue, url, dueInMs: -10 })));
  await open.index.put(ids.map((id) => ({ queue, id, at: clock.now() })));
  return ids;
}

function calls(count: number, url: string, result: AttemptResult): void {
  for (let i = 0; i < count; i += 1) lane.began(url)(result);
}

/** Calls that stay in flight. */
function hang(count: number, url: string): ((result: AttemptResult) => void)[] {
  return Array.from({ length: count }, () => lane.began(url));
}

test("an origin alone in its queue is admitted to every slot", async () => {
  const ids = await due(slots, bad);
  expect((await lane.admit(ids, slots)).ids).toEqual(ids);
});

test("of two origins the one that does not answer is held to half, and the other is admitted", async () => {
  calls(1, bad, answered);
  calls(1, good, answered);
  nowMs += 1_000;
  hang(10, bad);
  calls(1, good, answered);
  const [late, next] = [await due(2, bad), await due(8, good)];
  const admitted = await lane.admit([...late, ...next], slots);
  expect(admitted.ids).toEqual(next);
  for (const id of late) {
    const row = await store.read(id);
    expect(row).toMatchObject({ state: "scheduled", attempts: 0, version: 1 });
    expect(row.next_attempt_at).toBeGreaterThanOrEqual(admitted.nextAt);
    expect((await open.entries(queue))[id]).toBe(row.next_attempt_at);
  }
});

test("a task that was cancelled meanwhile is not put off, and another's lock on a row is not waited for", async () => {
  calls(20, bad, timedOut);
  hang(2, bad);
  const [cancelled, locked] = await due(2, bad);
  if (cancelled === undefined || locked === undefined) throw new Error("two tasks were made");
  await store.query("update lapse.tasks set state = 'cancelled', finished_at = now() where id = $1", [cancelled]);
  const before = await store.read(locked);
  await database.transaction(async (trx) => {
    await trx.selectFrom("lapse.tasks").select("id").where("id", "=", locked).forUpdate().execute();
    await lane.admit([cancelled, locked], slots);
  });
  expect((await store.read(cancelled)).state).toBe("cancelled");
  expect((await store.read(locked)).next_attempt_at).toBe(before.next_attempt_at);
});

test("a parked origin's tasks wait for the probe without an attempt, and go once it answers", async () => {
  const ends = hang(20, bad);
  nowMs += parkAfterMs;
  for (const end of ends) end(timedOut);
  expect((await metrics.text()).body).toContain("lapse_origins_parked 1");
  const ids = await due(5, bad);
  const from = clock.now();
  expect((await lane.admit(ids, slots)).ids).toEqual([]);
  for (const id of ids) {
    const row = await store.read(id);
    expect(row).toMatchObject({ state: "scheduled", attempts: 0 });
    expect(row.next_attempt_at - from).toBeGreaterThanOrEqual(probeMsMin);
    expect(row.next_attempt_at - from).toBeLessThan(probeMsMin + 2_000);
  }
  nowMs += probeMsMin;
  const others = await due(3, bad);
  expect((await lane.admit(others, slots)).ids).toEqual(others.slice(0, 1));
  lane.began(bad)(answered);
  expect((await metrics.text()).body).toContain("lapse_origins_parked 0");
  const last = await due(5, bad);
  expect((await lane.admit(last, slots)).ids).toEqual(last);
});

test("a parked origin does not hold up another", async () => {
  const ends = hang(20, bad);
  nowMs += parkAfterMs;
  for (const end of ends) end(timedOut);
  const [late, next] = [await due(3, bad), await due(10, good)];
  expect((await lane.admit([...late, ...next], slots)).ids).toEqual(next);
});
