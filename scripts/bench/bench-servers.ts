// Owns the servers that all contenders share: a PostgreSQL and a Redis of the benchmark's own, as durable as they are named.

import { rm } from "node:fs/promises";
import { createClient } from "redis";
import { startEmbeddedPostgres } from "../../src/embedded/postgres.ts";
import { startEmbeddedRedis } from "../../src/embedded/redis.ts";
import { createLog } from "../../src/runtime/log.ts";
import { parentOf } from "./cpu.ts";
import { makeDataFolder } from "./data-folder.ts";
import { openPool } from "./pg-pool.ts";

export interface BenchServers {
  /** A new, empty database, and the Redis database of that number, emptied. */
  open(name: string, redisNumber: number): Promise<Store>;
  /** What runs, with the settings that durability and speed hang on. */
  describe(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

export interface Store {
  readonly databaseUrl: string;
  readonly redisUrl: string;
  /** Ids of the servers' first processes. */
  readonly pids: { readonly postgres: number; readonly redis: number };
  databaseBytes(): Promise<number>;
  /** All that Redis holds. */
  redisBytes(): Promise<number>;
  /** As autovacuum would by and by: what was made is analysed, and its pages are written out. */
  settle(): Promise<void>;
  drop(): Promise<void>;
}

const postgresSettings = [
  "fsync",
  "synchronous_commit",
  "full_page_writes",
  "wal_level",
  "shared_buffers",
  "max_wal_size",
  "max_connections",
];
const redisSettings = ["appendonly", "save", "maxmemory-policy"];

export async function startBenchServers(): Promise<BenchServers> {
  const dataDir = await makeDataFolder();
  const log = createLog("warn");
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const redis = await startEmbeddedRedis({ dataDir, log });
  if (redis === null) throw new Error("no redis-server here: `npm run setup` fetches one");
  const admin = openPool(postgres.url, 1);
  const redisClient = createClient({ url: redis.url });
  redisClient.on("error", () => undefined);
  await redisClient.connect();
  return {
    async open(name, redisNumber) {
      await admin.query(`create database ${name}`);
      const databaseUrl = postgres.url.replace(/\/[^/]*$/, `/${name}`);
      const store = await openStore(databaseUrl, `${redis.url}/${redisNumber}`);
      return {
        ...store,
        async drop() {
          await store.drop();
          await admin.query(`drop database ${name} with (force)`);
          await admin.query("checkpoint");
        },
      };
    },
    async describe() {
      const { rows } = await admin.query<{ name: string; value: string }>(
        "select name, current_setting(name) as value from pg_settings where name = any($1) order by name",
        [postgresSettings],
      );
      const version = await admin.query<{ version: string }>("select current_setting('server_version') as version");
      const settings = await Promise.all(redisSettings.map((name) => redisClient.configGet(name)));
      return [
        `PostgreSQL ${version.rows[0]?.version}: ${rows.map(({ name, value }) => `${name} ${value}`).join(", ")}`,
        `${redis.description.replace(/ \(.*/, "")}: ${settings
          .flatMap((setting) => Object.entries(setting))
          .map(([name, value]) => `${name} ${value === "" ? '""' : value}`)
          .join(", ")}`,
      ];
    },
    async stop() {
      await admin.end();
      redisClient.destroy();
      await redis.stop();
      await postgres.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function openStore(databaseUrl: string, redisUrl: string): Promise<Store> {
  const database = openPool(databaseUrl, 1);
  const redis = createClient({ url: redisUrl });
  redis.on("error", () => undefined);
  await redis.connect();
  await redis.flushDb();
  const { rows: backends } = await database.query<{ pid: number }>("select pg_backend_pid() as pid");
  return {
    databaseUrl,
    redisUrl,
    pids: {
      postgres: parentOf(backends[0]?.pid ?? 0),
      redis: Number(/process_id:(\d+)/.exec(await redis.info("server"))?.[1]),
    },
    async databaseBytes() {
      const { rows } = await database.query<{ bytes: string }>("select pg_database_size(current_database()) as bytes");
      return Number(rows[0]?.bytes);
    },
    async redisBytes() {
      return Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1]);
    },
    async settle() {
      await database.query("vacuum analyze");
      await database.query("checkpoint");
    },
    async drop() {
      await database.end();
      await redis.flushDb();
      redis.destroy();
    },
  };
}
