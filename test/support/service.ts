// Owns a real service for tests: Lapse in this very process, on a database and a Redis of its own, with an API that is held to its document.

import { startService } from "../../src/service.ts";
import type { Config } from "../../src/config.ts";
import { createLog } from "../../src/runtime/log.ts";
import { createApi, type TestApi } from "./api.ts";
import { createDatabase } from "./database.ts";
import { startRedis } from "./servers.ts";

/** A Redis that nobody answers as: the service then indexes by Postgres, as where Redis went away. */
const awayRedisUrl = "redis://127.0.0.1:1";

export interface TestServiceOptions {
  /** `own`, the default: a Redis for this service alone. `away`: none answers. Or the URL of one that the caller stops. */
  readonly redis?: "own" | "away" | `redis://${string}`;
  /** Of an existing database; else one is made and dropped at the stop. */
  readonly databaseUrl?: string;
  /** What differs from an open API in all roles on loopback that may call any address. */
  readonly config?: Partial<Config>;
}

export interface TestService {
  readonly url: string;
  readonly api: TestApi;
  readonly databaseUrl: string;
  /** Drains the service, then ends its servers; resolves to its exit code. Receivers that still hang are closed before. */
  stop(): Promise<number>;
}

export async function startTestService(options: TestServiceOptions = {}): Promise<TestService> {
  const database = options.databaseUrl === undefined ? await createDatabase() : null;
  const { redis: wanted = "own" } = options;
  const redis = wanted === "own" ? await startRedis() : null;
  const redisUrl = redis?.url ?? (wanted === "away" ? awayRedisUrl : wanted);
  const databaseUrl = database?.url ?? options.databaseUrl ?? "";
  const config = { ...testConfig(databaseUrl, redisUrl), ...options.config };
  const service = await startService(config, { log: createLog("silent") });
  const api = await createApi(service.url, config.apiKey);
  return {
    url: service.url,
    api,
    databaseUrl,
    async stop() {
      await api.close();
      const exitCode = await service.stop();
      await redis?.stop();
      await database?.drop();
      return exitCode;
    },
  };
}

function testConfig(databaseUrl: string, redisUrl: string): Config {
  return {
    host: "127.0.0.1",
    port: 0,
    databaseUrl,
    redisUrls: [redisUrl],
    dataDir: "/nonexistent",
    role: "all",
    apiKey: null,
    rateLimit: null,
    signingSecrets: null,
    privateTargets: { allow: "all" },
    nat64: "block",
    retentionMs: 7 * 86_400_000,
    catchUpMs: null,
    failpoint: null,
  };
}
