// Owns the facts about switching: due times come from Postgres while Redis is away, full, read-only or silent, and from Redis again once
// it is back and filled.

import { v7 as uuidv7 } from "uuid";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { DueIndex, TakeRequest } from "../../src/due-index/due-index.ts";
import { RedisUnavailableError } from "../../src/due-index/redis-connection.ts";
import { SwitchingIndex } from "../../src/due-index/switching-index.ts";
import { createLog } from "../../src/runtime/log.ts";
import type { Metrics } from "../../src/runtime/metrics.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { entriesAt, type OpenIndex, openIndex, until } from "./redis.ts";

const queue = "q";
const now = Date.now();
const filledUntil = now + 600_000;
/** As in src/due-index/redis-connection.ts. */
const callTimeoutMs = 250;
/** Calls are given up after 250 ms; a busy machine may need a little longer to notice. */
const givenUpMsMax = 1_500;

let redis: TestRedis;
let open: OpenIndex;
let index: SwitchingIndex;
let told: string[];

beforeEach(async () => {
  redis = await startRedis();
  open = await openIndex([redis.url]);
  told = [];
  const metrics = {
    event: (event: string) => told.push(event),
    setRedisInUse: (isInUse: boolean) => told.push(isInUse ? "redis" : "postgres"),
  };
  index = new SwitchingIndex({
    redis: open.index,
    postgres,
    log: createLog("silent"),
    metrics: metrics as unknown as Metrics,
  });
});
afterEach(async () => {
  open.close();
  await redis.stop();
});

/** In its place a stand-in that always has the same task. */
const postgres: DueIndex = {
  take: async () => ({ ids: ["from postgres"], nextAt: null }),
  put: async () => undefined,
  move: async () => undefined,
  remove: async () => undefined,
  reset: async () => undefined,
};

const request = (at = now): TakeRequest => ({ queue, now: at, leaseUntil: at + 10_000, limit: 10 });

async function taken(at?: number): Promise<string> {
  return (await index.take(request(at))).ids.join();
}

async function fill(end = filledUntil): Promise<boolean> {
  const token = uuidv7();
  await index.beginFill(queue, token);
  return index.endFill(queue, token, end);
}

const isRefused = (work: Promise<unknown>) => expect(work).rejects.toBeInstanceOf(RedisUnavailableError);

/** Waits until the probe finds Redis back, as the filler does each second. */
const back = () => until(() => index.beginFill(queue, uuidv7()).then(() => true));

describe("due times", () => {
  test("come from Postgres until the queue was filled beyond now", async () => {
    await open.index.put([{ queue, id: "from redis", at: now }]);
    expect(await taken()).toBe("from postgres");
    await fill(now - 1);
    expect(await taken()).toBe("from postgres");
    await fill();
    expect(await taken()).toBe("from redis");
  });

  test("come from Postgres beyond what was filled, and in other queues", async () => {
    await open.index.put([{ queue, id: "from redis", at: now }]);
    await fill();
    expect(await taken(filledUntil)).toBe("from postgres");
    expect((await index.take({ ...request(), queue: "other" })).ids).toEqual(["from postgres"]);
    expect(await taken(filledUntil - 1)).toBe("from redis");
  });

  test("come from Postgres again where the set was found empty", async () => {
    await fill();
    index.distrust(queue);
    expect(await taken()).toBe("from postgres");
  });

  test("come from Postgres again where a filling was in vain", async () => {
    await fill();
    const token = uuidv7();
    await index.beginFill(queue, token);
    await open.raw.send("FLUSHALL");
    expect(await index.endFill(queue, token, filledUntil)).toBe(false);
    expect(await taken()).toBe("from postgres");
  });
});

describe.each([
  {
    what: "was killed",
    fail: async () => redis.kill("SIGKILL"),
    mend: () => redis.restart(),
  },
  {
    what: "is full",
    fail: () => open.raw.send("CONFIG", "SET", "maxmemory", "1mb"),
    mend: () => open.raw.send("CONFIG", "SET", "maxmemory", "0"),
  },
  {
    what: "is read-only",
    fail: () => open.raw.send("REPLICAOF", "127.0.0.1", "1"),
    mend: () => open.raw.send("REPLICAOF", "NO", "ONE"),
  },
])("a Redis that $what", ({ fail, mend }) => {
  test("is left for Postgres at the first take, and is used again once it is back and filled", async () => {
    await index.put([{ queue, id: "from redis", at: now }]);
    await fill();
    await fail();
    expect(await taken()).toBe("from postgres");
    expect(index.isRedisUp).toBe(false);

    await isRefused(index.put(entriesAt(queue, now)));
    await isRefused(index.beginFill(queue, uuidv7()));
    expect(await taken()).toBe("from postgres");

    await mend();
    await back();
    expect(index.isRedisUp).toBe(true);
    // It answers, and what it missed is not known yet.
    expect(await taken()).toBe("from postgres");
    await index.put([{ queue, id: "from redis", at: now }]);
    await fill();
    expect(await taken()).toBe("from redis");
    expect(told).toEqual([...inUse("redis"), ...inUse("postgres"), ...inUse("redis")]);
  });

  test("is told of nothing that moves or goes meanwhile, and nobody waits for it", async () => {
    await index.put([{ queue, id: "from redis", at: now }]);
    await fill();
    await fail();
    await taken();
    expect(await index.move(entriesAt(queue, now))).toBeUndefined();
    expect(await index.remove(entriesAt(queue, now))).toBeUndefined();
    expect(index.isRedisUp).toBe(false);
  });
});

test("a Redis that answers while this process stands still is not given up", async () => {
  await fill();
  const entered = index.put([{ queue, id: "from redis", at: now }]);
  // Sent by then, and the answer not read.
  await new Promise<void>((resolve) => setImmediate(resolve));
  const startedAt = Date.now();
  while (Date.now() - startedAt < 2 * callTimeoutMs);
  await entered;
  expect(told).toEqual(inUse("redis"));
  expect(await taken()).toBe("from redis");
});

describe("a Redis that does not answer", () => {
  test("is given up, and due times come from Postgres at once from then on", async () => {
    await index.put([{ queue, id: "from redis", at: now }]);
    await fill();
    redis.kill("SIGSTOP");
    const startedMs = performance.now();
    expect(await taken()).toBe("from postgres");
    expect(performance.now() - startedMs).toBeLessThan(givenUpMsMax);
    expect(index.isRedisUp).toBe(false);
    for (let takes = 0; takes < 20; takes += 1) expect(await taken()).toBe("from postgres");
    expect(performance.now() - startedMs).toBeLessThan(givenUpMsMax);

    redis.kill("SIGCONT");
    await back();
    await fill();
    // What was given up may have been done all the same: then the task is leased, and due again after that.
    expect(await taken(now + 10_000)).toBe("from redis");
  });

  test("refuses what is entered meanwhile after as long", async () => {
    await fill();
    redis.kill("SIGSTOP");
    const startedMs = performance.now();
    await isRefused(index.put(entriesAt(queue, now)));
    await isRefused(index.beginFill(queue, uuidv7()));
    expect(performance.now() - startedMs).toBeLessThan(2 * givenUpMsMax);
  });
});

function inUse(what: string): string[] {
  return ["index.switched", what];
}
