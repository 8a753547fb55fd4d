// Owns the facts about claims in a queue with a rate limit.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { claim } from "../../src/store/claims.ts";
import { LockTimeoutError } from "../../src/store/errors.ts";
import { takeOver } from "../../src/store/owners.ts";
import { claimWithinRate } from "../../src/store/rated-claims.ts";
import { openStore } from "./store.ts";

const store = await openStore();
const { database } = store;
const hourMs = 3_600_000;
let queue = "";
let owner = "";
afterAll(() => store.close());
beforeEach(async () => {
  queue = uuidv7();
  owner = await store.dispatcher();
});

async function limit(count: number | null, perMs: number | null = count === null ? null : hourMs): Promise<void> {
  await store.query(
    `insert into lapse.queues (name, rate_limit_count, rate_limit_per_ms) values ($1, $2, $3) on conflict (name) do update
     set rate_limit_count = excluded.rate_limit_count, rate_limit_per_ms = excluded.rate_limit_per_ms`,
    [queue, count, perMs],
  );
}

const due = (count: number, fields: object = {}): Promise<string[]> => store.insertMany(count, { queue, ...fields });
const claimed = (ids: readonly string[]) => claimWithinRate(database, { queue, owner, ids });

describe("a queue with a rate limit", () => {
  test("gives nothing to a claim that does not know of it", async () => {
    await limit(5);
    expect((await claim(database, owner, await due(1))).claimed).toEqual([]);
  });

  test("starts its limit a window, the oldest first, and says what is left and until when", async () => {
    await limit(3);
    const young = await due(2, { dueInMs: -1_000 });
    const old = await due(2, { dueInMs: -9_000 });
    const one = await claimed([...young, ...old].slice(0, 1));
    expect(one.rate).toMatchObject({ limit: 3, left: 2 });
    const two = await claimed([...young, ...old]);
    expect(two.claimed.map(({ id }) => id).toSorted()).toEqual(old.toSorted());
    expect(two.rate?.left).toBe(0);
    const startedAt = (await store.read(one.claimed[0]?.id ?? "")).attempt_started_at ?? 0;
    expect(two.rate?.nextAt).toBeGreaterThan(startedAt + hourMs);
    // Starts of one 250th of a window count as the last of them.
    expect(two.rate?.nextAt).toBeLessThanOrEqual(startedAt + hourMs + hourMs / 250);
  });

  test("has its whole limit again once the window is over", async () => {
    await limit(2, 100);
    expect((await claimed(await due(3))).claimed).toHaveLength(2);
    const { rate } = await claimed([]);
    await store.query("select pg_sleep(0.11)");
    expect(rate?.left).toBe(0);
    expect((await claimed(await due(3))).claimed).toHaveLength(2);
    const rows = await store.query("select from lapse.rate_starts where queue = $1", [queue]);
    expect(rows.length).toBeLessThanOrEqual(2);
  });

  test("is not exceeded by claims at once", async () => {
    await limit(7);
    const parts = await Promise.all(Array.from({ length: 5 }, () => due(4)));
    const settled = await Promise.allSettled(parts.map((ids) => claimed(ids)));
    // On a slow machine one may wait for the queue's row in vain.
    const inVain = settled.filter((one) => one.status === "rejected").map((one) => one.reason as unknown);
    for (const error of inVain) expect(error).toBeInstanceOf(LockTimeoutError);
    const started = settled.flatMap((one) => (one.status === "fulfilled" ? one.value.claimed : []));
    expect(started).toHaveLength(Math.min(7, 4 * (parts.length - inVain.length)));
  });

  test("does not count a task that is missed", async () => {
    await limit(1);
    const late = await due(2, { misfire_grace_ms: 1, dueInMs: -1_000 });
    const both = await claimed([...late, ...(await due(1))]);
    expect([both.ended.toSorted(), both.claimed.length]).toEqual([late.toSorted(), 1]);
  });

  test("starts nothing while it is paused", async () => {
    await limit(5);
    await store.query("update lapse.queues set paused = true where name = $1", [queue]);
    expect((await claimed(await due(1))).claimed).toEqual([]);
  });

  test("holds a raised and a lowered limit from the next claim on", async () => {
    await limit(1);
    const ids = await due(4);
    expect((await claimed(ids)).claimed).toHaveLength(1);
    await limit(3);
    expect((await claimed(ids)).claimed).toHaveLength(2);
    await limit(2);
    expect(await claimed(ids)).toMatchObject({ claimed: [], rate: { limit: 2, left: 0 } });
  });

  test("says that it has none once it was taken away, and starts all", async () => {
    await limit(1);
    const ids = await due(4);
    await claimed(ids);
    await limit(null);
    const rest = await claimed(ids);
    expect([rest.claimed.length, rest.rate]).toEqual([3, null]);
    expect(await store.query("select from lapse.rate_starts where queue = $1", [queue])).toEqual([]);
  });

  test("sets a row aside that cannot be claimed, and claims its neighbours", async () => {
    await limit(5);
    const [broken] = await due(1, { attempts: 2_147_483_647 });
    const ids = await due(3);
    const both = await claimed([broken ?? "", ...ids]);
    expect([both.claimed.length, both.ended]).toEqual([3, [broken]]);
  });

  test("has what a dead dispatcher had in flight wait, due as it was, its attempt lost", async () => {
    const [task] = await store.claimed(owner, { queue });
    await limit(1);
    await store.query("update lapse.dispatchers set dead_at = clock_timestamp() where id = $1", [owner]);
    await store.share(queue, owner, 1);
    const taken = await takeOver(database, owner, await store.dispatcher());
    expect(taken.claimed).toEqual([]);
    expect(await store.read(task?.id ?? "")).toMatchObject({ state: "scheduled", attempts: 1 });
    expect(await store.attempts(task?.id ?? "")).toMatchObject([{ number: 1, outcome: "lost" }]);
  });
});
