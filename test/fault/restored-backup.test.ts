// Goal: a backup of Postgres that is a day old does not fire a day of orders at once, and loses none of them (P1, P3's hold after a restore).
// Method: Lapse stops, all times in its database are moved a day back as in an old backup, and it starts again, with LAPSE_CATCH_UP and without.

import { expect, test } from "vitest";
import { execute } from "../support/database.ts";
import { makeWorld, testMsMax, type World } from "./world.ts";

const taskCount = 300;
/** A drain that grows by 20 a second each second makes 90 calls in three seconds; two of them may pass before the first call. */
const rampedInOneSecond = 90;
const dayMs = 86_400_000;

/** Orders placed a day ago, each with half an hour to pay. */
async function makeOldBackup({ start, caller, databaseUrl }: World): Promise<void> {
  const service = await start("all");
  const accepted = await Promise.all(
    Array.from({ length: taskCount }, (_, n) =>
      caller.accept({ url: "http://127.0.0.1:1/", delay: "30m", key: `order-${n}` }),
    ),
  );
  expect(new Set(accepted.map(({ status }) => status))).toEqual(new Set([201]));
  service.kill("SIGTERM");
  await service.exited;
  const day = `interval '${dayMs} milliseconds'`;
  await execute(databaseUrl, `update lapse.heartbeat set beaten_at = beaten_at - ${day}`);
  await execute(
    databaseUrl,
    `update lapse.tasks set due_at = due_at - ${day}, next_attempt_at = next_attempt_at - ${day}`,
  );
}

/** The address of the receiver is known once the world stands. */
async function aimAtReceiver({ databaseUrl, receiver }: World): Promise<void> {
  await execute(databaseUrl, `update lapse.tasks set url = '${receiver.url}/'`);
}

test("what is overdue beyond LAPSE_CATCH_UP waits, counted, for a bulk resume", { timeout: testMsMax }, async () => {
  const world = await makeWorld();
  await makeOldBackup(world);
  await aimAtReceiver(world);
  const { caller, receiver, start, callAt, untilSeen } = world;
  const service = await start("all", { LAPSE_CATCH_UP: "12h" });
  callAt(service);
  const fresh = await caller.accept({ url: receiver.url, delay: "0s" });
  await untilSeen(1);
  expect(receiver.requests.map(({ headers }) => headers["webhook-id"])).toEqual([fresh.task?.id]);
  expect(JSON.parse((await caller.call("GET", "/readyz")).body)).toMatchObject({ held: taskCount });
  expect(
    service.lines.some((line) => line.includes('"catch_up.tasks_held"') && line.includes(`"tasks":${taskCount}`)),
  ).toBe(true);
  expect(JSON.parse((await caller.call("GET", "/v1/audit")).body)).toMatchObject({ balanced: true, overdueCount: 0 });

  const resumed = await caller.call("POST", "/v1/tasks/resume", { held: true });
  expect(resumed.status).toBe(200);
  expect((JSON.parse(resumed.body) as { resumed: string[] }).resumed).toHaveLength(taskCount);
  await untilSeen(taskCount + 1);
  expect(JSON.parse((await caller.call("GET", "/readyz")).body)).toMatchObject({ held: 0 });
});

test("without it they are fired, slowly at first, and what is new is on time beside them", {
  timeout: testMsMax,
}, async () => {
  const world = await makeWorld();
  await makeOldBackup(world);
  await aimAtReceiver(world);
  const { caller, receiver, start, callAt, untilSeen, runningMs } = world;
  const service = await start("all");
  callAt(service);
  await untilSeen(1);
  const fresh = await caller.accept({ url: `${receiver.url}/fresh`, delay: "1s" });
  await untilSeen(taskCount + 1);
  const old = receiver.requests.filter(({ path }) => path !== "/fresh").map(({ arrivedAt }) => arrivedAt);
  const [firstAt = 0] = old;
  expect(old.filter((arrivedAt) => arrivedAt - firstAt <= 1_000).length).toBeLessThanOrEqual(rampedInOneSecond);
  expect(new Set(receiver.requests.map(({ headers }) => headers["webhook-id"])).size).toBe(taskCount + 1);
  const freshAt = receiver.requests.find(({ path }) => path === "/fresh")?.arrivedAt ?? Number.NaN;
  expect(runningMs(fresh.task?.nextAttemptAt ?? 0, freshAt)).toBeLessThan(2_000);
  expect(service.lines.some((line) => line.includes('"catch_up.tasks_ramped"'))).toBe(true);
});
