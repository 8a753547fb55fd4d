// Owns the facts about healing: what a round finds, and to whom it hands it.

import { setTimeout as sleep } from "node:timers/promises";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { Healer } from "../../src/dispatch/healer.ts";
import type { Lease } from "../../src/dispatch/lease.ts";
import type { DueEntry, DueIndex } from "../../src/due-index/due-index.ts";
import { createLog } from "../../src/runtime/log.ts";
import type { Metrics } from "../../src/runtime/metrics.ts";
import { claim } from "../../src/store/claims.ts";
import type { Database } from "../../src/store/database.ts";
import { openStore, until } from "../store/store.ts";

const store = await openStore();
afterAll(() => store.close());

/** A queue for each test. */
let queue = "";
beforeEach(async () => {
  await store.query("truncate lapse.tasks, lapse.dispatchers, lapse.shares");
  queue = uuidv7();
});

function setUp({
  fullQueues = [] as string[],
  inFlight = [] as string[],
  isIndexAway = false,
  database = store.database,
} = {}) {
  const told = {
    due: [] as [string, readonly string[]][],
    soon: [] as [string, number][],
    claimed: [] as [string, number, string][],
    puts: [] as DueEntry[],
    removals: [] as string[],
  };
  const index: DueIndex = {
    put: async (entries) => {
      if (isIndexAway) throw new Error("Redis is away");
      told.puts.push(...entries);
    },
    move: async () => undefined,
    remove: async (entries) => void told.removals.push(...entries.map((entry) => entry.id)),
    reset: async () => undefined,
    take: async () => ({ ids: [], nextAt: null }),
  };
  const healer = new Healer({
    database,
    index,
    metrics: { event: () => undefined } as unknown as Metrics,
    log: createLog("silent"),
    fullQueues: () => fullQueues,
    isInFlight: (id) => inFlight.includes(id),
    onDue: (name, ids) => told.due.push([name, ids]),
    onSoon: (name, at) => told.soon.push([name, at]),
    onClaimed: (task, lease) => told.claimed.push([task.id, task.attempt, lease.id]),
  });
  return { healer, told };
}

const leaseOf = (id: string, { maySend = true, mayTakeOver = true } = {}) => ({ id, maySend, mayTakeOver }) as Lease;

describe("a round", () => {
  test("hands what is due to its lane, enters what is due within 3 s, and leaves the rest", async () => {
    const due = [await store.insert({ queue, dueInMs: -9_000 }), await store.insert({ queue, dueInMs: -1_000 })];
    const soon = [await store.insert({ queue, dueInMs: 1_500 }), await store.insert({ queue, dueInMs: 2_000 })];
    await store.insert({ queue, dueInMs: 60_000 });
    const { healer, told } = setUp();
    await healer.healDue();
    const at = await Promise.all(soon.map(async (id) => (await store.read(id)).next_attempt_at));
    expect(told.due).toEqual([[queue, due]]);
    expect(told.puts).toEqual(soon.map((id, i) => ({ queue, id, at: at[i] })));
    expect(told.soon).toEqual([[queue, at[0]]]);
  });

  test("that took long is followed for a while by rounds that go back ten seconds alone", async () => {
    let slowMs = 300;
    const query: Database["query"] = async (work) => {
      const found = await store.database.query(work);
      await sleep(slowMs);
      return found;
    };
    const { healer, told } = setUp({ database: { query } as Database });
    await healer.healDue();
    slowMs = 0;
    const old = await store.insert({ queue, dueInMs: -12_000 });
    const recent = await store.insert({ queue, dueInMs: -1_000 });
    await healer.healDue();
    expect(told.due).toEqual([[queue, [recent]]]);
    const found = await until(
      () => healer.healDue().then(() => told.due.at(-1)?.[1] ?? []),
      (ids) => ids.includes(old),
    );
    expect(found).toEqual([old, recent]);
  });

  test("tells the lane also where the index cannot keep what is due soon", async () => {
    await store.insert({ queue, dueInMs: 1_500 });
    const { healer, told } = setUp({ isIndexAway: true });
    await healer.healDue();
    expect(told.soon.map(([name]) => name)).toEqual([queue]);
  });

  test("leaves out queues that are paused or full, and what is in flight here", async () => {
    await store.insert({ queue: "full" });
    await store.insert({ queue: "halted" });
    await store.query("update lapse.queues set paused = true where name = 'halted'");
    const flying = await store.insert({ queue });
    const { healer, told } = setUp({ fullQueues: ["full"], inFlight: [flying] });
    await healer.healDue();
    expect(told.due).toEqual([]);
  });

  test("goes on where the last one ended that was full, and then begins anew", async () => {
    for (let page = 0; page < 3; page += 1) await store.insertMany(900, { queue, dueInMs: -9_000 + page });
    const { healer, told } = setUp();
    for (let round = 0; round < 3; round += 1) await healer.healDue();
    expect(told.due.map(([, ids]) => ids.length)).toEqual([2_000, 700, 2_000]);
    expect(new Set(told.due.slice(0, 2).flatMap(([, ids]) => ids)).size).toBe(2_700);
  });
});

describe("what the dead had in flight", () => {
  test("is taken over and handed on, and the entries of what ended are removed", async () => {
    const [dead, taker] = [await store.dispatcher("lapsed"), await store.dispatcher()];
    const goesOn = await store.insert({ queue, state: "running", owner: dead });
    const ends = await store.insert({ queue, state: "running", owner: dead, cancel_requested: true });
    await store.share(queue, dead, 2);
    const { healer, told } = setUp();
    await healer.takeOverFromDead(leaseOf(taker));
    expect(told.claimed).toEqual([[goesOn, 2, taker]]);
    expect(told.removals).toEqual([ends]);
  });

  test("is left to others by one who has not been steady for a whole lease", async () => {
    const [dead, taker] = [await store.dispatcher("lapsed"), await store.dispatcher()];
    await store.insert({ queue, state: "running", owner: dead });
    const { healer, told } = setUp();
    await healer.takeOverFromDead(leaseOf(taker, { mayTakeOver: false }));
    expect(told.claimed).toEqual([]);
    const [row] = await store.query("select dead_at from lapse.dispatchers where id = $1", [dead]);
    expect(row).toEqual({ dead_at: null });
  });
});

describe("a task that this process owns and does not know", () => {
  test("is fired once it was seen at two looks, as the same attempt", async () => {
    const owner = await store.dispatcher();
    const id = await store.insert({ queue });
    await claim(store.database, owner, [id]);
    const { healer, told } = setUp();
    await healer.adoptStrays(leaseOf(owner));
    expect(told.claimed).toEqual([]);
    await healer.adoptStrays(leaseOf(owner));
    expect(told.claimed).toEqual([[id, 1, owner]]);
  });

  test("is not fired where it is in flight, or while the lease is in doubt", async () => {
    const owner = await store.dispatcher();
    const id = await store.insert({ queue });
    await claim(store.database, owner, [id]);
    const knowing = setUp({ inFlight: [id] });
    const doubting = setUp();
    for (let look = 0; look < 3; look += 1) {
      await knowing.healer.adoptStrays(leaseOf(owner));
      await doubting.healer.adoptStrays(leaseOf(owner, { maySend: false }));
    }
    expect([knowing.told.claimed, doubting.told.claimed]).toEqual([[], []]);
  });

  test("counts anew where another attempt has begun between the looks", async () => {
    const owner = await store.dispatcher();
    const id = await store.insert({ queue });
    await claim(store.database, owner, [id]);
    const { healer, told } = setUp();
    await healer.adoptStrays(leaseOf(owner));
    await store.query("update lapse.tasks set attempts = 2 where id = $1", [id]);
    await healer.adoptStrays(leaseOf(owner));
    expect(told.claimed).toEqual([]);
    await healer.adoptStrays(leaseOf(owner));
    expect(told.claimed).toEqual([[id, 2, owner]]);
  });
});
