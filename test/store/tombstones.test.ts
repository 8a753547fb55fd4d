// Owns the facts about tombstones: that a key which was cancelled lets nobody through, whichever came first.

import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import { Acceptor } from "../../src/intake/acceptor.ts";
import { BulkChanger } from "../../src/intake/bulk.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { KnownQueues } from "../../src/store/queues.ts";
import { readAudit } from "../../src/store/audit.ts";
import { leaveTombstones, makeTombstones } from "../../src/store/tombstones.ts";
import { newTask, noSignals, openStore } from "./store.ts";

const hourMs = 3_600_000;
const store = await openStore();
const { database } = store;
const queues = new KnownQueues(database);
const acceptor = new Acceptor({ database, queues, clock: new Clock(), signals: noSignals });
const bulk = new BulkChanger(database, queues, noSignals);
afterAll(() => store.close());

function make(keys: readonly string[], lifetimeMs = hourMs, queue = "default"): Promise<string[]> {
  const ids = keys.map(() => uuidv7());
  return database.query((connection) => makeTombstones(connection, { ids, queue, keys, lifetimeMs }));
}

async function states(key: string): Promise<string[]> {
  const rows = await store.query<{ state: string }>("select state from lapse.tasks where key = $1 order by state", [
    key,
  ]);
  return rows.map((row) => row.state);
}

async function lifetime(key: string): Promise<number> {
  const [row] = await store.query<{ ms: number }>(
    "select extract(epoch from due_at - clock_timestamp())::float8 * 1000 as ms from lapse.tasks where key = $1",
    [key],
  );
  return row?.ms ?? 0;
}

describe("a tombstone", () => {
  test("is made for each key that has no live task", async () => {
    const [free, taken, ended] = [uuidv7(), uuidv7(), uuidv7()];
    await store.insert({ key: taken });
    await store.insert({ key: ended, state: "succeeded" });
    expect((await make([free, taken, ended])).toSorted()).toEqual([free, ended].toSorted());
    expect(await states(taken)).toEqual(["scheduled"]);
    expect(await states(ended)).toEqual(["succeeded", "tombstone"]);
  });

  test("that stands is lengthened, and never shortened", async () => {
    const key = uuidv7();
    await make([key], hourMs);
    expect(await make([key], 2 * hourMs)).toEqual([key]);
    expect(await lifetime(key)).toBeGreaterThan(hourMs);
    expect(await make([key], 1_000)).toEqual([key]);
    expect(await lifetime(key)).toBeGreaterThan(hourMs);
    expect(await states(key)).toEqual(["tombstone"]);
  });

  test("holds for its queue alone", async () => {
    const key = uuidv7();
    await make([key]);
    const outcome = await acceptor.accept(newTask({ key, queue: "elsewhere" }));
    expect(outcome).toMatchObject({ kind: "created", task: { state: "scheduled" } });
  });

  test("cancels every arrival until it ends, and none after", async () => {
    const key = uuidv7();
    await make([key]);
    for (const _ of [1, 2]) {
      const stopped = await acceptor.accept(newTask({ key }));
      expect(stopped).toMatchObject({ kind: "created", task: { state: "cancelled" } });
    }
    await store.query("update lapse.tasks set due_at = clock_timestamp() where key = $1 and state = 'tombstone'", [
      key,
    ]);
    expect(await acceptor.accept(newTask({ key }))).toMatchObject({ kind: "created", task: { state: "scheduled" } });
    expect(await states(key)).toEqual(["cancelled", "cancelled", "scheduled"]);
  });

  test("is remembered by a task in flight, and by one whose receiver holds a confirm, alone", async () => {
    const keys = [uuidv7(), uuidv7(), uuidv7()] as const;
    await store.insert({ key: keys[0], state: "running" });
    await store.insert({ key: keys[1], attempts: 1, confirmed_attempt: 1 });
    await store.insert({ key: keys[2] });
    const left = await database.query((connection) =>
      leaveTombstones(connection, { queue: "default", keys, lifetimeMs: hourMs }),
    );
    expect(left.toSorted()).toEqual([keys[0], keys[1]].toSorted());
  });
});

test("a batch whose first task a tombstone stops is counted whole", async () => {
  const key = uuidv7();
  await make([key], hourMs, "counted");
  const outcomes = await acceptor.acceptAtomically([newTask({ key, queue: "counted" }), newTask({ queue: "counted" })]);
  expect(outcomes.map((outcome) => outcome.kind === "created" && outcome.task.state)).toEqual([
    "cancelled",
    "scheduled",
  ]);
  const { balanced, queues: audits } = await readAudit(database);
  expect(audits.find((audit) => audit.queue === "counted")).toMatchObject({ accepted: 2, cancelled: 1, live: 1 });
  expect(balanced).toBe(false); // Rows of other tests were never accepted; those of this queue were.
});

test("a create and a cancel with a tombstone at once never leave a live task, in 200 rounds", async () => {
  const faults: string[] = [];
  for (let round = 0; round < 10; round += 1) {
    const keys = Array.from({ length: 20 }, () => uuidv7());
    const outcomes = await Promise.all(
      keys.map((key) =>
        Promise.all([
          acceptor.accept(newTask({ key })),
          bulk.cancel({ reach: null, queue: "default", keys: [key] }, { tombstoneMs: hourMs, dryRun: false }),
        ]),
      ),
    );
    for (const [i, key] of keys.entries()) {
      const [accepted, cancelled] = outcomes[i] ?? [];
      const stands = await states(key);
      const isStopped = stands.join() === "cancelled,tombstone" && cancelled?.tombstones.join() === key;
      if (accepted?.kind !== "created" || !isStopped)
        faults.push(`round ${round}: ${accepted?.kind}, ${stands.join()}`);
    }
  }
  expect(faults).toEqual([]);
});
