// Goal: a stranger's open transaction delays nobody else's task, accept, cancel or outcome; what it held goes on once it ends (P3).
// Method: a transaction locks a waiting and a running task's rows and inserts a key, uncommitted, while others are accepted, cancelled,
// read, fired and settled, and many callers keep asking for what is locked; the histories compared.

import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { expect, onTestFinished, test } from "vitest";
import { sized } from "../support/size.ts";
import type { Answered, Caller } from "./caller.ts";
import { seenRepeatedly } from "./history.ts";
import { sleepUntil, until } from "./until.ts";
import { makeWorld, testMsMax } from "./world.ts";

const holdMs = sized({ usual: 10_000, long: 30_000 });
const acceptEveryMs = 20;
const cancelEveryMs = 100;
/** Callers who come back with what is held as soon as they were answered: as many with a POST, and with a DELETE. */
const stubbornCount = 20;
const latenessMsMax = 2_000;
/** A flush that meets a lock waits 100 ms for it, and writes the others then: half of them feel little of it. */
const othersMedianMsMax = 500;
/** A request that needs what is locked is answered with 503 after 2 s, not when the lock is released. */
const conflictMsMax = 0.9 * holdMs;

test("a stranger's transaction holds up only what it locks", { timeout: testMsMax }, async () => {
  const { caller, receiver, databaseUrl, start, untilSeen, expectPromisesKept, runningMs } = await makeWorld();
  await start("all");
  receiver.answer((request) => ({ delayMs: request.path === "/slow" ? 1_000 : 0 }));
  const url = receiver.url;
  const waiting = await caller.accept({ url, key: "waiting", delay: "1s" });
  const running = await caller.accept({ url: `${url}/slow`, key: "running" });
  await untilSeen(1);
  const stranger = await openTransaction(databaseUrl, [waiting, running], "taken");
  const releaseAt = Date.now() + holdMs;

  const isHeld = (): boolean => Date.now() < releaseAt;
  const stubborn = Array.from({ length: stubbornCount }, () => [
    askWhileHeld(() => caller.accept({ url, key: "taken", delay: "1s" }), isHeld),
    askWhileHeld(() => caller.cancel({ key: "running" }), isHeld),
  ]);
  const others = await Promise.all([
    acceptOthers(caller, url, isHeld),
    cancelOthers(caller, url, isHeld),
    askWhileHeld(() => caller.read(waiting.task?.id ?? ""), isHeld),
  ]);
  await sleepUntil(releaseAt);
  expect(receiver.requests.filter(({ headers }) => headers["webhook-id"] === waiting.task?.id)).toEqual([]);
  expect((await caller.read(running.task?.id ?? "")).task?.state).toBe("running");
  const releasedAt = Date.now();
  await stranger.query("rollback");

  const isWaitingSeen = () => receiver.requests.some(({ headers }) => headers["webhook-id"] === waiting.task?.id);
  await until(isWaitingSeen, 10 * latenessMsMax);
  expect(runningMs(releasedAt, Date.now())).toBeLessThan(latenessMsMax);
  const refused = (await Promise.all(stubborn.flat())).flat();
  expect(Math.max(...refused.map((answer) => answer.tookMs))).toBeLessThan(conflictMsMax);
  expect(statusesOf(refused.filter((answer) => answer.answeredAt < releaseAt))).toEqual([503]);
  expect(others.map(statusesOf)).toEqual([[201], [200], [200]]);
  for (const answers of others) expect(median(answers)).toBeLessThan(othersMedianMsMax);

  const heldBack = new Set([waiting.task?.id ?? ""]);
  const histories = await expectPromisesKept({ latenessMsMax, heldBack });
  expect(seenRepeatedly(histories)).toEqual([]);
  const settledLate = histories.attempts.filter(
    (attempt) => attempt.finishedAt - attempt.startedAt > latenessMsMax && attempt.taskId !== running.task?.id,
  );
  expect(settledLate).toEqual([]);
  const ofRunning = histories.attempts.find((attempt) => attempt.taskId === running.task?.id);
  expect(ofRunning).toMatchObject({ number: 1, outcome: "succeeded" });
  expect(ofRunning?.finishedAt).toBeGreaterThan(releasedAt - 1);
});

/** Locks the tasks' rows and inserts the key, and leaves it at that. */
async function openTransaction(databaseUrl: string, held: readonly Answered[], key: string): Promise<Client> {
  const stranger = new Client({ connectionString: databaseUrl });
  stranger.on("error", () => undefined);
  await stranger.connect();
  onTestFinished(() => stranger.end());
  await stranger.query("begin");
  const ids = held.map((answer) => answer.task?.id);
  const locked = await stranger.query("select from lapse.tasks where id = any($1::uuid[]) for update", [ids]);
  expect(locked.rowCount).toBe(held.length);
  await stranger.query(
    `insert into lapse.tasks (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at, url)
     values (gen_random_uuid(), 'default', $1, 'scheduled', now(), now(), now(), now(), 'http://127.0.0.1:1')`,
    [key],
  );
  return stranger;
}

async function askWhileHeld(ask: () => Promise<Answered>, isHeld: () => boolean): Promise<Answered[]> {
  const answers: Answered[] = [];
  while (isHeld()) answers.push(await ask());
  return answers;
}

/** Tasks with and without keys, due within a second. */
async function acceptOthers(caller: Caller, url: string, isHeld: () => boolean): Promise<Answered[]> {
  const answers: Promise<Answered>[] = [];
  for (let i = 0; isHeld(); i += 1) {
    const key = i % 2 === 0 ? { key: `other-${i}` } : {};
    answers.push(caller.accept({ url, delay: `${(i * 37) % 1_000}ms`, ...key }));
    await sleep(acceptEveryMs);
  }
  return Promise.all(answers);
}

async function cancelOthers(caller: Caller, url: string, isHeld: () => boolean): Promise<Answered[]> {
  const answers: Answered[] = [];
  for (let i = 0; isHeld(); i += 1) {
    const key = `unwanted-${i}`;
    await caller.accept({ url, key, delay: "1h" });
    answers.push(await caller.cancel({ key }));
    await sleep(cancelEveryMs);
  }
  return answers;
}

function statusesOf(answers: readonly Answered[]): (number | null)[] {
  return [...new Set(answers.map((answer) => answer.status))];
}

function median(answers: readonly Answered[]): number {
  const sorted = answers.map((answer) => answer.tookMs).toSorted((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
