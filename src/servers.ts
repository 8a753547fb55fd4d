// Owns which servers a process stands on: those it was given, or its own.

import type { Config } from "./config.ts";
import { startEmbeddedPostgres } from "./embedded/postgres.ts";
import { startEmbeddedRedis } from "./embedded/redis.ts";
import type { Log } from "./runtime/log.ts";

export interface Servers {
  readonly databaseUrl: string;
  /** Null: due times are indexed by Postgres alone. */
  readonly redisUrls: readonly string[] | null;
  /** The database is this process's own child: no other process dispatches on it. */
  readonly isDatabaseOwned: boolean;
  /** For people: what it runs on. */
  readonly postgres: string;
  readonly index: string;
  stop(): Promise<void>;
}

/** Starts what the settings leave open. */
export async function startServers({ databaseUrl, redisUrls, dataDir, role }: Config, log: Log): Promise<Servers> {
  const postgres = databaseUrl === null ? await startEmbeddedPostgres({ dataDir, log }) : null;
  try {
    // A Redis that is this process's child is no index for others: an API and a dispatcher apart share one by REDIS_URL, or none.
    const ownsRedis = redisUrls === null && role === "all";
    const redis = ownsRedis ? await startEmbeddedRedis({ dataDir, log }) : null;
    return {
      databaseUrl: postgres?.url ?? databaseUrl ?? "",
      redisUrls: redisUrls ?? (redis === null ? null : [redis.url]),
      isDatabaseOwned: postgres !== null,
      postgres: postgres?.description ?? "PostgreSQL of DATABASE_URL",
      index: redisUrls === null ? (redis?.description ?? "PostgreSQL alone") : "Redis of REDIS_URL",
      async stop() {
        await redis?.stop();
        await postgres?.stop();
      },
    };
  } catch (error) {
    await postgres?.stop();
    throw error;
  }
}
