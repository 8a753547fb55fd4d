// Goal: in no window of length `per` do more attempts of a queue start than its limit says, over all dispatchers, whoever dies.
// Method: 500 due tasks and a limit of 50 a second over three dispatchers; every window counted by the rows' own starts. Then the same with
// Redis killed and a dispatcher killed midway, while every third call is made twice.

import { expect, test } from "vitest";
import { execute } from "../support/database.ts";
import { rowsOf } from "./held.ts";
import { fullestWindow } from "./rate-windows.ts";
import { until } from "./until.ts";
import { makeWorld, ownRedis, testMsMax, type World } from "./world.ts";

const limit = 50;
const perMs = 1_000;
const taskCount = 500;
const queue = "rated";
const startsText = `select extract(epoch from started_at)::float8 * 1000 as at from lapse.attempts
  union all select extract(epoch from attempt_started_at)::float8 * 1000 from lapse.tasks where state = 'running' order by 1`;

async function startsOf({ databaseUrl }: World): Promise<number[]> {
  return (await rowsOf<{ at: number }>(databaseUrl, startsText)).map(({ at }) => at);
}

async function startDispatchers({ databaseUrl, start }: World) {
  await execute(
    databaseUrl,
    `insert into lapse.queues (name, concurrency, rate_limit_count, rate_limit_per_ms) values ('${queue}', 300, ${limit}, ${perMs})`,
  );
  await start("api");
  return Promise.all([start("dispatcher"), start("dispatcher"), start("dispatcher")]);
}

const accept = ({ caller, receiver }: World, fields: object = {}) =>
  Promise.all(Array.from({ length: taskCount }, () => caller.accept({ url: receiver.url, queue, ...fields })));

test("no window has more starts than the limit", { timeout: testMsMax }, async () => {
  const world = await makeWorld();
  await startDispatchers(world);
  await accept(world);
  await world.untilSeen(taskCount);
  const starts = await startsOf(world);
  expect(starts).toHaveLength(taskCount);
  expect(fullestWindow(starts, perMs).starts).toBeLessThanOrEqual(limit);
});

test("nor while Redis and a dispatcher are killed, retries counted", { timeout: testMsMax }, async () => {
  const redis = await ownRedis();
  const world = await makeWorld({ redisUrl: redis.url });
  const [doomed, ...others] = await startDispatchers(world);
  // Every third call is tried again; the last that the doomed one makes hang, so that they are taken over.
  let isHanging = false;
  world.receiver.answer((request) => {
    if (request.headers["lapse-attempt"] !== "1") return {};
    return isHanging ? { hang: true } : { status: world.receiver.requests.length % 3 === 0 ? 500 : 200 };
  });
  await accept(world, { retry: { backoff: "fixed", minDelay: "10ms", maxDelay: "10ms", jitter: 0 }, timeout: "5m" });
  await world.untilSeen(3 * limit);
  await redis.stop();
  await world.untilSeen(5 * limit);
  isHanging = true;
  await world.untilSeen(6 * limit);
  doomed.kill("SIGKILL");
  await doomed.exited;
  isHanging = false;
  // What hangs at the living would hang on: their calls are cut.
  await Promise.all(others.map((process) => process.end()));
  await Promise.all([world.start("dispatcher"), world.start("dispatcher")]);
  await until(
    async () => (await rowsOf(world.databaseUrl, "select from lapse.tasks where state <> 'succeeded'")).length === 0,
    60_000,
    "all tasks have succeeded",
  );
  const starts = await startsOf(world);
  expect(starts.length).toBeGreaterThan(taskCount + (5 * limit) / 3);
  expect(fullestWindow(starts, perMs).starts).toBeLessThanOrEqual(limit);
});
