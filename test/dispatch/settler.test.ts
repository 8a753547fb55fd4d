// Owns the facts about writing outcomes: that each is written in the end, and the index follows.

import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { companyMin, Settler } from "../../src/dispatch/settler.ts";
import type { DueEntry, DueIndex } from "../../src/due-index/due-index.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { createLog } from "../../src/runtime/log.ts";
import type { Metrics } from "../../src/runtime/metrics.ts";
import type { Database } from "../../src/store/database.ts";
import { StoreUnavailableError } from "../../src/store/errors.ts";
import { openStore, settlingOf, until } from "../store/store.ts";
import type { ClaimedTask } from "../../src/task/claimed-task.ts";

const hourMs = 3_600_000;
const store = await openStore();
let owner = "";
beforeAll(async () => {
  owner = await store.dispatcher();
});
afterAll(() => store.close());

let told: { events: string[]; moves: DueEntry[]; removals: string[]; hints: [string, number][] };
beforeEach(() => {
  told = { events: [], moves: [], removals: [], hints: [] };
});

function settlerOn(database: Database, inFlight = 0): Settler {
  const index: DueIndex = {
    put: async () => undefined,
    take: async () => ({ ids: [], nextAt: null }),
    move: async (entries) => void told.moves.push(...entries),
    remove: async (entries) => void told.removals.push(...entries.map((entry) => entry.id)),
    reset: async () => undefined,
  };
  const metrics = { event: (event: string) => told.events.push(event) } as unknown as Metrics;
  const onDue = (queue: string, at: number): void => void told.hints.push([queue, at]);
  const log = createLog("silent");
  return new Settler({ database, index, clock: new Clock(), metrics, log, inFlight: () => inFlight, onDue });
}

const claimed = (count: number): Promise<ClaimedTask[]> =>
  store.claimed(owner, ...Array.from({ length: count }, () => ({})));
const claimedOne = async (): Promise<ClaimedTask> => (await claimed(1))[0] as ClaimedTask;
const states = (tasks: readonly ClaimedTask[]) =>
  Promise.all(tasks.map(async ({ id }) => (await store.read(id)).state));

describe("an outcome", () => {
  test("is saved, and the entry of a task that ended is removed", async () => {
    const task = await claimedOne();
    expect(await settlerOn(store.database).settle(settlingOf(task, owner))).toBe("saved");
    expect(told).toMatchObject({ removals: [task.id], moves: [], hints: [] });
  });

  test("waits for company while other calls are open, until there is enough of it", async () => {
    const batches: number[] = [];
    const counting = {
      run: async (...sent: Parameters<Database["run"]>) => {
        const settled = await store.database.run(...sent);
        batches.push(settled.length);
        return settled;
      },
    };
    const settler = settlerOn(counting as unknown as Database, 1_000);
    const tasks = await claimed(companyMin + 1);
    const settleEach = (some: readonly ClaimedTask[]) =>
      some.map(async (task) => {
        await new Promise((resolve) => setImmediate(resolve));
        return settler.settle(settlingOf(task, owner));
      });
    await Promise.all(settleEach(tasks.slice(0, 2)));
    expect(batches).toEqual([2]);
    await Promise.all(settleEach(tasks.slice(2)));
    expect(batches).toEqual([2, companyMin - 1]);
  });

  test("that lets its task wait moves the entry to the next attempt, and tells the lane", async () => {
    const task = await claimedOne();
    const nextAttemptAt = Date.now() + 60_000;
    await settlerOn(store.database).settle(settlingOf(task, owner, { next: { kind: "retry", nextAttemptAt } }));
    await until(
      async () => told.hints,
      ({ length }) => length > 0,
    );
    expect(told).toMatchObject({
      removals: [],
      moves: [{ id: task.id, at: nextAttemptAt }],
      hints: [["default", nextAttemptAt]],
    });
  });

  test("that lets its task wait beyond what the index holds removes the entry", async () => {
    const task = await claimedOne();
    const next = { kind: "retry", nextAttemptAt: Date.now() + hourMs } as const;
    await settlerOn(store.database).settle(settlingOf(task, owner, { next }));
    expect(told).toMatchObject({ removals: [task.id], moves: [], hints: [] });
  });

  test("of an attempt that is not the task's any more is superseded", async () => {
    const task = await claimedOne();
    await store.query("update lapse.tasks set attempts = 2 where id = $1", [task.id]);
    expect(await settlerOn(store.database).settle(settlingOf(task, owner))).toBe("superseded");
    expect(told).toMatchObject({ events: ["settle.superseded"], moves: [], removals: [] });
  });

  test("that Postgres cannot store is stored without what the receiver sent, and its neighbours whole", async () => {
    const tasks = await claimed(9);
    const settler = settlerOn(store.database);
    const verdicts = await Promise.all(
      tasks.map((task, i) => settler.settle(settlingOf(task, owner, { responseSnippet: i === 4 ? "a\0b" : "fine" }))),
    );
    expect(new Set(verdicts)).toEqual(new Set(["saved"]));
    expect(new Set(await states(tasks))).toEqual(new Set(["succeeded"]));
    const snippets = await Promise.all(tasks.map(async ({ id }) => (await store.attempts(id))[0]?.response_snippet));
    expect(snippets).toEqual(tasks.map((_, i) => (i === 4 ? null : "fine")));
  });

  test("waits for a row that a stranger holds, and holds up no other", async () => {
    const [held, free] = (await claimed(2)) as [ClaimedTask, ClaimedTask];
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [held.id]);
    const settler = settlerOn(store.database);
    const waiting = settler.settle(settlingOf(held, owner));
    expect(await settler.settle(settlingOf(free, owner))).toBe("saved");
    await stranger.query("rollback");
    expect(await waiting).toBe("saved");
  });

  test("is written in the end where Postgres was away, and once where only the answer was lost", async () => {
    let calls = 0;
    const shaky = {
      query: store.database.query.bind(store.database),
      run: async (...sent: Parameters<Database["run"]>) => {
        calls += 1;
        if (calls === 1) throw new StoreUnavailableError(new Error("away"));
        const written = await store.database.run(...sent);
        if (calls === 2) throw new StoreUnavailableError(new Error("the answer was lost"));
        return written;
      },
    };
    const task = await claimedOne();
    const settler = settlerOn(shaky as unknown as Database);
    expect(await settler.settle(settlingOf(task, owner))).toBe("superseded");
    expect(calls).toBe(3);
    expect(await states([task])).toEqual(["succeeded"]);
    expect(await store.attempts(task.id)).toHaveLength(1);
  });

  test.each(["53100", "53200", "58030", "XX000", "40P01"])(
    "is written in the end whatever else Postgres says in between (%s): its call must not be made again",
    async (code) => {
      let refusals = 2;
      const refusing = {
        query: store.database.query.bind(store.database),
        run: async (...sent: Parameters<Database["run"]>) => {
          refusals -= 1;
          if (refusals >= 0) throw Object.assign(new pg.DatabaseError("no", 0, "error"), { code });
          return store.database.run(...sent);
        },
      };
      const task = await claimedOne();
      const settler = settlerOn(refusing as unknown as Database);
      expect(await settler.settle(settlingOf(task, owner))).toBe("saved");
    },
  );
});
