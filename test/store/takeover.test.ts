// Owns the facts about a takeover: what becomes of what a dead dispatcher had in flight, and of its slots.

import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import { declareAllDead, declareDead, takeOver, type Takeover, unregisterDispatcher } from "../../src/store/owners.ts";
import { acquireSlots } from "../../src/store/shares.ts";
import { openStore, type RowFields } from "./store.ts";

const hourMs = 3_600_000;
/** As long as a claim of the dead may be under way, and a little more. */
const buriedAfterMs = 11_000;
const store = await openStore();
const { database } = store;
afterAll(() => store.close());

interface Death {
  readonly dead: string;
  readonly taker: string;
  readonly queue: string;
  readonly ids: readonly string[];
}

/** A dead dispatcher with these tasks in flight in a queue of its own, each with its slot, and another that lives. */
async function death(rows: readonly RowFields[], slots = rows.length): Promise<Death> {
  const queue = uuidv7();
  const dead = await store.dispatcher("dead");
  const taker = await store.dispatcher();
  const ids: string[] = [];
  for (const row of rows) ids.push(await store.insert({ queue, state: "running", owner: dead, ...row }));
  await store.share(queue, dead, slots);
  return { dead, taker, queue, ids };
}

async function shares(queue: string): Promise<Record<string, number>> {
  const rows = await store.query<{ owner: string; slots: number }>(
    "select owner, slots from lapse.shares where queue = $1 and slots > 0",
    [queue],
  );
  return Object.fromEntries(rows.map((row) => [row.owner, row.slots]));
}

function isKnown(id: string): Promise<boolean> {
  return store.query("select from lapse.dispatchers where id = $1", [id]).then((rows) => rows.length === 1);
}

/** Moves the death so far back that no claim of the dead can be under way. */
function age(dead: string): Promise<unknown> {
  return store.query("update lapse.dispatchers set dead_at = dead_at - $2 * interval '1 millisecond' where id = $1", [
    dead,
    buriedAfterMs,
  ]);
}

describe("a lease that lapsed", () => {
  test("makes its owner dead, for good; one that holds does not", async () => {
    const lapsed = await store.dispatcher("lapsed");
    const alive = await store.dispatcher();
    const dead = await database.query((connection) => declareDead(connection, uuidv7()));
    expect(dead).toContain(lapsed);
    expect(dead).not.toContain(alive);
    const renewed = await store.query(
      `update lapse.dispatchers set lease_until = clock_timestamp() + interval '10 s' where id = $1 and dead_at is null returning id`,
      [lapsed],
    );
    expect(renewed).toEqual([]);
  });

  test("does not make dead the one who looks", async () => {
    const own = await store.dispatcher("lapsed");
    expect(await database.query((connection) => declareDead(connection, own))).not.toContain(own);
  });

  test("is found again as long as anything of the dead is left", async () => {
    const { dead } = await death([{}]);
    expect(await database.query((connection) => declareDead(connection, uuidv7()))).toContain(dead);
    expect(await database.query((connection) => declareDead(connection, uuidv7()))).toContain(dead);
  });

  test("lets its owner have no slots any more", async () => {
    const lapsed = await store.dispatcher("lapsed");
    await database.query((connection) => declareDead(connection, uuidv7()));
    expect(await acquireSlots(database, "default", { owner: lapsed, want: 8 })).toBeNull();
    expect(await acquireSlots(database, "default", { owner: uuidv7(), want: 8 })).toBeNull();
  });
});

describe("a takeover", () => {
  test("makes each task the taker's next attempt, the one before lost", async () => {
    const { dead, taker, queue, ids } = await death([{}, { attempts: 4 }]);
    const { claimed, released } = await takeOver(database, dead, taker);
    expect(released).toEqual([]);
    expect(new Map(claimed.map((task) => [task.id, task.attempt]))).toEqual(
      new Map(ids.map((id, i) => [id, i === 0 ? 2 : 5])),
    );
    for (const [i, id] of ids.entries()) {
      expect(await store.read(id)).toMatchObject({ state: "running", owner: taker });
      expect(await store.attempts(id)).toMatchObject([{ number: i === 0 ? 1 : 4, outcome: "lost", status: null }]);
    }
    expect(await shares(queue)).toEqual({ [taker]: 2 });
  });

  test.each([
    ["at-most-once fails", { delivery: "at-most-once" }, "failed"],
    ["without attempts left fails", { attempts: 10 }, "failed"],
    ["that was to be cancelled is cancelled", { cancel_requested: true }, "cancelled"],
    [
      "that was to be cancelled is cancelled, even at-most-once",
      { cancel_requested: true, delivery: "at-most-once" },
      "cancelled",
    ],
  ] as const)("of a task %s, and gives its slot up", async (_what, fields, state) => {
    const { dead, taker, queue, ids } = await death([fields]);
    expect(await takeOver(database, dead, taker)).toMatchObject({
      claimed: [],
      released: [{ id: ids[0], queue, isEnded: true }],
    });
    const row = await store.read(ids[0] ?? "");
    expect(row).toMatchObject({ state, owner: null, attempts: "attempts" in fields ? fields.attempts : 1 });
    expect(row.finished_at).not.toBeNull();
    expect(await store.attempts(row.id)).toMatchObject([{ outcome: "lost" }]);
    expect(await shares(queue)).toEqual({});
  });

  test("counts the budget from the last retry, reschedule or replace", async () => {
    const { dead, taker, ids } = await death([{ attempts: 12, attempts_before: 11 }]);
    expect((await takeOver(database, dead, taker)).claimed).toMatchObject([{ id: ids[0], attempt: 13 }]);
  });

  test("lets a task of a paused queue wait, due as it was", async () => {
    const { dead, taker, queue, ids } = await death([{}]);
    await store.query("update lapse.queues set paused = true where name = $1", [queue]);
    const before = await store.read(ids[0] ?? "");
    expect(await takeOver(database, dead, taker)).toMatchObject({
      claimed: [],
      released: [{ id: ids[0], isEnded: false }],
    });
    expect(await store.read(before.id)).toMatchObject({
      state: "scheduled",
      next_attempt_at: before.next_attempt_at,
      attempts: 1,
      finished_at: null,
    });
  });

  test("lets a task wait whose slot had been given up", async () => {
    const { dead, taker, queue } = await death([{}, {}], 1);
    const { claimed, released } = await takeOver(database, dead, taker);
    expect([claimed.length, released.length]).toEqual([1, 1]);
    expect(await shares(queue)).toEqual({ [taker]: 1 });
  });

  test("adds the slots to those that the taker has", async () => {
    const { dead, taker, queue } = await death([{}, {}]);
    await store.share(queue, taker, 3);
    await takeOver(database, dead, taker);
    expect(await shares(queue)).toEqual({ [taker]: 5 });
  });

  test("leaves a confirm standing", async () => {
    const { dead, taker, ids } = await death([{ confirmed_attempt: 1 }]);
    await takeOver(database, dead, taker);
    expect(await store.read(ids[0] ?? "")).toMatchObject({ state: "running", confirmed_attempt: 1 });
  });

  test("plants the tombstone of a task that ends", async () => {
    const until = new Date(Date.now() + hourMs).toISOString();
    const key = uuidv7();
    const { dead, taker } = await death([{ key, cancel_requested: true, tombstone_until: until }]);
    await takeOver(database, dead, taker);
    const rows = await store.query("select state from lapse.tasks where key = $1 order by state", [key]);
    expect(rows).toEqual([{ state: "cancelled" }, { state: "tombstone" }]);
  });

  test("of one who lives takes nothing", async () => {
    const alive = await store.dispatcher();
    const id = await store.insert({ state: "running", owner: alive });
    expect(await takeOver(database, alive, await store.dispatcher())).toEqual({
      claimed: [],
      released: [],
      isComplete: false,
    });
    expect(await store.read(id)).toMatchObject({ state: "running", owner: alive, attempts: 1 });
  });

  test.each(["dead", "buried"] as const)("by a %s taker takes nothing", async (standing) => {
    const { dead, queue, ids } = await death([{}]);
    const taker = standing === "dead" ? await store.dispatcher("dead") : uuidv7();
    expect((await takeOver(database, dead, taker)).claimed).toEqual([]);
    expect(await store.read(ids[0] ?? "")).toMatchObject({ state: "running", owner: dead });
    expect(await shares(queue)).toEqual({ [dead]: 1 });
  });

  test("by two at once takes each task once", async () => {
    const { dead, taker, queue, ids } = await death(Array.from({ length: 60 }, () => ({})));
    const rival = await store.dispatcher();
    const parts: Takeover[] = [];
    await Promise.all(
      [taker, rival].flatMap((owner) => [1, 2].map(async () => parts.push(await takeOver(database, dead, owner)))),
    );
    const claimed = parts.flatMap((part) => part.claimed.map((task) => task.id));
    expect(claimed.toSorted()).toEqual(ids.toSorted());
    const [count] = await store.query(
      "select count(*)::int as count, max(attempts) as attempts from lapse.tasks where queue = $1",
      [queue],
    );
    expect(count).toEqual({ count: 60, attempts: 2 });
    expect(Object.values(await shares(queue)).reduce((sum, slots) => sum + slots, 0)).toBe(60);
  });

  test("passes over a row that a stranger holds, and takes it afterwards", async () => {
    const { dead, taker, ids } = await death([{}, {}]);
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [ids[0]]);
    const first = await takeOver(database, dead, taker);
    expect(first.claimed.map((task) => task.id)).toEqual([ids[1]]);
    expect(first.isComplete).toBe(false);
    await stranger.query("rollback");
    expect((await takeOver(database, dead, taker)).claimed.map((task) => task.id)).toEqual([ids[0]]);
  });

  test("goes in parts where there is much", async () => {
    const { dead, taker, queue } = await death([], 501);
    await store.insertMany(501, { queue, state: "running", owner: dead });
    const first = await takeOver(database, dead, taker);
    expect(first).toMatchObject({ isComplete: false });
    const second = await takeOver(database, dead, taker);
    expect(first.claimed.length + second.claimed.length).toBe(501);
    expect(await shares(queue)).toEqual({ [taker]: 501 });
  });
});

describe("the row of the dead", () => {
  test("stays while a claim of its may be under way, and goes after that, with what slots are left", async () => {
    const { dead, taker, queue } = await death([{}], 5);
    expect(await takeOver(database, dead, taker)).toMatchObject({ isComplete: false });
    expect(await isKnown(dead)).toBe(true);
    expect(await shares(queue)).toEqual({ [taker]: 1 });
    await age(dead);
    expect(await takeOver(database, dead, taker)).toMatchObject({ isComplete: true, claimed: [] });
    expect(await isKnown(dead)).toBe(false);
  });

  test("stays while a task of its is held by a stranger", async () => {
    const { dead, taker, ids } = await death([{}]);
    await age(dead);
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [ids[0]]);
    await takeOver(database, dead, taker);
    expect(await isKnown(dead)).toBe(true);
    await stranger.query("rollback");
    expect(await takeOver(database, dead, taker)).toMatchObject({ isComplete: true });
  });

  test("is removed at once by an owner that drained", async () => {
    const id = await store.dispatcher();
    await store.share("default", id, 4);
    await unregisterDispatcher(database, id);
    expect(await isKnown(id)).toBe(false);
    expect(Object.keys(await shares("default"))).not.toContain(id);
  });

  test("stays where a drained owner has a task in flight", async () => {
    const id = await store.dispatcher();
    await store.insert({ state: "running", owner: id });
    await unregisterDispatcher(database, id);
    expect(await isKnown(id)).toBe(true);
  });
});

test("a start as the sole owner declares dead whoever lived before", async () => {
  const id = await store.dispatcher();
  await database.query(declareAllDead);
  expect(await database.query((connection) => declareDead(connection, uuidv7()))).toContain(id);
});
