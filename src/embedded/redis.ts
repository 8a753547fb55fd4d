// Owns the Redis that runs where REDIS_URL is unset. It holds only the due index, which can be made anew: nothing of it is kept.

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Log } from "../runtime/log.ts";
import type { Child } from "./child.ts";
import { makeDataDir } from "./data-dir.ts";
import { findRedis } from "./find-redis.ts";
import { findFreePort } from "./free-port.ts";
import type { EmbeddedServer } from "./postgres.ts";
import { startRedisServer } from "./redis-server.ts";
import { Supervisor } from "./supervisor.ts";

const passwordBytes = 24;
/** Between choosing a free port and listening on it, another process may take it. */
const triesMax = 3;
const effect = "due times are indexed by Postgres alone";

/**
 * Starts a Redis or Valkey on loopback, started again if it dies. Null, with one log line, where none can be run:
 * due times are then indexed by Postgres alone.
 */
export async function startEmbeddedRedis(options: { dataDir: string; log: Log }): Promise<EmbeddedServer | null> {
  const { dataDir, log } = options;
  const redis = findRedis();
  if (redis === null) {
    log.info({ reason: "no redis-server or valkey-server on the PATH", effect }, "redis.not_found");
    return null;
  }
  makeDataDir(dataDir);
  const password = randomBytes(passwordBytes).toString("hex");
  const startOn = (port: number): Promise<Child> =>
    startRedisServer({
      redis,
      port,
      folder: dataDir,
      logPath: join(dataDir, "redis.log"),
      password,
      settings: ["loglevel warning"],
    });
  const started = await startSomewhere(startOn);
  if (!("child" in started)) {
    log.warn({ err: started.error, effect }, "redis.start_failed");
    return null;
  }
  const { port, child } = started;
  const supervisor = new Supervisor({ name: "redis", first: child, start: () => startOn(port), log });
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    description: `Redis ${redis.version} (${redis.program})`,
    stop: async () => {
      const last = await supervisor.release();
      last.kill("SIGKILL"); // It keeps nothing.
      await last.exited;
    },
  };
}

type Started = { readonly port: number; readonly child: Child } | { readonly error: unknown };

async function startSomewhere(startOn: (port: number) => Promise<Child>, tries = 1): Promise<Started> {
  const port = await findFreePort();
  try {
    return { port, child: await startOn(port) };
  } catch (error) {
    return tries === triesMax ? { error } : startSomewhere(startOn, tries + 1);
  }
}
