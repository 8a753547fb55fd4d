// Owns the facts about a pool whose connections are all in use: who waits in vain is told so, and nobody says that Postgres is away.

import { afterAll, expect, test } from "vitest";
import { problemOf } from "../../src/http/problem.ts";
import type { Log } from "../../src/runtime/log.ts";
import { Database } from "../../src/store/database.ts";
import { failureLevel } from "../../src/store/errors.ts";
import { readTime } from "../../src/store/due.ts";
import { sql } from "kysely";
import { createDatabase } from "../support/database.ts";

/** As in src/store/database.ts. */
const patientConnectionsMax = 8;

const logged: string[] = [];
const note = (_fields: object, event: string) => void logged.push(event);
const log = { debug: note, info: note, warn: note, error: note, fatal: note } as unknown as Log;
const testDatabase = await createDatabase();
const database = new Database(testDatabase.url, log);
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

test("a pool that is used up is not a server that is away", async () => {
  const held = Promise.withResolvers<void>();
  const holding = Array.from({ length: patientConnectionsMax }, () =>
    database.patient.query((connection) => connection.connection().execute(() => held.promise)),
  );
  const refused = await database.patient
    .query((connection) => sql`select 1`.execute(connection))
    .catch((error) => error);
  expect(refused).toMatchObject({ code: "store_unavailable", isBusy: true });
  expect(failureLevel(refused)).toBe("warn");
  expect(problemOf(refused, log)).toMatchObject({ status: 503, problem: "store-unavailable" });
  held.resolve();
  await Promise.all(holding);
  await readTime(database);
  expect(logged).toEqual(["store.busy"]);
});
