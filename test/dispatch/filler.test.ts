// Owns the facts about filling the index from Postgres, on a real Redis.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Filler } from "../../src/dispatch/filler.ts";
import { horizonMs } from "../../src/due-index/due-index.ts";
import type { RedisIndex } from "../../src/due-index/redis-index.ts";
import { SwitchingIndex } from "../../src/due-index/switching-index.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { createLog } from "../../src/runtime/log.ts";
import type { Metrics } from "../../src/runtime/metrics.ts";
import { readTime } from "../../src/store/due.ts";
import { type OpenIndex, openIndex } from "../due-index/redis.ts";
import { openStore } from "../store/store.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";

const store = await openStore();
const clock = new Clock();
let redis: TestRedis;
let open: OpenIndex;
/** A queue for each test. */
let queue = "";

beforeAll(async () => {
  redis = await startRedis();
  open = await openIndex([redis.url]);
  await clock.settle(() => readTime(store.database));
});
afterAll(async () => {
  open.close();
  await redis.stop();
  await store.close();
});
beforeEach(() => {
  queue = uuidv7();
});

/** `afterPut`: what happens once the first page has been entered. */
function setUp(afterPut: () => Promise<unknown> = async () => undefined, on = clock) {
  let puts = 0;
  const redisIndex = {
    put: async (entries: Parameters<RedisIndex["put"]>[0]) => {
      await open.index.put(entries);
      puts += 1;
      if (puts === 1) await afterPut();
    },
    take: open.index.take.bind(open.index),
    beginFill: open.index.beginFill.bind(open.index),
    endFill: open.index.endFill.bind(open.index),
  };
  const nothing = async (): Promise<void> => undefined;
  const index = new SwitchingIndex({
    redis: redisIndex as unknown as RedisIndex,
    postgres: {
      take: async () => ({ ids: ["from postgres"], nextAt: null }),
      put: nothing,
      move: nothing,
      remove: nothing,
      reset: async () => undefined,
    },
    log: createLog("silent"),
    metrics: { event: nothing, setRedisInUse: nothing } as unknown as Metrics,
  });
  const filler = new Filler({ database: store.database, index, clock: on });
  return { filler, index, fill: () => filler.fillQueues([queue]), putCount: () => puts };
}

async function entered(): Promise<string[]> {
  return Object.entries(await open.entries(queue)).flatMap(([id, at]) => (at > 0 ? [id] : []));
}

async function isTrusted(index: SwitchingIndex): Promise<boolean> {
  const { ids } = await index.take({ queue, now: clock.now(), leaseUntil: clock.now() + 10_000, limit: 1 });
  return !ids.includes("from postgres");
}

/** A clock that is ahead, as if that time had passed. */
function clockAhead(aheadMs: number): Clock {
  return { now: () => clock.now() + aheadMs } as Clock;
}

test("a filling enters what is overdue and what is due within ten minutes, each by its time, and nothing else", async () => {
  const due = [
    await store.insert({ queue, dueInMs: -60_000 }),
    await store.insert({ queue, dueInMs: horizonMs - 5_000 }),
  ];
  await store.insert({ queue, dueInMs: horizonMs + 60_000 });
  await store.insert({ queue, state: "paused" });
  await store.insert({ queue: uuidv7() });
  const { fill, index } = setUp();
  await fill();
  expect((await entered()).toSorted()).toEqual(due.toSorted());
  const entries = await open.entries(queue);
  for (const id of due) expect(entries[id]).toBe((await store.read(id)).next_attempt_at);
  expect(await isTrusted(index)).toBe(true);
});

test("more than a page is entered page by page", async () => {
  await store.insertMany(1_500, { queue, dueInMs: 10_000 });
  await store.insertMany(1_500, { queue, dueInMs: 20_000 });
  await store.insertMany(1_500, { queue, dueInMs: 30_000 });
  const { fill, index, putCount } = setUp();
  await fill();
  expect(putCount()).toBe(3);
  expect(await entered()).toHaveLength(4_500);
  expect(await isTrusted(index)).toBe(true);
});

test("what is filled already is not read again", async () => {
  await store.insert({ queue });
  await setUp().fill();
  const again = setUp();
  await again.fill();
  expect(again.putCount()).toBe(0);
  expect(await isTrusted(again.index)).toBe(true);
});

test("a filling goes on from where the last one ended, and reads its last minute again", async () => {
  await setUp().fill();
  const behind = await store.insert({ queue, dueInMs: horizonMs - 30_000 });
  const ahead = await store.insert({ queue, dueInMs: horizonMs + 20_000 });
  await store.insert({ queue, dueInMs: horizonMs - 120_000 });
  await setUp(undefined, clockAhead(31_000)).fill();
  expect((await entered()).toSorted()).toEqual([behind, ahead].toSorted());
});

test.each([
  ["a page", 10],
  ["the first of several pages", 2_500],
])(
  "a flush of Redis during %s makes the filling count for nothing, and the next one begins anew",
  async (_what, count) => {
    for (let made = 0; made < count; made += 1_250) await store.insertMany(Math.min(1_250, count), { queue });
    const flushed = setUp(() => open.raw.send("FLUSHALL"));
    await flushed.fill();
    expect(await isTrusted(flushed.index)).toBe(false);
    await flushed.fill();
    expect(await entered()).toHaveLength(count);
    expect(await isTrusted(flushed.index)).toBe(true);
  },
);

test("a queue that lost its mark is distrusted until it is filled again", async () => {
  const id = await store.insert({ queue });
  const { fill, index } = setUp();
  await fill();
  await open.raw.send("FLUSHALL");
  await fill();
  expect(await entered()).toEqual([id]);
  expect(await isTrusted(index)).toBe(true);
});

test("two fillings of one queue at once are one", async () => {
  await store.insert({ queue });
  const { fill, putCount } = setUp();
  await Promise.all([fill(), fill()]);
  expect(putCount()).toBe(1);
});

test("a queue that cannot be filled keeps no other from it", async () => {
  const { filler, index } = setUp();
  await store.insert({ queue });
  await open.raw.send("SET", open.key("broken"), "not a sorted set");
  await filler.fillQueues(["broken", queue]);
  await filler.fillQueues([queue]);
  expect(await isTrusted(index)).toBe(true);
  await open.raw.send("DEL", open.key("broken"));
});
