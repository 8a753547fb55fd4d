// Goal: a queue's concurrency holds over all dispatchers, also as it is lowered; and a thousand idle queues cost no polling each.
// Method: a receiver that counts the calls it has at once, over three dispatchers; Postgres's own count of transactions over some seconds.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { execute } from "../support/database.ts";
import { rowsOf } from "./held.ts";
import { until } from "./until.ts";
import { makeWorld, testMsMax, type World } from "./world.ts";

const queue = "narrow";
const callMs = 20;
const idleCount = 1_000;

/** Counts the calls that the receiver has at once; `most` since it was last asked. */
function countCalls({ receiver }: World): { most: () => number } {
  let [now, most] = [0, 0];
  receiver.answer(async () => {
    now += 1;
    most = Math.max(most, now);
    await sleep(callMs);
    now -= 1;
    return {};
  });
  return {
    most: () => {
      const told = most;
      most = now;
      return told;
    },
  };
}

test("no more calls than a queue's concurrency are at the receiver at once", { timeout: testMsMax }, async () => {
  const world = await makeWorld();
  const { caller, receiver, start } = world;
  const calls = countCalls(world);
  const api = await start("api");
  const setUp = (changes: object): Promise<Response> =>
    fetch(`${api.url}/v1/queues/${queue}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(changes),
    });
  await setUp({ concurrency: 5 });
  await Promise.all([start("dispatcher"), start("dispatcher"), start("dispatcher")]);
  await Promise.all(Array.from({ length: 900 }, () => caller.accept({ url: receiver.url, queue })));
  await world.untilSeen(300);
  expect(calls.most()).toBe(5);
  await setUp({ concurrency: 2 });
  // The shares are handed round once a second, and calls in flight end as they would have.
  await sleep(2_500);
  calls.most();
  await world.untilSeen(receiver.requests.length + 100);
  expect(calls.most()).toBeLessThanOrEqual(2);
  await setUp({ concurrency: 12 });
  await until(() => calls.most() > 5, 10_000, "more than before are called at once");
  await world.untilSeen(900);
  expect(calls.most()).toBeLessThanOrEqual(12);
});

test("a thousand queues of which none has anything due cost no statement each", { timeout: testMsMax }, async () => {
  const world = await makeWorld();
  await world.start("all");
  const before = await transactionsIn(world, 3_000);
  await execute(
    world.databaseUrl,
    `insert into lapse.queues (name, paused) select 'idle-' || i, i % 2 = 0 from generate_series(1, ${idleCount}) i;
     insert into lapse.tasks (id, queue, state, due_at, next_attempt_at, created_at, updated_at, url)
     select gen_random_uuid(), 'idle-' || i, 'scheduled', now() + interval '1 day' * (i % 2), now() + interval '1 day' * (i % 2), now(), now(), '${world.receiver.url}'
     from generate_series(1, ${idleCount}) i`,
  );
  const after = await transactionsIn(world, 3_000);
  // Loops that run once in some seconds, and Postgres's own housekeeping, make some more or less.
  expect(after).toBeLessThan(before + idleCount / 2);
  expect(world.receiver.requests).toEqual([]);
});

async function transactionsIn({ databaseUrl }: World, ms: number): Promise<number> {
  const count = async (): Promise<number> => {
    // Backends tell of what they did once a second.
    await sleep(1_500);
    const [row] = await rowsOf<{ count: number }>(
      databaseUrl,
      "select (xact_commit + xact_rollback)::int as count from pg_stat_database where datname = current_database()",
    );
    return row?.count ?? 0;
  };
  const from = await count();
  await sleep(ms);
  return (await count()) - from;
}
