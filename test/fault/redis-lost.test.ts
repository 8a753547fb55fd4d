// Goal: Redis may be wiped, and be gone, at any moment: nothing is refused, lost, early, doubled, or more than 2 s late (P10, P3).
// Method: FLUSHALL during a run of tasks due over 10 s, then redis-server killed for 5 s and started empty; the histories compared.

import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { expect, test } from "vitest";
import { sized } from "../support/size.ts";
import { seenRepeatedly } from "./history.ts";
import { sleepUntil } from "./until.ts";
import { makeWorld, ownRedis, testMsMax } from "./world.ts";

const taskCount = sized({ usual: 1_000, long: 10_000 });
const runMs = sized({ usual: 10_000, long: 30_000 });
const awayMs = 5_000;
const latenessMsMax = 2_000;

test("tasks fire once and in time while Redis is flushed, killed and started empty", {
  timeout: testMsMax,
}, async () => {
  const redis = await ownRedis();
  const { caller, receiver, untilSeen, start, expectPromisesKept } = await makeWorld({ redisUrl: redis.url });
  await start("all");

  const breaking = async (): Promise<void> => {
    await untilSeen(taskCount * 0.15);
    await flush(redis.url);
    await untilSeen(taskCount * 0.3);
    redis.kill("SIGKILL");
    await sleep(awayMs);
    await redis.restart();
  };
  const [answers] = await Promise.all([postTasks(caller.accept, receiver.url), breaking()]);
  await untilSeen(taskCount);

  expect(answers.filter((answer) => answer.status !== 201)).toEqual([]);
  const histories = await expectPromisesKept({ latenessMsMax });
  expect(histories.tasks.filter((task) => task.state !== "succeeded")).toEqual([]);
  expect(seenRepeatedly(histories)).toEqual([]);
});

/** Half of the tasks are posted ahead, due over the whole run; the others one after the other during it, due within 2 s. */
async function postTasks<Answer>(
  accept: (task: Record<string, unknown>) => Promise<Answer>,
  url: string,
): Promise<Answer[]> {
  const half = taskCount / 2;
  const everyMs = runMs / half;
  const ahead = Array.from({ length: half }, (_, i) => accept({ url, delay: `${1_000 + Math.round(i * everyMs)}ms` }));
  const during: Promise<Answer>[] = [];
  const startedAt = Date.now();
  for (let i = 0; i < half; i += 1) {
    await sleepUntil(startedAt + i * everyMs);
    during.push(accept({ url, delay: `${(i * 131) % 2_000}ms` }));
  }
  return Promise.all([...ahead, ...during]);
}

async function flush(url: string): Promise<void> {
  const client = createClient({ url });
  client.on("error", () => undefined);
  await client.connect();
  await client.flushAll();
  client.destroy();
}
