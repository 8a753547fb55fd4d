// Owns what all test files share: one PostgreSQL, with a migrated template to clone.

import { rm } from "node:fs/promises";
import { findRedis } from "../../src/embedded/find-redis.ts";
import { migrate } from "../../src/store/migrate.ts";
import { execute, sharedPostgresVariable, templateName, urlOf } from "./database.ts";
import { codeFolderVariable, startLapse } from "./process.ts";
import { makeFolder, removeLeftovers, startPostgres } from "./servers.ts";

export default async function setUp(): Promise<() => Promise<void>> {
  if (findRedis() === null)
    throw new Error("No redis-server or valkey-server: `npm run setup` fetches one, or says what to install");
  removeLeftovers();
  const postgres = await startPostgres();
  await execute(postgres.url, `create database ${templateName}`);
  await migrate(urlOf(postgres.url, templateName));
  process.env[sharedPostgresVariable] = postgres.url;
  const codeFolder = await compileOnce();
  return async () => {
    await postgres.stop();
    await rm(codeFolder, { recursive: true, force: true });
  };
}

/** A process that ends by itself leaves its compiled code to those that are killed. */
async function compileOnce(): Promise<string> {
  const folder = makeFolder();
  process.env[codeFolderVariable] = folder;
  const ended = await startLapse({ env: { LAPSE_FAILPOINT: "nowhere" } }).then(() => "it listens", String);
  if (!ended.includes("LAPSE_FAILPOINT: expected one of")) throw new Error(`Lapse did not end as asked: ${ended}`);
  return folder;
}
