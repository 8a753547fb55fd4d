import { Client } from "pg";
import { expect, test } from "vitest";
import { createDatabase } from "./database.ts";

test("each test file gets a migrated database of its own", async () => {
  const [one, other] = await Promise.all([createDatabase(), createDatabase()]);
  expect(one.url).not.toBe(other.url);
  const client = new Client({ connectionString: one.url });
  await client.connect();
  const { rows } = await client.query("select 1 from pg_namespace where nspname = 'lapse'");
  expect(rows).toHaveLength(1);
  client.on("error", () => undefined); // The drop ends it.
  await Promise.all([one.drop(), other.drop()]);
  await client.end();
});
