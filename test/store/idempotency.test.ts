// Owns the facts about answers kept under Idempotency-Keys: who may make one, for how long it counts, and what ends with its transaction.

import { sql } from "kysely";
import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import {
  type IdempotencyName,
  keepAnswer,
  readAnswer,
  removeOldAnswers,
  reserveName,
} from "../../src/store/idempotency.ts";
import { LockTimeoutError } from "../../src/store/errors.ts";
import { openStore } from "./store.ts";

const store = await openStore();
const { database } = store;
afterAll(() => store.close());

const answer = { status: 201, headers: { location: "/v1/tasks/1" }, body: '{"id":"1"}' };

function newName(): IdempotencyName {
  return { apiKeyId: "key", method: "POST", path: "/v1/tasks", key: uuidv7() };
}

function answerUnder(name: IdempotencyName, fingerprint = "one"): Promise<boolean> {
  return database.transaction(async (trx) => {
    const isReserved = await reserveName(trx, name, fingerprint);
    if (isReserved) await keepAnswer(trx, name, answer);
    return isReserved;
  });
}

const read = (name: IdempotencyName) => database.query((connection) => readAnswer(connection, name));

function age(name: IdempotencyName, hours: number): Promise<unknown> {
  return store.query(
    "update lapse.idempotency_keys set created_at = created_at - $2 * interval '1 hour' where key = $1",
    [name.key, hours],
  );
}

describe("a name", () => {
  test("is reserved by one of 50 transactions at once, and answered by that one", async () => {
    const name = newName();
    const reserved = await Promise.all(Array.from({ length: 50 }, (_, i) => answerUnder(name, `body ${i}`)));
    expect(reserved.filter(Boolean)).toHaveLength(1);
    expect(await read(name)).toEqual({ fingerprint: `body ${reserved.indexOf(true)}`, ...answer });
  });

  test("is free again where its transaction is rolled back", async () => {
    const name = newName();
    await expect(
      database.transaction(async (trx) => {
        await reserveName(trx, name, "one");
        throw new Error("no answer");
      }),
    ).rejects.toThrow("no answer");
    expect(await read(name)).toBeNull();
    expect(await answerUnder(name, "two")).toBe(true);
  });

  test("that is being answered is waited for, no longer than a lock", async () => {
    const name = newName();
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query(
      "insert into lapse.idempotency_keys (api_key_id, method, path, key, fingerprint) values ($1, $2, $3, $4, '')",
      [name.apiKeyId, name.method, name.path, name.key],
    );
    await expect(answerUnder(name)).rejects.toBeInstanceOf(LockTimeoutError);
    const waiting = answerUnder(name);
    await stranger.query("rollback");
    expect(await waiting).toBe(true);
  });

  test("means another where the API key, the method or the path differ", async () => {
    const name = newName();
    await answerUnder(name);
    for (const other of [{ apiKeyId: "other" }, { method: "PUT" }, { path: "/v1/tasks/batch" }]) {
      expect(await read({ ...name, ...other })).toBeNull();
      expect(await answerUnder({ ...name, ...other })).toBe(true);
    }
  });
});

describe("an answer", () => {
  test("counts for 24 h, and its name is free after that", async () => {
    const name = newName();
    await answerUnder(name, "one");
    await age(name, 23.9);
    expect(await read(name)).toMatchObject({ fingerprint: "one" });
    expect(await answerUnder(name, "two")).toBe(false);
    await age(name, 0.2);
    expect(await read(name)).toBeNull();
    expect(await answerUnder(name, "two")).toBe(true);
    expect(await read(name)).toMatchObject({ fingerprint: "two" });
  });

  test("is removed once it counts no more, the oldest first", async () => {
    const [old, older, young] = [newName(), newName(), newName()];
    for (const name of [old, older, young]) await answerUnder(name);
    await age(old, 25);
    await age(older, 26);
    const remove = (limit: number) => database.query((connection) => removeOldAnswers(connection, limit));
    expect(await remove(1)).toBe(1);
    const left = await store.query<{ key: string }>("select key from lapse.idempotency_keys where key = any($1)", [
      [old.key, older.key, young.key],
    ]);
    expect(left.map((row) => row.key).toSorted()).toEqual([old.key, young.key].toSorted());
    expect(await remove(10)).toBe(1);
    expect(await read(young)).not.toBeNull();
  });
});

test("its statements are prepared once a connection", async () => {
  const prepared = await database.transaction(async (trx) => {
    for (const name of [newName(), newName()]) await reserveName(trx, name, "one");
    return sql`select name from pg_prepared_statements where statement like '%insert into lapse.idempotency_keys%'`.execute(
      trx,
    );
  });
  expect(prepared.rows).toEqual([{ name: "reserve_idempotency_key" }]);
});
