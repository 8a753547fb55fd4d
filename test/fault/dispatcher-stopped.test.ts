// Goal: a dispatcher that was stopped for longer than its lease sends nothing it had claimed, writes no outcome of an attempt that was taken
// over, and goes on under another identity (P5).
// Method: SIGSTOP while calls connect, hang and are claimed, SIGCONT once another dispatcher has taken them over; the histories compared.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { LapseProcess } from "../support/process.ts";
import { sized } from "../support/size.ts";
import type { Answered } from "./caller.ts";
import { startGate, trustEnv } from "./gate.ts";
import { rowsOf } from "./held.ts";
import type { Histories } from "./history.ts";
import { sleepUntil, until } from "./until.ts";
import { makeWorld, testMsMax, type World } from "./world.ts";

const connectingCount = 20;
const hangingCount = 20;
/** Tasks due around the stop, so that it comes while the dispatcher claims. */
const passingCount = sized({ usual: 200, long: 2_000 });
const passingEveryMs = 10;
const newQueueEveryMs = 15;
const stopTriesMax = 100;
const stopLookMs = 20;
const takeoverMsMax = 15_000;
const latenessMsMax = 2_000;

test("a dispatcher stopped beyond its lease neither sends nor settles what was taken over", {
  timeout: testMsMax,
}, async () => {
  const world = await makeWorld();
  const { caller, receiver, start, expectPromisesKept, runningMs } = world;
  const gate = await startGate(receiver.url);
  const released = Promise.withResolvers<void>();
  receiver.answer(async ({ path, headers }) => {
    if (path === "/hang" && headers["lapse-attempt"] === "1") await released.promise;
    return {};
  });
  await start("api");
  const stopped = await start("dispatcher", trustEnv());
  const connecting = await acceptMany(world, connectingCount, {
    url: `${gate.url}/connecting`,
    // Two silent origins would share a queue's slots.
    queue: "connecting",
    timeout: "5m",
  });
  const hanging = await acceptMany(world, hangingCount, { url: `${receiver.url}/hang`, timeout: "5m" });
  await until(() => gate.waitingCount === connectingCount && receiver.requests.length === hangingCount, 10_000);
  const taker = await start("dispatcher", trustEnv());
  await untilIdentities(world, 2);
  const before = await identities(world);

  const base = Date.now();
  const passing = Array.from({ length: passingCount }, (_, i) =>
    caller.accept({ url: receiver.url, delay: `${i * passingEveryMs}ms` }),
  );
  await sleepUntil(base + (passingCount * passingEveryMs) / 2);
  stopped.kill("SIGSTOP");
  const stoppedAt = Date.now();
  await until(() => allTakenOver(world, [...connecting, ...hanging]), 2 * takeoverMsMax, "all is taken over");
  expect(runningMs(stoppedAt, Date.now())).toBeLessThanOrEqual(takeoverMsMax);
  // Whatever it waited for is there when it wakes: connections that stand, and answers.
  gate.open();
  released.resolve();
  await until(() => seenCount(world, "/connecting") === connectingCount, 10_000);
  stopped.kill("SIGCONT");

  await untilIdentities(world, 2);
  expect(await identities(world)).not.toEqual(before);
  await until(async () => (await eventCount(stopped.url, "send.withheld")) >= connectingCount, 10_000);
  await until(async () => (await eventCount(stopped.url, "settle.superseded")) >= hangingCount, 10_000);
  await taker.end();
  const last = await caller.accept({ url: receiver.url });
  await Promise.all(passing);

  const histories = await expectPromisesKept({ latenessMsMax });
  expect(histories.tasks.filter((task) => task.state !== "succeeded")).toEqual([]);
  for (const answer of connecting) expect(numbersSeen(histories, answer)).toEqual([2]);
  for (const answer of hanging) expect(numbersSeen(histories, answer)).toEqual([1, 2]);
  expect(numbersSeen(histories, last)).toEqual([1]);
  const outcomes = histories.attempts
    .filter((attempt) => [...connecting, ...hanging].some((answer) => answer.task?.id === attempt.taskId))
    .map(({ number, outcome }) => `${number} ${outcome}`);
  expect(new Set(outcomes)).toEqual(new Set(["1 lost", "2 succeeded"]));
});

test("a dispatcher stopped inside a transaction of its own holds up no queue for 2 s", {
  timeout: testMsMax,
}, async () => {
  const world = await makeWorld();
  const { start, expectPromisesKept } = world;
  await start("api");
  const [stopped] = await Promise.all([start("dispatcher"), start("dispatcher")]);
  await untilIdentities(world, 2);
  let isLoaded = true;
  const load = postInNewQueues(world, () => isLoaded);
  await sleep(newQueueEveryMs * 20);
  await stopInTransaction(stopped, world);
  await sleep(2 * latenessMsMax);
  isLoaded = false;
  await load;
  const { tasks } = await expectPromisesKept({ latenessMsMax });
  expect(tasks.filter((task) => task.state !== "succeeded")).toEqual([]);
});

/** A queue a task: its slots must be had before the task can be claimed. */
async function postInNewQueues({ caller, receiver }: World, isLoaded: () => boolean): Promise<void> {
  const answers: Promise<Answered>[] = [];
  for (let i = 0; isLoaded(); i += 1) {
    answers.push(caller.accept({ url: receiver.url, queue: `queue-${i}`, delay: "100ms" }));
    await sleep(newQueueEveryMs);
  }
  await Promise.all(answers);
}

/** Stops it where Postgres waits for it in a transaction with a share written; after many tries wherever it is. */
async function stopInTransaction(dispatcher: LapseProcess, { databaseUrl }: World): Promise<void> {
  const text = `select from pg_stat_activity where datname = current_database() and state = 'idle in transaction'
    and query like '%lapse.shares%' and clock_timestamp() - state_change > interval '15 milliseconds'`;
  for (let tries = 0; tries < stopTriesMax; tries += 1) {
    dispatcher.kill("SIGSTOP");
    // Whatever it had sent is answered by now.
    await sleep(stopLookMs);
    if ((await rowsOf(databaseUrl, text)).length > 0) return;
    dispatcher.kill("SIGCONT");
    await sleep(stopLookMs * Math.random());
  }
  dispatcher.kill("SIGSTOP");
}

async function acceptMany({ caller }: World, count: number, task: Record<string, unknown>): Promise<Answered[]> {
  return Promise.all(Array.from({ length: count }, () => caller.accept(task)));
}

async function identities({ databaseUrl }: World): Promise<string[]> {
  const text = "select id from lapse.dispatchers where lease_until > clock_timestamp() and dead_at is null order by id";
  return (await rowsOf<{ id: string }>(databaseUrl, text)).map((row) => row.id);
}

async function untilIdentities(world: World, count: number): Promise<void> {
  await until(async () => (await identities(world)).length === count, 10_000, `${count} dispatchers hold a lease`);
}

async function allTakenOver({ databaseUrl }: World, answers: readonly Answered[]): Promise<boolean> {
  const ids = answers.map((answer) => answer.task?.id);
  const text = "select count(*)::int as taken from lapse.tasks where id = any($1::uuid[]) and attempts = 2";
  return (await rowsOf<{ taken: number }>(databaseUrl, text, [ids]))[0]?.taken === ids.length;
}

function seenCount({ receiver }: World, path: string): number {
  return receiver.requests.filter((request) => request.path === path).length;
}

function numbersSeen({ seen }: Histories, answer: Answered): number[] {
  return seen.filter((request) => request.id === answer.task?.id).map((request) => request.attempt);
}

/** What a process counted of what went otherwise than on the usual way. */
async function eventCount(url: string, event: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`lapse_internal_events_total\\{event="${event}"\\} (\\d+)`).exec(metrics)?.[1] ?? 0);
}
