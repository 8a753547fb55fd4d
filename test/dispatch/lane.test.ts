// Owns the facts about a lane, on a real index and a real Postgres; its calls are ended by the test.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Lease } from "../../src/dispatch/lease.ts";
import type { DueIndex } from "../../src/due-index/due-index.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { readTime } from "../../src/store/due.ts";
import { type OpenIndex, openIndex } from "../due-index/redis.ts";
import { openStore, type RowFields, until } from "../store/store.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { type LaneOptions, type Running, startLaneOn } from "./lanes.ts";

const leaseMs = 10_000;
const hourMs = 3_600_000;
const store = await openStore();
const { database } = store;
const clock = new Clock();
let redis: TestRedis;
let open: OpenIndex;
let owner = "";
/** A queue for each test. */
let queue = "";

beforeAll(async () => {
  redis = await startRedis();
  open = await openIndex([redis.url]);
  owner = await store.dispatcher();
  await clock.settle(() => readTime(database));
});
afterAll(async () => {
  open.close();
  await redis.stop();
  await store.close();
});
beforeEach(() => {
  queue = uuidv7();
});

function startLane(options: LaneOptions = {}): Promise<Running> {
  return startLaneOn({ store, index: open.index, clock, owner, queue }, options);
}

/** Stores a task and enters it into the index by its time. */
async function enter(fields: RowFields = {}): Promise<{ id: string; at: number }> {
  const id = await store.insert({ queue, ...fields });
  const { next_attempt_at: at } = await store.read(id);
  await open.index.put([{ queue, id, at }]);
  return { id, at };
}

function pauseQueue(): Promise<unknown> {
  return store.query("update lapse.queues set paused = true where name = $1", [queue]);
}

const entryOf = async (id: string) => (await open.entries(queue))[id];

describe("a lane", () => {
  test("fires each task by its hint, and never before its time by the clock of Postgres", async () => {
    const { lane, calls, begun } = await startLane();
    const tasks: { id: string; at: number }[] = [];
    for (let i = 0; i < 20; i += 1) tasks.push(await enter({ dueInMs: 50 + 15 * i }));
    for (const { at } of tasks) lane.hint(at);
    await begun(20);
    expect(calls.map((call) => call.id).toSorted()).toEqual(tasks.map((task) => task.id).toSorted());
    expect(new Set(calls.map((call) => call.owner))).toEqual(new Set([owner]));
    const early = await store.query(
      "select id from lapse.tasks where queue = $1 and attempt_started_at < next_attempt_at",
      [queue],
    );
    expect(early).toEqual([]);
  });

  test("finds what is due without a hint when it starts", async () => {
    const { id } = await enter();
    const { calls, begun } = await startLane();
    await begun(1);
    expect(calls[0]?.id).toBe(id);
  });

  test("has no more calls in flight than slots, and begins another when one ends", async () => {
    const tasks: string[] = [];
    for (let i = 0; i < 8; i += 1) tasks.push((await enter()).id);
    const { lane, calls, begun } = await startLane({ concurrency: 3 });
    await begun(3);
    await until(async () => lane.isFull, Boolean);
    const [running] = await store.query(
      "select count(*)::int as count from lapse.tasks where queue = $1 and state = 'running'",
      [queue],
    );
    expect(running).toEqual({ count: 3 });
    for (let begunSoFar = 3; begunSoFar < 8; begunSoFar += 1) {
      expect(calls).toHaveLength(begunSoFar);
      calls[begunSoFar - 3]?.end();
      await begun(begunSoFar + 1);
    }
    expect(calls.map((call) => call.id).toSorted()).toEqual(tasks.toSorted());
  });

  test("fires a task that was handed over without the index", async () => {
    const { lane, calls, begun } = await startLane();
    const id = await store.insert({ queue });
    lane.hand([id]);
    await begun(1);
    expect(calls[0]?.id).toBe(id);
  });

  test("fires a task that was claimed elsewhere, under the lease that it comes with", async () => {
    const { lane, calls } = await startLane();
    const [task] = await store.claimed(owner, { queue });
    if (task !== undefined) lane.adopt(task, { id: "another" } as Lease);
    expect(calls).toMatchObject([{ id: task?.id, owner: "another" }]);
  });

  test("begins nothing after it was stopped", async () => {
    const { lane, calls } = await startLane();
    await lane.stop();
    const { id, at } = await enter();
    lane.hint(at);
    lane.hand([id]);
    lane.wake();
    expect((await store.read(id)).state).toBe("scheduled");
    expect(calls).toEqual([]);
  });

  test("goes on after an index that failed, whatever it is told meanwhile", async () => {
    let faults = 0;
    const index: DueIndex = {
      put: (entries) => open.index.put(entries),
      move: (entries) => open.index.move(entries),
      remove: (entries) => open.index.remove(entries),
      reset: async () => undefined,
      take: async (request) => {
        if (faults > 0) return open.index.take(request);
        faults += 1;
        throw new Error("Postgres is away");
      },
    };
    const { id } = await enter();
    const { lane, calls, errors, begun } = await startLane({ index });
    await until(async () => errors.length, Boolean);
    lane.hint(clock.now() + hourMs);
    await begun(1);
    expect(calls[0]?.id).toBe(id);
  });

  test("is idle once nothing is in flight and nothing is known to come", async () => {
    const { lane, calls, begun } = await startLane();
    const { id } = await enter();
    lane.wake();
    await begun(1);
    expect(lane.idleForMs(clock.now() + hourMs)).toBe(0);
    await open.index.remove([{ queue, id }]);
    await store.query("delete from lapse.tasks where id = $1", [id]);
    calls[0]?.end();
    await until(
      async () => (lane.wake(), lane.idleForMs(clock.now() + hourMs)),
      (idleMs) => idleMs >= hourMs - 1_000,
    );
    lane.hint(clock.now() + 2 * hourMs);
    expect(lane.idleForMs(clock.now() + hourMs)).toBe(0);
  });
});

describe("an entry whose task cannot be claimed", () => {
  test.each(["cancelled", "succeeded", "paused"] as const)("is removed where the task is %s", async (state) => {
    const { id } = await enter({ state });
    const { calls } = await startLane();
    await until(
      () => entryOf(id),
      (at) => at === undefined,
    );
    expect(calls).toEqual([]);
  });

  test("is removed where the queue is paused: its resume enters it anew", async () => {
    const { id } = await enter();
    await pauseQueue();
    const { calls } = await startLane();
    await until(
      () => entryOf(id),
      (at) => at === undefined,
    );
    expect(calls).toEqual([]);
  });

  test("is removed where the task was found too late and is missed", async () => {
    const { id } = await enter({ misfire_grace_ms: 10 });
    const { calls } = await startLane();
    await until(
      () => entryOf(id),
      (at) => at === undefined,
    );
    expect(await store.read(id)).toMatchObject({ state: "missed" });
    expect(calls).toEqual([]);
  });

  test("moves to the task's time where that was put off", async () => {
    const id = await store.insert({ queue, dueInMs: 60_000 });
    await open.index.put([{ queue, id, at: 1 }]);
    const { calls } = await startLane();
    const { next_attempt_at: at } = await store.read(id);
    await until(
      () => entryOf(id),
      (found) => found === at,
    );
    expect(calls).toEqual([]);
  });

  test("is removed where the task was put off beyond what the index holds", async () => {
    const id = await store.insert({ queue, dueInMs: hourMs });
    await open.index.put([{ queue, id, at: 1 }]);
    await startLane();
    await until(
      () => entryOf(id),
      (at) => at === undefined,
    );
    expect(await store.read(id)).toMatchObject({ state: "scheduled" });
  });

  test("is looked at again after a lease where another has it in flight", async () => {
    const { id } = await enter({ state: "running" });
    await open.index.move([{ queue, id, at: 1 }]);
    const startedAt = clock.now();
    const { calls } = await startLane();
    await until(
      () => entryOf(id),
      (at) => (at ?? 0) >= startedAt + leaseMs,
    );
    expect(calls).toEqual([]);
  });

  test("is looked at again where a stranger holds the row, and others are not held up", async () => {
    const held = await enter();
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [held.id]);
    const { lane, calls, begun } = await startLane();
    const free = await enter({ dueInMs: 100 });
    lane.hint(free.at);
    await begun(1);
    expect(calls.map((call) => call.id)).toEqual([free.id]);
    await stranger.query("rollback");
    await begun(2);
    expect(calls[1]?.id).toBe(held.id);
  });
});
