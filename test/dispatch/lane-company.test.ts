// Owns the facts about what a full lane waits for before it takes again.

import { setTimeout as sleep } from "node:timers/promises";
import { v7 as uuidv7 } from "uuid";
import { expect, onTestFinished, test } from "vitest";
import { Clock } from "../../src/runtime/clock.ts";
import { readTime } from "../../src/store/due.ts";
import { openIndex } from "../due-index/redis.ts";
import { openStore } from "../store/store.ts";
import { startRedis } from "../support/servers.ts";
import { startLaneOn } from "./lanes.ts";

/** Stands still once it is held, until it is moved on. */
class HeldClock extends Clock {
  #heldAt: number | null = null;

  override now(): number {
    return this.#heldAt ?? super.now();
  }

  moveOn(ms: number): void {
    this.#heldAt = this.now() + ms;
  }
}

test("the first slot that comes free in a full lane waits 3 ms for others", async () => {
  const store = await openStore();
  const redis = await startRedis();
  const open = await openIndex([redis.url]);
  onTestFinished(async () => {
    open.close();
    await redis.stop();
    await store.close();
  });
  const clock = new HeldClock();
  await clock.settle(() => readTime(store.database));
  const [slots, queue] = [20, uuidv7()];
  const claims: number[] = [];
  const { lane, calls, begun } = await startLaneOn(
    { store, index: open.index, clock, owner: await store.dispatcher(), queue },
    { concurrency: slots, beforeClaim: async (ids) => void claims.push(ids.length) },
  );
  const ids = await Promise.all(Array.from({ length: slots + 2 }, () => store.insert({ queue })));
  await open.index.put(ids.map((id) => ({ queue, id, at: Date.now() })));
  lane.hint(clock.now());
  await begun(slots);
  const claimsBefore = claims.length;
  clock.moveOn(10);
  calls[0]?.end();
  // Real time goes on, and the lane looks again.
  await sleep(20);
  calls[1]?.end();
  await sleep(20);
  expect(claims.slice(claimsBefore)).toEqual([]);
  clock.moveOn(3);
  lane.wake();
  await begun(slots + 2);
  expect(claims.slice(claimsBefore)).toEqual([2]);
});
