// Goal: SIGTERM drains: calls in flight end and their outcomes are written, nothing is fired again, lost or doubled, and the exit code is 0.
// Method: SIGTERM while slow calls are in flight; the histories compared. (plans.test.ts restarts one process after the other.)

import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { isLong } from "../support/size.ts";
import { seenRepeatedly } from "./history.ts";
import type { FailedDrain } from "./member.ts";
import { Rig } from "./rig.ts";
import { until } from "./until.ts";
import { makeWorld, ownPostgres, testMsMax } from "./world.ts";

const timeout = testMsMax;
const drained = { code: 0, signal: null };
const inFlightCount = 50;
const waitingCount = 50;
const answerMs = 300;
const bounds = { latenessMsMax: 2_000 };
/** After this calls that are still open are aborted. */
const drainMs = 30_000;

test("calls in flight end during a drain, may confirm meanwhile, and are not made again", { timeout }, async () => {
  const { caller, receiver, start, callAt, untilSeen, expectPromisesKept } = await makeWorld();
  const draining = await start("all");
  const isDraining = Promise.withResolvers<void>();
  const confirms: (number | null)[] = [];
  receiver.answer(async ({ path, headers }) => {
    if (path !== "/slow") return {};
    await isDraining.promise;
    const attempt = Number(headers["lapse-attempt"]);
    confirms.push(
      (await caller.call("POST", `/v1/tasks/${String(headers["webhook-id"])}/confirm`, { attempt })).status,
    );
    return {};
  });
  const slow = Array.from({ length: inFlightCount }, () => caller.accept({ url: `${receiver.url}/slow` }));
  await untilSeen(inFlightCount);
  // Due while nobody dispatches: fired by the process that comes next.
  const waiting = Array.from({ length: waitingCount }, (_, i) =>
    caller.accept({ url: receiver.url, delay: `${500 + i}ms` }),
  );
  await Promise.all([...slow, ...waiting]);

  const from = Date.now();
  draining.kill("SIGTERM");
  await until(async () => (await caller.call("GET", "/readyz")).status !== 200, 5_000, "it says that it is draining");
  await sleep(answerMs);
  isDraining.resolve();
  expect(await draining.exited).toEqual(drained);
  callAt(await start("all"));
  const to = Date.now();

  const histories = await expectPromisesKept({ ...bounds, outages: [{ from, to }] });
  expect(confirms).toEqual(Array.from({ length: inFlightCount }, () => 200));
  expect(histories.tasks.filter((task) => task.state !== "succeeded" || task.attempts !== 1)).toEqual([]);
  expect(seenRepeatedly(histories)).toEqual([]);
});

test.runIf(isLong)("a call still open after 30 s is aborted, recorded lost, and due at once", { timeout }, async () => {
  const { caller, receiver, start, callAt, untilSeen, expectPromisesKept } = await makeWorld();
  const draining = await start("all");
  receiver.answer(({ headers }) => ({ hang: headers["lapse-attempt"] === "1" }));
  const tried = await caller.accept({ url: receiver.url, timeout: "10m" });
  const once = await caller.accept({ url: receiver.url, timeout: "10m", delivery: "at-most-once" });
  await untilSeen(2);
  const from = performance.now();
  draining.kill("SIGTERM");
  expect(await draining.exited).toEqual(drained);
  expect(performance.now() - from).toBeGreaterThan(drainMs);
  callAt(await start("all"));
  const { attempts, tasks } = await expectPromisesKept(bounds);
  const outcomesOf = (id = ""): string[] =>
    attempts.filter((attempt) => attempt.taskId === id).map(({ number, outcome }) => `${number} ${outcome}`);
  expect(outcomesOf(tried.task?.id).toSorted()).toEqual(["1 lost", "2 succeeded"]);
  expect(outcomesOf(once.task?.id)).toEqual(["1 lost"]);
  expect(tasks.find((task) => task.id === once.task?.id)?.state).toBe("failed");
});

test.runIf(isLong)("with Postgres away outcomes are tried for 30 s, then the exit code is 1", { timeout }, async () => {
  const postgres = await ownPostgres();
  const { caller, receiver, start, callAt, untilSeen, expectPromisesKept } = await makeWorld({ postgres });
  const draining = await start("all");
  receiver.answer(({ headers }) => ({ delayMs: headers["lapse-attempt"] === "1" ? 1_000 : 0 }));
  await caller.accept({ url: receiver.url });
  await untilSeen(1);
  postgres.kill("SIGINT");
  draining.kill("SIGTERM");
  expect(await draining.exited).toEqual({ code: 1, signal: null });
  await postgres.restart();
  callAt(await start("all"));
  await expectPromisesKept({ latenessMsMax: null });
});

test("connections that are half-open do not keep a process from ending", { timeout }, async () => {
  expect(await failedDrains("half-open", 1_500)).toEqual([]);
});

test.runIf(isLong)(
  "a network to Postgres that is silent does not keep a process from ending",
  { timeout },
  async () => {
    expect(await failedDrains("stalled", timeout)).toEqual([]);
  },
);

/** A drain under a network that is mended after a while. */
async function failedDrains(kind: "half-open" | "stalled", awayMs: number): Promise<readonly FailedDrain[]> {
  const rig = await Rig.start({ names: ["api-1", "dispatcher-1"] });
  onTestFinished(() => rig.close());
  const member = rig.member("dispatcher-1");
  member.postgres.set({ kind });
  const draining = member.drain();
  await Promise.race([draining, sleep(awayMs)]);
  member.postgres.set({ kind: "none" });
  await draining;
  return member.failedDrains;
}
