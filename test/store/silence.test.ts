// Connections that fell silent: through a proxy that drops packets while the sockets stay open.

import { sql } from "kysely";
import { Client } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLog } from "../../src/runtime/log.ts";
import { Database } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { StoreUnavailableError } from "../../src/store/errors.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type FaultProxy, startProxy } from "../fault/proxy.ts";

/** Silence of 500 ms, two looks, and a slow machine. */
const foundMsMax = 3_000;
const connectionCount = 5;
const slowStatement = { name: "slow", text: "select pg_sleep(1.5)", values: [] };
const statement = { name: "answer", text: "select 1 as answer", values: [] };

let testDatabase: TestDatabase;
let proxy: FaultProxy;
let database: Database;

beforeEach(async () => {
  testDatabase = await createDatabase();
  const url = new URL(testDatabase.url);
  proxy = await startProxy(Number(url.port), "postgres");
  url.port = String(proxy.port);
  database = new Database(url.href, createLog("silent"));
});

afterEach(async () => {
  await database.close();
  await proxy.close();
  await testDatabase.drop();
});

/** Hot calls, and others, each on a connection of its own. */
function calls(): Promise<unknown>[] {
  return Array.from({ length: connectionCount }, () => [
    database.run(statement),
    database.query((connection) => sql`select 1 as answer`.execute(connection)),
  ]).flat();
}

/** Of the pools, at the server. */
async function sessions(): Promise<number[]> {
  const client = new Client({ connectionString: testDatabase.url });
  await client.connect();
  const text = "select pid from pg_stat_activity where datname = current_database() and application_name = 'lapse'";
  const { rows } = await client.query<{ pid: number }>(text);
  await client.end();
  return rows.map(({ pid }) => pid);
}

test("a call on a connection that went silent fails soon, and the next finds no other silent one", async () => {
  await Promise.all(calls());
  proxy.set({ kind: "half-open" });
  proxy.set({ kind: "none" });
  const from = performance.now();
  await expect(database.run(statement)).rejects.toThrow(StoreUnavailableError);
  expect(performance.now() - from).toBeLessThan(foundMsMax);
  await Promise.all(calls());
  expect(performance.now() - from).toBeLessThan(foundMsMax);
});

test("a start that nobody answers fails, and does not hang", async () => {
  const url = new URL(testDatabase.url);
  url.port = String(proxy.port);
  proxy.set({ kind: "half-open" });
  await expect(migrate(url.href)).rejects.toThrow(StoreUnavailableError);
});

test("a statement that takes its time is left alone where the server does not tell what its sessions do", async () => {
  const url = new URL(testDatabase.url);
  url.searchParams.set("options", "-c track_activities=off");
  const quiet = new Database(url.href, createLog("silent"));
  await expect(quiet.run(slowStatement)).resolves.toHaveLength(1);
  await quiet.close();
});

test("a statement that takes its time is left alone, and so are the connections beside it", async () => {
  await Promise.all(calls());
  const slow = [
    database.run(slowStatement),
    database.query((connection) => sql`select pg_sleep(1.5)`.execute(connection)),
    database.transaction(async (trx) => {
      await sql`select pg_sleep(0.8)`.execute(trx);
      return sql`select pg_sleep(0.8)`.execute(trx);
    }),
  ];
  const before = await sessions();
  await Promise.all(slow);
  expect(await sessions()).toEqual(expect.arrayContaining(before));
});
