// Owns what all test files share: one PostgreSQL, with a migrated template to clone.

import { findRedis } from "../../src/embedded/find-redis.ts";
import { migrate } from "../../src/store/migrate.ts";
import { execute, sharedPostgresVariable, templateName, urlOf } from "./database.ts";
import { removeLeftovers, startPostgres } from "./servers.ts";

export default async function setUp(): Promise<() => Promise<void>> {
  if (findRedis() === null)
    throw new Error("No redis-server or valkey-server: `npm run setup` fetches one, or says what to install");
  removeLeftovers();
  const postgres = await startPostgres();
  await execute(postgres.url, `create database ${templateName}`);
  await migrate(urlOf(postgres.url, templateName));
  process.env[sharedPostgresVariable] = postgres.url;
  return () => postgres.stop();
}
