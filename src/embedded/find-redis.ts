// Owns where a Redis to run is found: on the PATH, else in the cache that `npm run setup` fills.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** What Lapse's scripts need: ZRANGE … BYSCORE came with Redis 6.2, and Valkey began at 7.2. */
const versionMin = { major: 6, minor: 2 };

/** The cache of this checkout: `npm ci` empties it, `npm run setup` fills it. */
export const redisCacheFolder = fileURLToPath(new URL("../../node_modules/.cache/lapse/redis", import.meta.url));

export interface RedisProgram {
  /** Its absolute path. */
  readonly program: string;
  readonly version: string;
  /** Libraries that came with it, for LD_LIBRARY_PATH; empty where the system has them all. */
  readonly libraryPath: string;
}

/** What stands beside a cached program, written last: without it the cache is unfinished. Paths are relative to the cache. */
export interface CachedRedis {
  readonly program: string;
  readonly libraryFolders: readonly string[];
}

export const cachedRedisFile = "redis.json";

/** A Redis or Valkey that runs here and is new enough, or null. */
export function findRedis(): RedisProgram | null {
  return probeOnPath("redis-server") ?? probeOnPath("valkey-server") ?? findCachedRedis();
}

/** The one that the set-up fetched, or null. */
export function findCachedRedis(): RedisProgram | null {
  const marker = join(redisCacheFolder, cachedRedisFile);
  if (!existsSync(marker)) return null;
  const cached = JSON.parse(readFileSync(marker, "utf8")) as CachedRedis;
  const libraryPath = cached.libraryFolders.map((folder) => join(redisCacheFolder, folder)).join(":");
  return probe(join(redisCacheFolder, cached.program), libraryPath);
}

/** The environment a Redis is run with. */
export function redisEnv(redis: RedisProgram): Record<string, string> {
  return redis.libraryPath === "" ? {} : { LD_LIBRARY_PATH: redis.libraryPath };
}

function probeOnPath(name: string): RedisProgram | null {
  const program = spawnSync("/bin/sh", ["-c", 'command -v "$1"', "sh", name], { encoding: "utf8" }).stdout?.trim();
  return program ? probe(program, "") : null;
}

/** The program as it says its version; null where it does not run or is too old. */
function probe(program: string, libraryPath: string): RedisProgram | null {
  const options = libraryPath === "" ? {} : { env: { LD_LIBRARY_PATH: libraryPath } };
  const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8", ...options });
  const [, version, major, minor] = /\bv=((\d+)\.(\d+)\S*)/.exec(stdout ?? "") ?? [];
  if (status !== 0 || version === undefined) return null;
  const isOldMinor = Number(major) === versionMin.major && Number(minor) < versionMin.minor;
  return Number(major) < versionMin.major || isOldMinor ? null : { program, version, libraryPath };
}
