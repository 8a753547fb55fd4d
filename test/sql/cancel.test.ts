// Owns the facts about lapse.cancel_task: what it returns and leaves for each state, and that either it or the claim was first.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cancelTask } from "../../src/store/cancel.ts";
import { claim } from "../../src/store/claims.ts";
import { openStore } from "../store/store.ts";
import { createRole, openSql, type SqlClient } from "./sql.ts";

const store = await openStore();
const { database } = store;
let dispatcher = "";
let shop: SqlClient;

beforeAll(async () => {
  dispatcher = await store.dispatcher();
  shop = await openSql(await createRole(store.url, ["lapse_client"]));
});
afterAll(async () => {
  await shop.end();
  await store.close();
});

const times = {
  created_at: null,
  updated_at: null,
  finished_at: null,
  due_at: null,
  next_attempt_at: null,
  attempt_started_at: null,
};

describe("lapse.cancel_task", () => {
  test.each([
    ["scheduled", "cancelled"],
    ["paused", "cancelled"],
    ["cancelled", "cancelled"],
    ["running", "too-late"],
    ["succeeded", "too-late"],
    ["failed", "too-late"],
    ["missed", "too-late"],
    ["tombstone", "none"],
  ] as const)("of a %s task returns %s, by key as by id, and leaves what the API leaves", async (state, verdict) => {
    const keys = [uuidv7(), uuidv7()] as const;
    const ids = [await store.insert({ state, key: keys[0] }), await store.insert({ state, key: keys[1] })] as const;
    const same = { owner: dispatcher };
    const third = await store.insert({ state, key: uuidv7() });
    expect(await shop.cancel({ key: [keys[0], "text"] })).toBe(verdict);
    expect(await shop.cancel({ id: [ids[1], "uuid"] })).toBe(verdict);
    await database.query((connection) => cancelTask(connection, third));
    const [byKey, byId, byApi] = await Promise.all([ids[0], ids[1], third].map((id) => store.read(id)));
    const rest = (row: object | undefined) => ({ ...row, ...times, ...same, id: null, key: null });
    expect(rest(byKey)).toEqual(rest(byApi));
    expect(rest(byId)).toEqual(rest(byApi));
    expect(byKey?.finished_at === null).toBe(byApi?.finished_at === null);
  });

  test("of a task whose receiver holds a confirm is too late, and changes nothing", async () => {
    const id = await store.insert({ state: "running", attempts: 1, confirmed_attempt: 1, key: uuidv7() });
    const before = await store.read(id);
    expect(await shop.cancel({ id: [id, "uuid"] })).toBe("too-late");
    expect(await store.read(id)).toEqual(before);
  });

  test("of a running task tells it once", async () => {
    const id = await store.insert({ state: "running" });
    expect(await shop.cancel({ id: [id, "uuid"] })).toBe("too-late");
    expect(await shop.cancel({ id: [id, "uuid"] })).toBe("too-late");
    expect(await store.read(id)).toMatchObject({ cancel_requested: true, version: 2 });
  });

  test("by key means the live task of that queue, else the newest that ended", async () => {
    const key = uuidv7();
    await store.insert({ key, state: "succeeded" });
    await store.insert({ key, state: "cancelled" });
    const elsewhere = await store.insert({ key, queue: "elsewhere" });
    expect(await shop.cancel({ key: [key, "text"] })).toBe("cancelled");
    const live = await store.insert({ key });
    expect(await shop.cancel({ key: [key, "text"], queue: ["default", "text"] })).toBe("cancelled");
    expect((await store.read(live)).state).toBe("cancelled");
    expect((await store.read(elsewhere)).state).toBe("scheduled");
  });

  test("of what never was returns none", async () => {
    expect(await shop.cancel({ key: [uuidv7(), "text"] })).toBe("none");
    expect(await shop.cancel({ id: [uuidv7(), "uuid"] })).toBe("none");
  });

  test("remembers a tombstone on the task in flight, for its settle to plant", async () => {
    const key = uuidv7();
    const id = await store.insert({ state: "running", key });
    expect(await shop.cancel({ key: [key, "text"], tombstone: ["1 hour", "interval"] })).toBe("too-late");
    expect((await store.read(id)).tombstone_until).toBeGreaterThan(Date.now() + 3_000_000);
  });

  test.each([
    ["neither key nor id", {}, "key or id is required"],
    ["both", { key: ["a", "text"], id: [uuidv7(), "uuid"] }, "key or id is required"],
    ["an empty key", { key: ["", "text"] }, "key must have at least 1 character"],
    ["a tombstone of an id", { id: [uuidv7(), "uuid"], tombstone: ["1 s", "interval"] }, "tombstone needs a key"],
    [
      "a tombstone of nothing",
      { key: ["a", "text"], tombstone: ["0", "interval"] },
      "tombstone must be from 1 ms to 365 days",
    ],
    [
      "a tombstone of 365 days and 1 ms",
      { key: ["a", "text"], tombstone: ["365 days 1 ms", "interval"] },
      "tombstone must be from",
    ],
  ] as const)("refuses %s", async (_what, parameters, message) => {
    await expect(shop.cancel(parameters)).rejects.toMatchObject({
      code: "22023",
      message: expect.stringContaining(message),
    });
  });

  test("takes a tombstone of 365 days", async () => {
    expect(await shop.cancel({ key: [uuidv7(), "text"], tombstone: ["365 days", "interval"] })).toBe("none");
  });
});

describe("a cancel from SQL and a claim", () => {
  test("of an open transaction: the claim passes over the task, and finds it only where that is rolled back", async () => {
    const [kept, lost] = [await store.insert(), await store.insert()];
    await shop.query("begin");
    await shop.cancel({ id: [lost, "uuid"] });
    expect((await claim(database, dispatcher, [lost])).claimed).toEqual([]);
    await shop.query("commit");
    await shop.query("begin");
    await shop.cancel({ id: [kept, "uuid"] });
    await shop.query("rollback");
    const { claimed } = await claim(database, dispatcher, [kept, lost]);
    expect(claimed.map(({ id }) => id)).toEqual([kept]);
  });

  test("that race for many tasks leave each to exactly one of them", async () => {
    const ids = await store.insertMany(200);
    const claiming = Promise.all(
      Array.from({ length: 10 }, (_, i) => claim(database, dispatcher, ids.slice(i * 20, i * 20 + 20))),
    );
    const verdicts = new Map<string, string>();
    for (const id of ids.toReversed()) verdicts.set(id, await shop.cancel({ id: [id, "uuid"] }));
    await claiming;
    const rows = await Promise.all(ids.map((id) => store.read(id)));
    for (const { id, state, attempts, cancel_requested } of rows) {
      const wasFirst = verdicts.get(id) === "cancelled";
      expect({ state, attempts }).toEqual(
        wasFirst ? { state: "cancelled", attempts: 0 } : { state: "running", attempts: 1 },
      );
      expect(cancel_requested).toBe(true);
    }
  });
});
