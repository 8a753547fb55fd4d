// Owns the facts about claims of several lanes together.

import { v7 as uuidv7 } from "uuid";
import { afterAll, expect, test } from "vitest";
import { Claimer } from "../../src/dispatch/claimer.ts";
import { Pace } from "../../src/dispatch/pace.ts";
import type { DueIndex } from "../../src/due-index/due-index.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { Metrics } from "../../src/runtime/metrics.ts";
import { StoreUnavailableError } from "../../src/store/errors.ts";
import type { Database } from "../../src/store/database.ts";
import { openStore, until } from "../store/store.ts";

const store = await openStore();
afterAll(() => store.close());

const index: DueIndex = {
  put: async () => undefined,
  move: async () => undefined,
  remove: async () => undefined,
  reset: async () => undefined,
  take: async () => ({ ids: [], nextAt: null }),
};

interface Look {
  readonly queue: string;
  readonly at: number;
}

function claimerOn(database: Pick<Database, "run" | "query">): { claimer: Claimer; looks: Look[] } {
  const looks: Look[] = [];
  const onLook = (queue: string, at: number): void => void looks.push({ queue, at });
  return {
    claimer: new Claimer({
      database: database as Database,
      index,
      clock: new Clock(),
      metrics: new Metrics(),
      onLook,
      onRated: () => undefined,
    }),
    looks,
  };
}

const idsOf = (tasks: readonly { readonly id: string }[]): string[] => tasks.map((task) => task.id);

test("lanes that claim in one turn each get their own tasks", async () => {
  const owner = await store.dispatcher();
  const { claimer } = claimerOn(store.database);
  const [one, two] = [await store.insertMany(3, { queue: "one" }), await store.insertMany(2, { queue: "two" })];
  const won = await Promise.all([
    claimer.claim({ queue: "one", owner, ids: one }, new Pace()),
    claimer.claim({ queue: "two", owner, ids: two }, new Pace()),
  ]);
  expect(won.map(idsOf)).toEqual([one, two]);
});

test("a task that is asked for twice at once is won once", async () => {
  const owner = await store.dispatcher();
  const { claimer } = claimerOn(store.database);
  const ids = await store.insertMany(2, { queue: "twice" });
  const won = await Promise.all([
    claimer.claim({ queue: "twice", owner, ids: ids.slice(0, 1) }, new Pace()),
    claimer.claim({ queue: "twice", owner, ids }, new Pace()),
  ]);
  expect(won.map(idsOf)).toEqual([ids.slice(0, 1), ids.slice(1)]);
});

test("requests of another identity win nothing in the claim of the first, and may ask again", async () => {
  const [before, after] = [await store.dispatcher(), await store.dispatcher()];
  const { claimer, looks } = claimerOn(store.database);
  const [one, two] = (await store.insertMany(2)) as [string, string];
  const won = await Promise.all([
    claimer.claim({ queue: "default", owner: before, ids: [one] }, new Pace()),
    claimer.claim({ queue: "default", owner: after, ids: [two] }, new Pace()),
  ]);
  expect(won.map(idsOf)).toEqual([[one], []]);
  await until(
    async () => looks,
    ({ length }) => length === 1,
  );
  expect(await store.read(two)).toMatchObject({ state: "scheduled" });
  expect(idsOf(await claimer.claim({ queue: "default", owner: after, ids: [two] }, new Pace()))).toEqual([two]);
});

test("a task that was put off is looked at again at its time", async () => {
  const owner = await store.dispatcher();
  const { claimer, looks } = claimerOn(store.database);
  const id = await store.insert({ queue: "put-off", dueInMs: 60_000 });
  expect(await claimer.claim({ queue: "put-off", owner, ids: [id] }, new Pace())).toEqual([]);
  await until(
    async () => looks,
    ({ length }) => length === 1,
  );
  expect(looks).toEqual([{ queue: "put-off", at: (await store.read(id)).next_attempt_at }]);
});

test("what was won comes also where nobody can say what stands instead of the rest", async () => {
  const owner = await store.dispatcher();
  const { claimer } = claimerOn({
    run: store.database.run.bind(store.database),
    query: () => Promise.reject(new StoreUnavailableError(new Error("no connection was free"))),
  });
  const [one, two] = (await store.insertMany(2)) as [string, string];
  const won = await Promise.all([
    claimer.claim({ queue: "default", owner, ids: [one, uuidv7()] }, new Pace()),
    claimer.claim({ queue: "default", owner, ids: [two] }, new Pace()),
  ]);
  expect(won.map(idsOf)).toEqual([[one], [two]]);
});
