// Goal: what a dispatcher had in flight when it died is fired again by another within 15 s, as the same webhook's next attempt (P3, P5, P7).
// Method: kill -9 of one of two dispatchers while its calls hang on a receiver that never answers a first attempt; the histories compared.

import { expect, test } from "vitest";
import { sized } from "../support/size.ts";
import { rowsOf } from "./held.ts";
import { until } from "./until.ts";
import { makeWorld, testMsMax, type World } from "./world.ts";

const hangingCount = 50;
/** A queue's slots bound its calls in flight, so that more of them need more queues. */
const queueCount = sized({ usual: 1, long: 10 });
const taskCount = hangingCount * queueCount;
const takeoverMsMax = 15_000;
const latenessMsMax = 2_000;

test("another dispatcher fires again what a killed one had in flight", { timeout: testMsMax }, async () => {
  const world = await makeWorld();
  const { caller, receiver, start, untilSeen, expectPromisesKept, runningMs } = world;
  receiver.answer((request) => ({ hang: request.headers["lapse-attempt"] === "1" }));
  await start("api");
  const doomed = await start("dispatcher");
  const task = (i: number) => ({ url: receiver.url, queue: `queue-${i % queueCount}`, timeout: "5m" });
  const posted = await Promise.all(Array.from({ length: taskCount }, (_, i) => caller.accept(task(i))));
  const once = await caller.accept({ ...task(0), delivery: "at-most-once" });
  const only = await caller.accept({ ...task(0), retry: { maxAttempts: 1 } });
  const unwanted = await caller.accept(task(0));
  await untilSeen(taskCount + 3);
  expect((await caller.cancel({ id: unwanted.task?.id ?? "" })).status).toBe(202);
  await start("dispatcher");
  await untilDispatchers(world, 2);

  doomed.kill("SIGKILL");
  await doomed.exited;
  const killedAt = Date.now();
  await untilSeen(2 * taskCount + 3);
  const again = receiver.requests.filter((request) => request.headers["lapse-attempt"] !== "1");
  const lastAt = Math.max(...again.map((request) => request.arrivedAt));
  expect(runningMs(killedAt, lastAt)).toBeLessThanOrEqual(takeoverMsMax);

  const histories = await expectPromisesKept({ latenessMsMax });
  const ids = posted.map((answer) => answer.task?.id);
  expect(new Set(again.map((request) => request.headers["webhook-id"]))).toEqual(new Set(ids));
  expect(again).toHaveLength(taskCount);
  const ofTask = (answer: (typeof posted)[number] | undefined): string[] =>
    histories.attempts
      .filter((attempt) => attempt.taskId === answer?.task?.id)
      .toSorted((one, other) => one.number - other.number)
      .map(({ number, outcome }) => `${number} ${outcome}`);
  for (const answer of posted) expect(ofTask(answer)).toEqual(["1 lost", "2 succeeded"]);
  for (const answer of [once, only, unwanted]) expect(ofTask(answer)).toEqual(["1 lost"]);
  const states = [once, only, unwanted].map(
    (answer) => histories.tasks.find(({ id }) => id === answer.task?.id)?.state,
  );
  expect(states).toEqual(["failed", "failed", "cancelled"]);
});

/** Waits until that many dispatchers hold a lease. */
async function untilDispatchers({ databaseUrl }: World, count: number): Promise<void> {
  const text = "select count(*)::int as held from lapse.dispatchers where lease_until > clock_timestamp()";
  const held = async (): Promise<number | undefined> => (await rowsOf<{ held: number }>(databaseUrl, text))[0]?.held;
  await until(async () => (await held()) === count, 10_000, `${count} dispatchers hold a lease`);
}
