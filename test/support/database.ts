// Owns a test file's own database: a clone of the migrated template on the PostgreSQL that all test files share.

import { randomBytes } from "node:crypto";
import { Client } from "pg";

/** How the global set-up tells the workers where the shared server is. */
export const sharedPostgresVariable = "TEST_POSTGRES_URL";
export const templateName = "lapse_template";

export interface TestDatabase {
  readonly url: string;
  /** Also where sessions are still open: they are ended. */
  drop(): Promise<void>;
}

/** Clones the migrated template under a name of its own. */
export async function createDatabase(): Promise<TestDatabase> {
  const adminUrl = process.env[sharedPostgresVariable];
  if (adminUrl === undefined)
    throw new Error("No shared PostgreSQL: run the tests by `npm test`, whose global set-up starts it");
  const name = `test_${randomBytes(8).toString("hex")}`;
  await execute(adminUrl, `create database ${name} template ${templateName}`);
  return { url: urlOf(adminUrl, name), drop: () => execute(adminUrl, `drop database if exists ${name} with (force)`) };
}

/** Runs one statement on a connection of its own. */
export async function execute(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** The same server, another database. */
export function urlOf(serverUrl: string, database: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  return url.href;
}
