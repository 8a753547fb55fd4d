// Goal: the hot flows hold on every engine: PostgreSQL 14 and 18, a Redis Cluster, and no Redis at all, with one process and with several.
// Method: the same flows through real processes on each; on PostgreSQL 14 with the takeover from a killed dispatcher; the histories compared.

import { onTestFinished, test, expect } from "vitest";
import { startRedisCluster } from "../support/redis-cluster.ts";
import type { Histories } from "./history.ts";
import { runHotFlows } from "./hot-flows.ts";
import { makeWorld, ownPostgres, testMsMax, type World } from "./world.ts";

const timeout = testMsMax;
const bounds = { latenessMsMax: 2_000 };
/** Where nobody tells a dispatcher of new tasks it looks each 100 ms: half of that on average, and a slow machine's answer. */
const pollMedianMsMax = 200;
const polledCount = 50;

test("the hot flows and a takeover pass on PostgreSQL 14", { timeout }, async () => {
  const world = await makeWorld({ postgres: await ownPostgres(14) });
  await world.start("api");
  const doomed = await world.start("dispatcher");
  await runHotFlows(world);
  const before = world.receiver.requests.length;
  world.receiver.answer(({ headers }) => ({ hang: headers["lapse-attempt"] === "1" }));
  const hanging = await world.caller.accept({ url: world.receiver.url, timeout: "5m" });
  await world.untilSeen(before + 1);
  await world.start("dispatcher");
  doomed.kill("SIGKILL");
  const { attempts } = await world.expectPromisesKept(bounds);
  const outcomes = attempts.filter((attempt) => attempt.taskId === hanging.task?.id).map(({ outcome }) => outcome);
  expect(outcomes.toSorted()).toEqual(["lost", "succeeded"]);
});

test("the hot flows pass on PostgreSQL 18 with a Redis Cluster of three nodes", { timeout }, async () => {
  const cluster = await startRedisCluster();
  onTestFinished(() => cluster.stop());
  const world = await makeWorld({ redisUrl: cluster.urls.join(",") });
  await Promise.all([world.start("api"), world.start("dispatcher")]);
  await runHotFlows(world);
  await world.expectPromisesKept(bounds);
  expect(await redisCheck(world)).toBe("ok");
});

test("the hot flows pass without Redis in one process", { timeout }, async () => {
  const world = await makeWorld({ redisUrl: { unset: "without redis-server" } });
  await world.start("all");
  await runHotFlows(world);
  await world.expectPromisesKept(bounds);
  expect(await redisCheck(world)).toBe("not used");
});

test("without a Redis that they share, several processes find tasks due at once by the poll", { timeout }, async () => {
  const world = await makeWorld({ redisUrl: { unset: "with redis-server" } });
  await Promise.all([world.start("api"), world.start("dispatcher")]);
  await runHotFlows(world);
  const before = world.receiver.requests.length;
  for (let i = 1; i <= polledCount; i += 1) {
    await world.caller.accept({ url: world.receiver.url });
    await world.untilSeen(before + i);
  }
  const histories = await world.expectPromisesKept(bounds);
  expect(median(lateness(histories).slice(-polledCount))).toBeLessThan(pollMedianMsMax);
});

async function redisCheck({ caller }: World): Promise<string> {
  const { checks } = JSON.parse((await caller.call("GET", "/readyz")).body) as { checks: { redis: string } };
  return checks.redis;
}

function lateness({ seen }: Histories): number[] {
  return seen.map((request) => request.arrivedAt - request.dueAt);
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}
