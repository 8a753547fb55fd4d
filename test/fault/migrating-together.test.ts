// Goal: several processes that start at once on an empty database all come up, on one and the same schema.
// Method: processes of every role started together, without a migration before; a task through them; the histories compared.

import { expect, test } from "vitest";
import { sized } from "../support/size.ts";
import { rowsOf } from "./held.ts";
import { makeWorld, testMsMax } from "./world.ts";

const roles = ["all", "api", "dispatcher"] as const;
const ofEachRole = sized({ usual: 2, long: 6 });

test("processes that start together on an empty database all come up", { timeout: testMsMax }, async () => {
  const { caller, receiver, start, databaseUrl, expectPromisesKept } = await makeWorld({ isEmpty: true });
  await Promise.all(roles.flatMap((role) => Array.from({ length: ofEachRole }, () => start(role))));

  const migrations = await rowsOf<{ name: string }>(databaseUrl, "select name from lapse.kysely_migration");
  expect(new Set(migrations.map((row) => row.name)).size).toBe(migrations.length);
  const settings = await rowsOf<{ name: string }>(databaseUrl, "select name from lapse.settings order by name");
  expect(settings.map((row) => row.name)).toEqual(["confirm_key", "installation", "signing_secret"]);
  expect((await caller.accept({ url: receiver.url })).status).toBe(201);
  await expectPromisesKept({ latenessMsMax: 2_000 });
});
