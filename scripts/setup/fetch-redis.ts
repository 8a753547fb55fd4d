// Owns fetching Redis on Debian and Ubuntu into the cache in which the service looks for it.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type CachedRedis,
  cachedRedisFile,
  findCachedRedis,
  type RedisProgram,
  redisCacheFolder,
} from "../../src/embedded/find-redis.ts";
import { fetchPackages } from "./fetch-packages.ts";

const program = "root/usr/bin/redis-server";

export type FetchResult =
  | { readonly kind: "fetched"; readonly redis: RedisProgram }
  | { readonly kind: "unavailable"; readonly reason: string };

/** Fetches the distribution's redis-server into the cache. Never throws for what the world does: it says why there is none. */
export async function fetchRedis(): Promise<FetchResult> {
  const reason = await fetchPackages({
    // redis-server is a link into redis-tools.
    packages: ["redis-server", "redis-tools"],
    program,
    cacheFolder: redisCacheFolder,
    finish: async (folder, libraryFolders) => {
      const marker: CachedRedis = { program, libraryFolders };
      await writeFile(join(folder, cachedRedisFile), JSON.stringify(marker));
    },
  });
  if (reason !== null) return { kind: "unavailable", reason };
  const redis = findCachedRedis();
  if (redis !== null) return { kind: "fetched", redis };
  return { kind: "unavailable", reason: "the distribution's redis-server is older than 6.2, or does not run here" };
}
