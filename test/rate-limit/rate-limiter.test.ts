// Owns the facts about the rate limit's counting: in the process, in Redis for several processes, and where Redis comes and goes.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RedisConnection } from "../../src/due-index/redis-connection.ts";
import { RateLimiter, type RunScript } from "../../src/rate-limit/rate-limiter.ts";
import { type Bucket, takeToken } from "../../src/rate-limit/token-bucket.ts";
import { createLog } from "../../src/runtime/log.ts";
import { unique, until } from "../support/flow.ts";
import { startRedisCluster, type TestRedisCluster } from "../support/redis-cluster.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";

/** 2026-11-21T02:00:00Z */
const startMs = 1_795_226_400_000;

let redis: TestRedis;
let cluster: TestRedisCluster;
const connections: RedisConnection[] = [];

async function connect(urls: readonly string[]): Promise<RunScript> {
  const connection = await RedisConnection.open({
    urls,
    log: createLog("silent"),
    channel: "none",
    onWake: () => undefined,
  });
  connections.push(connection);
  const run: RunScript = (script, key, args) =>
    connection.call((client) => client.eval(script, { keys: [key], arguments: args }));
  const answers = (): Promise<boolean> =>
    run("return 1", "{any}", []).then(
      () => true,
      () => false,
    );
  await until(answers, (isUp) => isUp);
  return run;
}

beforeAll(async () => {
  [redis, cluster] = await Promise.all([startRedis(), startRedisCluster()]);
});
afterAll(async () => {
  for (const connection of connections) connection.close();
  await Promise.all([redis.stop(), cluster.stop()]);
});

/** A limiter whose time stands until the test moves it. */
function limiterOf(perSecond: number, run: RunScript | null, prefix = `${unique("test")}:`) {
  const time = { now: startMs };
  const limiter = new RateLimiter({ perSecond, redis: run === null ? null : { run, prefix }, now: () => time.now });
  return { limiter, time };
}

async function taken(limiter: RateLimiter, name: string, count: number): Promise<number> {
  let within = 0;
  for (let i = 0; i < count; i += 1) if ((await limiter.take(name)).isWithin) within += 1;
  return within;
}

interface Where {
  readonly where: string;
  readonly urlsOf: () => readonly string[] | null;
}

describe.each<Where>([
  { where: "the process", urlsOf: () => null },
  { where: "Redis", urlsOf: () => [redis.url] },
  { where: "a Redis Cluster", urlsOf: () => cluster.urls },
])("counted in $where", ({ urlsOf }) => {
  let run: RunScript | null;
  beforeAll(async () => {
    const urls = urlsOf();
    run = urls === null ? null : await connect(urls);
  });

  test.each([1, 3, 7, 100])(
    "of %i a second as many are within at one instant, and one more is not",
    async (perSecond) => {
      const { limiter } = limiterOf(perSecond, run);
      for (let left = perSecond - 1; left >= 0; left -= 1)
        expect(await limiter.take("a")).toEqual({ isWithin: true, perSecond, left });
      expect(await limiter.take("a")).toEqual({ isWithin: false, perSecond, left: 0 });
    },
  );

  test("each name has its own", async () => {
    const { limiter } = limiterOf(2, run);
    expect([await taken(limiter, "a", 3), await taken(limiter, "b", 3)]).toEqual([2, 2]);
  });

  test("time gives back what it should, up to all and no further", async () => {
    const { limiter, time } = limiterOf(4, run);
    expect(await taken(limiter, "a", 5)).toBe(4);
    time.now += 249;
    expect(await taken(limiter, "a", 1)).toBe(0);
    time.now += 1;
    expect(await taken(limiter, "a", 2)).toBe(1);
    time.now += 500;
    expect(await taken(limiter, "a", 3)).toBe(2);
    time.now += 60_000;
    expect(await taken(limiter, "a", 5)).toBe(4);
  });

  test("a clock that is behind by less than a second gives nothing back twice", async () => {
    const { limiter, time } = limiterOf(2, run);
    expect(await taken(limiter, "a", 2)).toBe(2);
    time.now -= 999;
    expect(await taken(limiter, "a", 1)).toBe(0);
    time.now += 999;
    expect(await taken(limiter, "a", 1)).toBe(0);
  });

  test("a clock that was set back locks nobody out", async () => {
    const { limiter, time } = limiterOf(2, run);
    expect(await taken(limiter, "a", 2)).toBe(2);
    time.now -= 1_000;
    expect(await taken(limiter, "a", 3)).toBe(2);
    time.now += 500;
    expect(await taken(limiter, "a", 2)).toBe(1);
  });
});

test("in no second do more than twice the limit start, and who was quiet for one is not refused", () => {
  const gaps = fc.array(fc.nat({ max: 2_000 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), gaps, (perSecond, waits) => {
      let bucket: Bucket | null = null;
      let now = startMs;
      const starts: number[] = [];
      for (const wait of waits) {
        now += wait;
        const { isTaken, bucket: after } = takeToken(bucket, perSecond, now);
        bucket = after;
        if (isTaken) starts.push(now);
        else expect(starts.filter((at) => at > now - 1_000).length).toBeGreaterThan(0);
      }
      for (const from of starts)
        expect(starts.filter((at) => at >= from && at < from + 1_000).length).toBeLessThanOrEqual(2 * perSecond);
    }),
  );
});

test("the script counts as the process does, whatever the order of requests", async () => {
  const run = await connect([redis.url]);
  const random = fc.sample(fc.nat({ max: 400 }), { numRuns: 200, seed: 7 });
  const [shared, own] = [limiterOf(5, run), limiterOf(5, null)];
  for (const waitMs of random) {
    for (const { time } of [shared, own]) time.now += waitMs;
    expect(await shared.limiter.take("a")).toEqual(await own.limiter.take("a"));
  }
});

test("several processes share one count", async () => {
  const prefix = `${unique("test")}:`;
  const runs = await Promise.all([connect([redis.url]), connect([redis.url]), connect([redis.url])]);
  const limiters = runs.map((run) => limiterOf(10, run, prefix).limiter);
  const within = await Promise.all(limiters.map((limiter) => taken(limiter, "a", 10)));
  expect(within.reduce((sum, count) => sum + count, 0)).toBe(10);
});

test("a bucket that is full again leaves nothing in Redis", async () => {
  const run = await connect([redis.url]);
  const prefix = `${unique("test")}:`;
  await limiterOf(1, run, prefix).limiter.take("a");
  const leftMs = Number(await run("return redis.call('PTTL', KEYS[1])", `${prefix}{rate:a}`, []));
  expect(leftMs).toBeGreaterThan(0);
  expect(leftMs).toBeLessThanOrEqual(1_001);
});

describe("where Redis is away", () => {
  const away = new Error("away");

  test("the process counts for itself, and asks Redis once a second", async () => {
    let asked = 0;
    const { limiter, time } = limiterOf(3, () => {
      asked += 1;
      return Promise.reject(away);
    });
    expect([await taken(limiter, "a", 4), asked]).toEqual([3, 1]);
    time.now += 1_000;
    await Promise.all([limiter.take("a"), limiter.take("a")]);
    expect(asked).toBe(2);
  });

  test("nobody but who asks it waits for Redis's silence", async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    let asked = 0;
    const { limiter, time } = limiterOf(3, () => {
      asked += 1;
      return asked === 1 ? Promise.reject(away) : promise;
    });
    await limiter.take("a");
    time.now += 1_000;
    const asking = limiter.take("a");
    expect((await limiter.take("a")).isWithin).toBe(true);
    expect(asked).toBe(2);
    reject(away);
    expect((await asking).isWithin).toBe(true);
  });

  test("it counts there again once it answers", async () => {
    let isUp = false;
    const real = await connect([redis.url]);
    const { limiter, time } = limiterOf(2, (...call) => (isUp ? real(...call) : Promise.reject(away)));
    expect(await taken(limiter, "a", 3)).toBe(2);
    isUp = true;
    time.now += 1_000;
    expect(await taken(limiter, "b", 3)).toBe(2);
  });
});
