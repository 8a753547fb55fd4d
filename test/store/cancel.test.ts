// Owns the facts about the cancel: that either it or the claim was first, and what a row that runs or is held makes of it.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Canceller } from "../../src/intake/canceller.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { cancelTask, cancelTasksById, cancelTasksByKey } from "../../src/store/cancel.ts";
import { claim } from "../../src/store/claims.ts";
import { noSignals, openStore, randomOf } from "./store.ts";

const store = await openStore();
const { database } = store;
let owner = "";

beforeAll(async () => {
  owner = await store.dispatcher();
});
afterAll(() => store.close());

const singly = (id: string) => database.query((connection) => cancelTask(connection, id));

describe("a cancel", () => {
  test.each(["scheduled", "paused"] as const)("ends a %s task", async (state) => {
    const id = await store.insert({ state });
    expect(await cancelTasksById(database, [id])).toMatchObject([{ id, state: "cancelled", cancel_requested: true }]);
    expect((await store.read(id)).finished_at).not.toBeNull();
    expect((await claim(database, owner, [id])).claimed).toEqual([]);
  });

  test("tells a running task that no attempt may follow, once", async () => {
    const id = await store.insert({ state: "running" });
    expect(await cancelTasksById(database, [id])).toMatchObject([{ id, state: "running", cancel_requested: true }]);
    expect(await cancelTasksById(database, [id])).toEqual([]);
    expect(await store.read(id)).toMatchObject({ version: 2, finished_at: null });
  });

  test.each(["succeeded", "failed", "cancelled", "missed", "tombstone"] as const)(
    "leaves a %s row as it is",
    async (state) => {
      const id = await store.insert({ state, key: uuidv7() });
      const before = await store.read(id);
      expect(await cancelTasksById(database, [id])).toEqual([]);
      expect(await singly(id)).toBeNull();
      expect(await store.read(id)).toEqual(before);
    },
  );

  test.each(["scheduled", "running"] as const)(
    "is refused by a %s task whose receiver holds a confirm",
    async (state) => {
      const id = await store.insert({ state, attempts: 1, confirmed_attempt: 1 });
      expect(await cancelTasksById(database, [id])).toEqual([]);
      expect(await singly(id)).toBeNull();
      expect(await store.read(id)).toMatchObject({ state, cancel_requested: false });
    },
  );

  test("by key ends the live task of that queue alone", async () => {
    const key = uuidv7();
    const ended = await store.insert({ key, state: "succeeded" });
    const live = await store.insert({ key });
    const elsewhere = await store.insert({ key, queue: "elsewhere" });
    const names = [
      { queue: "default", key },
      { queue: "default", key: uuidv7() },
    ];
    expect((await cancelTasksByKey(database, names)).map((row) => row.id)).toEqual([live]);
    expect(await store.read(ended)).toMatchObject({ state: "succeeded" });
    expect(await store.read(elsewhere)).toMatchObject({ state: "scheduled" });
  });

  test("by key changes nothing once its answer is no longer waited for: the key may be another task's by then", async () => {
    const id = await store.insert({ key: "given-up" });
    const names = [{ queue: "default", key: "given-up" }];
    expect(await cancelTasksByKey(database, names, Date.now() - 1)).toEqual([]);
    expect(await cancelTasksByKey(database, names, Date.now() + 5_000)).toMatchObject([{ id, state: "cancelled" }]);
  });

  test("passes over a row that a stranger holds, and waits for it singly", async () => {
    const [held, free] = (await store.insertMany(2)) as [string, string];
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [held]);
    expect((await cancelTasksById(database, [held, free])).map((row) => row.id)).toEqual([free]);
    const waiting = singly(held);
    await stranger.query("rollback");
    expect(await waiting).toMatchObject({ id: held, state: "cancelled" });
  });
});

test("of a cancel and a claim at once exactly one wins each of 500 tasks", async () => {
  const seed = 11;
  const random = randomOf(seed);
  const canceller = new Canceller({
    database,
    signals: noSignals,
    clock: new Clock(),
  });
  const faults: string[] = [];
  for (let round = 0; round < 20; round += 1) {
    const ids = await store.insertMany(25);
    const claimFirst = random() < 0.5;
    const half = Math.floor(random() * ids.length);
    const claims = () =>
      Promise.all([claim(database, owner, ids.slice(0, half)), claim(database, owner, ids.slice(half))]);
    const cancels = () => Promise.all(ids.map((id) => canceller.cancel({ id, reach: null }, 0)));
    const early = claimFirst ? claims() : null;
    const [outcomes, claimed] = await Promise.all([cancels(), early ?? claims()]);
    const won = new Set(claimed.flatMap((one) => one.claimed.map((task) => task.id)));
    for (const [i, id] of ids.entries()) {
      const isCancelled = outcomes[i]?.kind === "cancelled";
      const { state, attempts } = await store.read(id);
      const isConsistent = isCancelled
        ? state === "cancelled" && attempts === 0
        : state === "running" && attempts === 1;
      if (isCancelled === won.has(id) || !isConsistent)
        faults.push(`round ${round} of seed ${seed}: ${outcomes[i]?.kind}, claimed ${won.has(id)}, stands ${state}`);
    }
  }
  expect(faults).toEqual([]);
});

test("callers of unlike reach at once each cancel what they can see, and no other", async () => {
  const canceller = new Canceller({
    database,
    signals: noSignals,
    clock: new Clock(),
  });
  const [mail, reports] = [
    await store.insertMany(20, { queue: "mail" }),
    await store.insertMany(20, { queue: "reports" }),
  ];
  const [near, far] = [["mail"], ["reports", "none"]];
  const kinds = async (ids: readonly string[], reach: readonly string[] | null): Promise<Set<string>> => {
    const outcomes = await Promise.all(ids.map((id) => canceller.cancel({ id, reach }, 0)));
    return new Set(outcomes.map(({ kind }) => kind));
  };
  const isNone = new Set(["not-found"]);
  expect(await Promise.all([kinds(reports, near), kinds(mail, far)])).toEqual([isNone, isNone]);
  const isDone = new Set(["cancelled"]);
  expect(await Promise.all([kinds(mail, near), kinds(reports, far), kinds(mail, far)])).toEqual([
    isDone,
    isDone,
    isNone,
  ]);
  expect(await kinds([...mail, ...reports], null)).toEqual(isDone);
});
