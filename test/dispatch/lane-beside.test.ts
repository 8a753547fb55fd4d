// Owns the facts about claims that go side by side in one lane.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DueIndex } from "../../src/due-index/due-index.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { readTime } from "../../src/store/due.ts";
import { type OpenIndex, openIndex } from "../due-index/redis.ts";
import { openStore } from "../store/store.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { type Call, type LaneGround, startLaneOn } from "./lanes.ts";

const store = await openStore();
const clock = new Clock();
let redis: TestRedis;
let open: OpenIndex;
let owner = "";

beforeAll(async () => {
  redis = await startRedis();
  open = await openIndex([redis.url]);
  owner = await store.dispatcher();
  await clock.settle(() => readTime(store.database));
});
afterAll(async () => {
  open.close();
  await redis.stop();
  await store.close();
});

/** With a queue of its own. */
function newGround(): LaneGround {
  return { store, index: open.index, clock, owner, queue: uuidv7() };
}

/** Stores a task and enters it into the index. */
async function enter({ queue }: LaneGround, dueInMs = -1_000): Promise<{ id: string; at: number }> {
  const id = await store.insert({ queue, dueInMs });
  const { next_attempt_at: at } = await store.read(id);
  await open.index.put([{ queue, id, at }]);
  return { id, at };
}

test("has no more calls in flight than slots while claims go side by side", async () => {
  const ground = newGround();
  const { queue } = ground;
  let inFlight = 0;
  let inFlightMax = 0;
  const onCall = (call: Call): void => {
    inFlight += 1;
    inFlightMax = Math.max(inFlightMax, inFlight);
    setImmediate(() => {
      inFlight -= 1;
      call.end();
    });
  };
  const { lane, begun } = await startLaneOn(ground, { concurrency: 10, onCall });
  const ids = await Promise.all(Array.from({ length: 300 }, () => store.insert({ queue })));
  await open.index.put(ids.map((id) => ({ queue, id, at: Date.now() })));
  lane.hint(Date.now());
  await begun(300);
  expect(inFlightMax).toBeLessThanOrEqual(10);
  expect(inFlightMax).toBeGreaterThan(1);
});

/** What happens while the first claim is held: the second task falls due; then the claim is let go. */
async function meetHeldClaim(isTakenOnce: boolean): Promise<{ first: string; second: string; begun: string[] }> {
  const ground = newGround();
  const asked = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  let claims = 0;
  const { lane, calls, begun } = await startLaneOn(ground, {
    isTakenOnce,
    beforeClaim: async () => {
      claims += 1;
      if (claims > 1) return;
      asked.resolve();
      await held.promise;
    },
  });
  const first = await enter(ground);
  lane.hint(first.at);
  await asked.promise;
  const second = await enter(ground);
  lane.hint(second.at);
  if (isTakenOnce) await begun(1);
  // Time enough for a take: were there a claim beside the first, it would be here.
  else await Promise.all([open.entries(ground.queue), readTime(store.database)]);
  expect(claims).toBe(isTakenOnce ? 2 : 1);
  held.resolve();
  await begun(2);
  return { first: first.id, second: second.id, begun: calls.map(({ id }) => id) };
}

test("claims what falls due while a claim is under way beside it", async () => {
  const { first, second, begun } = await meetHeldClaim(true);
  expect(begun).toEqual([second, first]);
});

test("what falls due waits 5 ms for a claim under way before it goes beside it", async () => {
  const ground = newGround();
  const asked = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const claimedAt: number[] = [];
  const { lane, begun } = await startLaneOn(ground, {
    beforeClaim: async () => {
      claimedAt.push(clock.now());
      if (claimedAt.length > 1) return;
      asked.resolve();
      await held.promise;
    },
  });
  const second = await store.insert({ queue: ground.queue });
  const first = await enter(ground);
  lane.hint(first.at);
  await asked.promise;
  lane.hand([second]);
  await begun(1);
  held.resolve();
  await begun(2);
  const [firstAt = 0, secondAt = 0] = claimedAt;
  // What is measured here begins after what the lane measures from, by as much as a busy machine puts between the two.
  expect(secondAt - firstAt).toBeGreaterThan(2.5);
});

test("claims one after the other where two takes would return the same", async () => {
  const { first, second, begun } = await meetHeldClaim(false);
  expect(begun.toSorted()).toEqual([first, second].toSorted());
});

test("a task that a take beside saw coming is fired at its time, also where the lane found no slot meanwhile", async () => {
  const ground = newGround();
  const [claimAsked, takeAsked] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const [claimHeld, takeHeld] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let takes = 0;
  const index: DueIndex = {
    put: (entries) => open.index.put(entries),
    move: (entries) => open.index.move(entries),
    remove: (entries) => open.index.remove(entries),
    reset: (queue) => open.index.reset(queue),
    take: async (request) => {
      takes += 1;
      if (takes === 2) {
        takeAsked.resolve();
        await takeHeld.promise;
      }
      return open.index.take(request);
    },
  };
  let claims = 0;
  const beforeClaim = async (): Promise<void> => {
    claims += 1;
    if (claims > 1) return;
    claimAsked.resolve();
    await claimHeld.promise;
  };
  const first = await enter(ground);
  const { lane, calls, begun } = await startLaneOn({ ...ground, index }, { concurrency: 8, beforeClaim });
  lane.hint(first.at);
  await claimAsked.promise;
  const second = await enter(ground);
  const third = await enter(ground, 500);
  lane.hint(second.at);
  await takeAsked.promise;
  claimHeld.resolve();
  await begun(1);
  takeHeld.resolve();
  await begun(3);
  expect(calls.map(({ id }) => id)).toEqual([first.id, second.id, third.id]);
});
