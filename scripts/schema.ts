// Owns sql/schema.sql: the schema that the migrations lead to, dumped, so that a migration's effect shows in its diff.

import "../src/runtime/require-node.ts";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Client } from "pg";
import { migrate } from "../src/store/migrate.ts";
import { startPostgres } from "../test/support/servers.ts";
import { dumpSchema } from "./schema/dump.ts";

const help = `node scripts/schema.ts: migrates an empty PostgreSQL 18 and writes its schema to sql/schema.sql.
  --check   compare instead, show the difference, and exit with 1 where there is one`;

const header = `-- The schema that the migrations of this folder lead to. Written by \`node scripts/schema.ts\`, never by hand.
-- Dumped from PostgreSQL's catalogue: why a column or an index is there stands in its migration.
`;

const path = fileURLToPath(new URL("../sql/schema.sql", import.meta.url));
const { values } = parseArgs({ options: { check: { type: "boolean" }, help: { type: "boolean" } } });

if (values.help) console.log(help);
else {
  const schema = `${header}\n${await dumpMigrated()}\n`;
  if (values.check) check(schema);
  else writeFileSync(path, schema);
}

async function dumpMigrated(): Promise<string> {
  const postgres = await startPostgres();
  try {
    await migrate(postgres.url);
    const client = new Client({ connectionString: postgres.url });
    await client.connect();
    try {
      return await dumpSchema(client);
    } finally {
      await client.end();
    }
  } finally {
    await postgres.stop();
  }
}

function check(schema: string): void {
  if (readFileSync(path, "utf8") === schema)
    return console.log("schema: sql/schema.sql is what the migrations lead to");
  spawnSync("diff", ["--unified", path, "-"], { input: schema, stdio: ["pipe", "inherit", "inherit"] });
  console.error("schema: sql/schema.sql is not what the migrations lead to: run `node scripts/schema.ts`");
  process.exitCode = 1;
}
