// Owns the facts about claims of several lanes together.

import { v7 as uuidv7 } from "uuid";
import { afterAll, expect, test } from "vitest";
import { Claimer } from "../../src/dispatch/claimer.ts";
import type { DueIndex } from "../../src/due-index/due-index.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { StoreUnavailableError } from "../../src/store/errors.ts";
import type { Database } from "../../src/store/database.ts";
import { openStore } from "../store/store.ts";

const store = await openStore();
afterAll(() => store.close());

const index: DueIndex = {
  put: async () => undefined,
  move: async () => undefined,
  remove: async () => undefined,
  take: async () => ({ ids: [], nextAt: null }),
};

const idsOf = (verdict: { claimed: readonly { id: string }[] }): string[] => verdict.claimed.map((task) => task.id);

test("lanes that claim in one turn each get their own tasks", async () => {
  const owner = await store.dispatcher();
  const claimer = new Claimer({ database: store.database, index, clock: new Clock() });
  const [one, two] = [await store.insertMany(3, { queue: "one" }), await store.insertMany(2, { queue: "two" })];
  const verdicts = await Promise.all([
    claimer.claim({ queue: "one", owner, ids: one }),
    claimer.claim({ queue: "two", owner, ids: two }),
  ]);
  expect(verdicts.map(idsOf)).toEqual([one, two]);
});

test("requests of another identity win nothing in the claim of the first, and may ask again", async () => {
  const [before, after] = [await store.dispatcher(), await store.dispatcher()];
  const claimer = new Claimer({ database: store.database, index, clock: new Clock() });
  const [one, two] = (await store.insertMany(2)) as [string, string];
  const verdicts = await Promise.all([
    claimer.claim({ queue: "default", owner: before, ids: [one] }),
    claimer.claim({ queue: "default", owner: after, ids: [two] }),
  ]);
  expect(verdicts.map(idsOf)).toEqual([[one], []]);
  expect(await store.read(two)).toMatchObject({ state: "scheduled" });
  expect(idsOf(await claimer.claim({ queue: "default", owner: after, ids: [two] }))).toEqual([two]);
});

test("what was won comes also where nobody can say what stands instead of the rest", async () => {
  const owner = await store.dispatcher();
  const unreadable = {
    run: store.database.run.bind(store.database),
    query: () => Promise.reject(new StoreUnavailableError(new Error("no connection was free"))),
  };
  const claimer = new Claimer({ database: unreadable as unknown as Database, index, clock: new Clock() });
  const id = await store.insert();
  const [won, other] = await Promise.all([
    claimer.claim({ queue: "default", owner, ids: [id, uuidv7()] }),
    claimer.claim({ queue: "default", owner, ids: await store.insertMany(1) }),
  ]);
  expect([idsOf(won), other.claimed.length]).toEqual([[id], 1]);
});
