// Owns the facts about API keys: their text, their rows, and how long a process goes by what it has read of one.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isKeyId, keyDigest, keyId, makeKey } from "../../src/intake/api-key-text.ts";
import { ApiKeys, apiKeysMax, keyKeptMs } from "../../src/intake/api-keys.ts";
import { createLog } from "../../src/runtime/log.ts";
import { findApiKeys, noteApiKeyUse, removeExpiredApiKeys } from "../../src/store/api-keys.ts";
import type { BoundStatement, Database } from "../../src/store/database.ts";
import { scopes } from "../../src/task/scope.ts";
import { openStore, type TestStore, until } from "./store.ts";

/** What security asks for: a revoked key is refused everywhere within this. */
const revokedMsMax = 5_000;
const who = { name: "checkout", scopes: ["tasks:read"], queues: null, createdBy: "root" } as const;
const fields = { ...who, expiresInMs: null } as const;

let store: TestStore;
/** Two processes on one database. */
let one: ApiKeys;
let other: ApiKeys;

beforeAll(async () => {
  store = await openStore();
  [one, other] = [new ApiKeys(store.database, createLog("silent")), new ApiKeys(store.database, createLog("silent"))];
});
afterAll(() => store.close());

async function made(more: Partial<Parameters<ApiKeys["make"]>[0]> = {}): Promise<{ id: string; text: string }> {
  const key = await one.make({ ...fields, ...more });
  if (key === null) throw new Error("no key was made");
  return { id: key.key.id, text: key.text };
}

const lastUse = async (id: string): Promise<Date | null> =>
  (await store.query<{ at: Date | null }>("select last_used_at as at from lapse.api_keys where id = $1", [id]))[0]
    ?.at ?? null;

describe("the text of a key", () => {
  test("has an id, a secret of 256 bits and a checksum, in that order", () => {
    const { id, text } = makeKey();
    expect(text).toMatch(/^lapse_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}$/);
    expect(text.startsWith(`lapse_live_${id}_`)).toBe(true);
    expect([keyId(text), isKeyId(id)]).toEqual([id, true]);
  });

  test("is never the same twice, nor is its id", () => {
    const keys = Array.from({ length: 1_000 }, makeKey);
    expect(new Set(keys.map(({ id }) => id)).size).toBe(keys.length);
    expect(new Set(keys.map(({ text }) => text.slice(-49))).size).toBe(keys.length);
  });

  test("with any character mistyped, left out or added is no key", () => {
    const { text } = makeKey();
    const at = fc.nat({ max: text.length - 1 });
    fc.assert(
      fc.property(at, fc.constantFrom("0", "A", "a", "z", "_", "-", "é"), (index, character) => {
        const without = text.slice(0, index) + text.slice(index + 1);
        const mistyped = text.slice(0, index) + character + text.slice(index + 1);
        const longer = text.slice(0, index) + character + text.slice(index);
        const texts = [without, longer, ...(mistyped === text ? [] : [mistyped])];
        expect(texts.map(keyId)).toEqual(texts.map(() => null));
      }),
    );
  });

  test("whose two neighbours were swapped is no key", () => {
    const { text } = makeKey();
    const swapped = Array.from(
      text.slice(1),
      (_, i) => text.slice(0, i) + text.charAt(i + 1) + text.charAt(i) + text.slice(i + 2),
    );
    expect(swapped.filter((mistyped) => mistyped !== text && keyId(mistyped) !== null)).toEqual([]);
  });
});

describe("a key that was made", () => {
  test("is known by its text, with its scopes and queues", async () => {
    const { id, text } = await made({ scopes: ["tasks:write", "queues:write"], queues: ["mail", "reports"] });
    expect(await other.holder(text)).toMatchObject({
      id,
      scopes: ["tasks:write", "queues:write"],
      queues: ["mail", "reports"],
    });
  });

  test.each(scopes)("may have the scope %s", async (scope) => {
    const { text } = await made({ scopes: [scope] });
    expect(await other.holder(text)).toMatchObject({ scopes: [scope] });
  });

  test("is stored by its digest alone", async () => {
    const { id, text } = await made();
    const [row] = await store.query<{ row: string; digest: Buffer }>(
      "select k::text as row, digest from lapse.api_keys k where id = $1",
      [id],
    );
    expect(row?.digest).toEqual(keyDigest(text));
    expect(row?.row).not.toContain(text.slice(-49, -6));
  });

  test("is known by no other text with its id", async () => {
    const { id, text } = await made();
    const forged = Array.from({ length: 3 }, makeKey);
    for (const key of forged) expect(await one.holder(key.text)).toBeNull();
    // The row of another key under this id: the text is whole, and its secret is wrong.
    await store.query("update lapse.api_keys set digest = $2 where id = $1", [id, keyDigest(forged[0]?.text ?? "")]);
    expect(await other.holder(text)).toBeNull();
  });

  test("stands in the list without its digest, beside the others, oldest first", async () => {
    const [first, second] = [await made({ name: "first" }), await made({ name: "second" })];
    const found = (await other.list()).filter(({ id }) => id === first.id || id === second.id);
    expect(found).toMatchObject([
      { ...who, name: "first", lastUsedAt: null, expiresAt: null },
      { ...who, name: "second" },
    ]);
    expect(Object.keys(found[0] ?? {}).toSorted()).toEqual(
      ["createdAt", "createdBy", "expiresAt", "id", "lastUsedAt", "name", "queues", "scopes"].toSorted(),
    );
  });
});

describe("a revoked key", () => {
  test("is refused at once by the process that revoked it, and within 5 s by the others", async () => {
    const { id, text } = await made();
    expect([await one.holder(text), await other.holder(text)]).toMatchObject([{ id }, { id }]);
    expect(await one.revoke(id)).toBe(true);
    const revokedAt = performance.now();
    expect(await one.holder(text)).toBeNull();
    await until(
      () => other.holder(text),
      (holder) => holder === null,
    );
    expect(performance.now() - revokedAt).toBeLessThan(revokedMsMax);
    expect(keyKeptMs).toBeLessThan(revokedMsMax);
  });

  test("that was read just before, and comes to hand just after, is not kept", async () => {
    const { id, text } = await made();
    const { promise: isRevoked, resolve: revoked } = Promise.withResolvers<void>();
    const { promise: isRead, resolve: read } = Promise.withResolvers<void>();
    const slow = {
      run: async (statement: BoundStatement) => {
        const rows = await store.database.run(statement);
        read();
        await isRevoked;
        return rows;
      },
      query: store.database.query.bind(store.database),
    } as unknown as Database;
    const keys = new ApiKeys(slow, createLog("silent"));
    const early = keys.holder(text);
    await isRead;
    await keys.revoke(id);
    revoked();
    await early;
    expect(await keys.holder(text)).toBeNull();
  });

  test("is gone: a second time there is none", async () => {
    const { id } = await made();
    expect([await one.revoke(id), await one.revoke(id), await other.revoke(id)]).toEqual([true, false, false]);
  });

  test.each(["", "root", "toolongid", "\0\0\0\0\0\0\0\0", "'; drop --"])("of the id %j there is none", async (id) => {
    expect(await one.revoke(id)).toBe(false);
  });
});

describe("a key that expires", () => {
  test("is refused from then on, also by a process that has just read it", async () => {
    const madeAtMs = performance.now();
    const { text } = await made({ expiresInMs: 500 });
    expect(await one.holder(text)).not.toBeNull();
    await until(
      () => one.holder(text),
      (holder) => holder === null,
    );
    const goodMs = performance.now() - madeAtMs;
    expect(goodMs).toBeGreaterThanOrEqual(500);
    expect(goodMs).toBeLessThan(keyKeptMs);
    expect(await other.holder(text)).toBeNull();
  });

  test("says when, and is removed then, as no other key is", async () => {
    const [soon, late, never] = [
      await made({ expiresInMs: 1_000 }),
      await made({ expiresInMs: 3_600_000 }),
      await made(),
    ];
    const list = async () => (await one.list()).filter(({ id }) => [soon.id, late.id, never.id].includes(id));
    const lives = (await list()).map(({ createdAt, expiresAt }) =>
      expiresAt === null ? null : Math.round((expiresAt - createdAt) / 1_000),
    );
    expect(lives).toEqual([1, 3_600, null]);
    await store.query("update lapse.api_keys set expires_at = now() where id = $1", [soon.id]);
    await store.database.query(removeExpiredApiKeys);
    expect((await list()).map(({ id }) => id)).toEqual([late.id, never.id]);
  });
});

describe("the last use of a key", () => {
  test("is written when it is used, and not before", async () => {
    const { id, text } = await made();
    expect(await lastUse(id)).toBeNull();
    await one.holder(text);
    await until(
      () => lastUse(id),
      (at) => at !== null,
    );
  });

  test("is not written by whoever sends its id with another secret", async () => {
    const { id, text } = await made();
    await store.query("update lapse.api_keys set digest = $2 where id = $1", [id, keyDigest("another")]);
    expect(await one.holder(text)).toBeNull();
    const { id: used, text: right } = await made();
    await one.holder(right);
    await until(
      () => lastUse(used),
      (at) => at !== null,
    );
    expect(await lastUse(id)).toBeNull();
  });

  test("is written once a minute at most", async () => {
    const { id } = await made();
    await noteApiKeyUse(store.database, id);
    const first = await lastUse(id);
    await noteApiKeyUse(store.database, id);
    expect(await lastUse(id)).toEqual(first);
    expect(await findApiKeys(store.database, [id])).toMatchObject([{ isUseDue: false }]);
    await store.query("update lapse.api_keys set last_used_at = now() - interval '61 seconds' where id = $1", [id]);
    expect(await findApiKeys(store.database, [id])).toMatchObject([{ isUseDue: true }]);
    await noteApiKeyUse(store.database, id);
    expect((await lastUse(id))?.getTime()).toBeGreaterThanOrEqual(first?.getTime() ?? 0);
  });
});

test("there are 1,000 keys at most, and a revoked one makes room", async () => {
  await store.query("delete from lapse.api_keys");
  await store.query(
    `insert into lapse.api_keys (id, name, scopes, digest, created_by)
     select lpad(n::text, 8, '0'), 'k', '{tasks:read}', sha256('k'), 'root' from generate_series(1, $1) n`,
    [apiKeysMax - 1],
  );
  const last = await made();
  expect(await one.list()).toHaveLength(apiKeysMax);
  expect(await one.make(fields)).toBeNull();
  await one.revoke(last.id);
  expect(await one.make(fields)).not.toBeNull();
});
