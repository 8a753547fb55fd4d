// Owns the facts about a dispatcher's lease: what its thread and the dispatcher share, and what a real one does.

import { afterAll, describe, expect, test } from "vitest";
import { Lease } from "../../src/dispatch/lease.ts";
import { LeaseCell } from "../../src/dispatch/lease-cell.ts";
import { monotonicMs } from "../../src/runtime/clock.ts";
import { openStore } from "../store/store.ts";

const store = await openStore();
afterAll(() => store.close());

describe("the cell of a lease", () => {
  test("says the same on both sides of the shared memory, in whole ms that promise no more than they were given", () => {
    const thread = new LeaseCell();
    const dispatcher = new LeaseCell(thread.buffer);
    expect([dispatcher.endsAtMs, dispatcher.steadySinceMs, dispatcher.isDead]).toEqual([0, 0, false]);
    thread.renew(12_345_678_901.9, 12_345_600_000.1);
    expect([dispatcher.endsAtMs, dispatcher.steadySinceMs]).toEqual([12_345_678_901, 12_345_600_001]);
  });

  test("lets calls be sent until 2 s before the lease ends", () => {
    const cell = new LeaseCell();
    cell.renew(100_000, 0);
    expect([97_999, 98_000].map((nowMs) => cell.maySend(nowMs))).toEqual([true, false]);
    expect([99_999, 100_000].map((nowMs) => cell.holds(nowMs))).toEqual([true, false]);
    cell.die();
    expect([cell.maySend(1), cell.holds(1)]).toEqual([false, false]);
  });

  test("ends the lease at once with a death", () => {
    const thread = new LeaseCell();
    const dispatcher = new LeaseCell(thread.buffer);
    thread.renew(monotonicMs() + 10_000, 0);
    thread.die();
    expect([dispatcher.isDead, dispatcher.endsAtMs]).toEqual([true, 0]);
  });
});

/** A lease, and its two signals. */
function start(isSoleOwner = false) {
  const held = Promise.withResolvers<void>();
  const dead = Promise.withResolvers<void>();
  const lease = new Lease({ databaseUrl: store.url, isSoleOwner, onHeld: held.resolve, onDead: dead.resolve });
  return { lease, held: held.promise, dead: dead.promise };
}

async function standing(id: string): Promise<object | undefined> {
  const [row] = await store.query<{ holds: boolean; dead: boolean }>(
    "select lease_until > clock_timestamp() as holds, dead_at is not null as dead from lapse.dispatchers where id = $1",
    [id],
  );
  return row;
}

describe("a lease", () => {
  test("may be sent under once it is registered, and judges nobody before it was steady for a whole lease", async () => {
    const { lease, held } = start();
    expect([lease.maySend, lease.isHeld, lease.mayTakeOver]).toEqual([false, false, false]);
    await held;
    expect(await standing(lease.id)).toEqual({ holds: true, dead: false });
    expect([lease.maySend, lease.isHeld, lease.mayTakeOver]).toEqual([true, true, false]);
    await lease.stop();
  });

  test("of the sole owner judges others at once", async () => {
    const { lease, held } = start(true);
    await held;
    expect(lease.mayTakeOver).toBe(true);
    await lease.stop();
  });

  test("that was declared dead is not renewed, and ends for its owner too", async () => {
    const { lease, held, dead } = start();
    await held;
    await store.query(
      "update lapse.dispatchers set dead_at = clock_timestamp(), lease_until = clock_timestamp() where id = $1",
      [lease.id],
    );
    await dead;
    expect([lease.maySend, lease.isHeld, lease.mayTakeOver]).toEqual([false, false, false]);
    expect(await standing(lease.id)).toEqual({ holds: false, dead: true });
    await lease.stop();
  });

  test("whose row was buried is not made anew", async () => {
    const { lease, held, dead } = start();
    await held;
    await store.query("delete from lapse.dispatchers where id = $1", [lease.id]);
    await dead;
    expect(await standing(lease.id)).toBeUndefined();
    await lease.stop();
  });
});
