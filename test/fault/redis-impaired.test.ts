// Goal: a Redis that hangs, is full or takes no writes costs no more than one that is gone: nothing refused, lost, doubled or 2 s late (P10).
// Method: one after the other under load: SIGSTOP, maxmemory below what is in use, and the role of a replica; the histories compared.

import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { expect, test } from "vitest";
import { sized } from "../support/size.ts";
import type { Answered, Caller } from "./caller.ts";
import { seenRepeatedly } from "./history.ts";
import { makeWorld, ownRedis, testMsMax } from "./world.ts";

const impairedMs = sized({ usual: 2_000, long: 10_000 });
/** Long enough for Redis to be found again and the index filled. */
const betweenMs = 1_500;
const loadEveryMs = 20;
const queueCount = 3;
const latenessMsMax = 2_000;
/** Nobody who posts waits for Redis. */
const answerMsMax = 1_000;

test("tasks fire once and in time while Redis hangs, is full and takes no writes", { timeout: testMsMax }, async () => {
  const redis = await ownRedis();
  const { caller, receiver, start, expectPromisesKept } = await makeWorld({ redisUrl: redis.url });
  await start("api");
  await Promise.all([start("dispatcher"), start("dispatcher")]);

  let isLoaded = true;
  const load = postTasks(caller, receiver.url, () => isLoaded);
  const impairments: [() => unknown, () => unknown][] = [
    [() => redis.kill("SIGSTOP"), () => redis.kill("SIGCONT")],
    [
      () => command(redis.url, "CONFIG", "SET", "maxmemory", "1"),
      () => command(redis.url, "CONFIG", "SET", "maxmemory", "0"),
    ],
    [() => command(redis.url, "REPLICAOF", "127.0.0.1", "1"), () => command(redis.url, "REPLICAOF", "NO", "ONE")],
  ];
  for (const [impair, mend] of impairments) {
    await sleep(betweenMs);
    await impair();
    await sleep(impairedMs);
    await mend();
  }
  await sleep(betweenMs);
  isLoaded = false;
  const answers = await load;

  expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([201]));
  expect(Math.max(...answers.map((answer) => answer.tookMs))).toBeLessThan(answerMsMax);
  const histories = await expectPromisesKept({ latenessMsMax });
  expect(histories.tasks.filter((task) => task.state !== "succeeded")).toEqual([]);
  expect(seenRepeatedly(histories)).toEqual([]);
});

/** Tasks of several queues, due within 2 s. */
async function postTasks(caller: Caller, url: string, isLoaded: () => boolean): Promise<Answered[]> {
  const answers: Promise<Answered>[] = [];
  for (let i = 0; isLoaded(); i += 1) {
    answers.push(caller.accept({ url, queue: `queue-${i % queueCount}`, delay: `${(i * 131) % 2_000}ms` }));
    await sleep(loadEveryMs);
  }
  return Promise.all(answers);
}

async function command(url: string, ...words: string[]): Promise<void> {
  const client = createClient({ url });
  client.on("error", () => undefined);
  await client.connect();
  await client.sendCommand(words);
  client.destroy();
}
