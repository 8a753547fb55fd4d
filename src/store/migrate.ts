// Owns the schema's version: applies the numbered files of sql/ in order, once, however many processes start at the same time.

import { readdir, readFile } from "node:fs/promises";
import { Kysely, PostgresDialect, sql } from "kysely";
import { type Migration, type MigrationProvider, Migrator } from "kysely/migration";
import pg from "pg";
import { sleep } from "../runtime/clock.ts";
import { StoreUnavailableError, storeError } from "./errors.ts";
import type { Tables } from "./tables.ts";

const migrationsFolder = new URL("../../sql/", import.meta.url);
const numberedFile = /^\d{4}_[a-z0-9_]+\.sql$/;

/** Opening a connection, and reading which migrations are applied. */
const readMsMax = 5_000;
/** One migration: it may have to read every task. A server that vanishes meanwhile (packets dropped) is given up after that. */
const migrationMsMax = 3_600_000;
/** A connection that is half-open never answers a polite goodbye. */
const closeMsMax = 1_000;

/**
 * Brings the database up to this version's schema; forward only. Safe to call from several processes at once: kysely's Migrator lets one
 * go first and the others find nothing left to do. Throws `StoreUnavailableError` where Postgres cannot be reached.
 */
export async function migrate(databaseUrl: string): Promise<void> {
  // An older version starting beside a newer one finds its own migrations applied, and leaves the newer ones alone.
  if (await withDatabase(databaseUrl, readMsMax, isMigrated)) return;
  const { error } = await withDatabase(databaseUrl, migrationMsMax, (db) =>
    new Migrator({
      db,
      provider: sqlFiles,
      migrationTableSchema: "lapse",
      allowUnorderedMigrations: false,
    }).migrateToLatest(),
  );
  if (error !== undefined) throw storeError(error);
}

async function withDatabase<T>(
  databaseUrl: string,
  statementMsMax: number,
  work: (database: Kysely<Tables>) => Promise<T>,
): Promise<T> {
  const config: pg.PoolConfig & { pipeline: boolean } = {
    connectionString: databaseUrl,
    max: 2,
    application_name: "lapse-migrate",
    connectionTimeoutMillis: readMsMax,
    query_timeout: statementMsMax,
    // A call that times out ends its connection.
    pipeline: true,
    keepAlive: true,
  };
  const pool = new pg.Pool(config);
  // A broken connection is told by its statement's rejection.
  pool.on("connect", (client) => client.on("error", () => undefined));
  pool.on("error", () => undefined);
  const database = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  try {
    return await work(database);
  } finally {
    await Promise.race([database.destroy(), sleep(closeMsMax)]);
  }
}

/** True where every migration of this version has been applied. */
export async function isMigrated(database: Kysely<Tables>): Promise<boolean> {
  const names = Object.keys(await sqlFiles.getMigrations());
  const result = await sql<{ name: string }>`select name from lapse.kysely_migration`
    .execute(database)
    .catch((error: unknown) => {
      const meaning = storeError(error);
      if (meaning instanceof StoreUnavailableError) throw meaning;
      return { rows: [] as { name: string }[] };
    });
  const applied = new Set(result.rows.map((row) => row.name));
  return names.every((name) => applied.has(name));
}

const sqlFiles: MigrationProvider = {
  async getMigrations() {
    const files = (await readdir(migrationsFolder)).filter((file) => numberedFile.test(file)).toSorted();
    const migrations: Record<string, Migration> = {};
    for (const file of files) {
      const text = await readFile(new URL(file, migrationsFolder), "utf8");
      migrations[file.replace(/\.sql$/, "")] = { up: async (db) => void (await sql.raw(text).execute(db)) };
    }
    return migrations;
  },
};
