// Owns the set-up: sees to it that a Redis can be run. On Debian and Ubuntu it is fetched into node_modules/.cache,
// without root and without touching the system; elsewhere it says what to install.

import "../src/runtime/require-node.ts";
import { parseArgs } from "node:util";
import { findRedis } from "../src/embedded/find-redis.ts";
import { fetchRedis } from "./setup/fetch-redis.ts";

const help = `npm run setup: looks for redis-server or valkey-server on the PATH; where there is none, fetches redis-server on Debian and
Ubuntu into node_modules/.cache/lapse. Always exits 0: Lapse runs without Redis, only the tests do not.`;

const { values } = parseArgs({ options: { help: { type: "boolean" } } });
if (values.help) console.log(help);
else await setUp();

async function setUp(): Promise<void> {
  const redis = findRedis();
  if (redis !== null) return console.log(`setup: Redis ${redis.version} at ${redis.program}`);
  console.log(
    "setup: no redis-server on the PATH, fetching one with apt-get into node_modules/.cache (the system stays as it is)",
  );
  const result = await fetchRedis();
  if (result.kind === "fetched") console.log(`setup: Redis ${result.redis.version} at ${result.redis.program}`);
  else
    console.log(
      `setup: no Redis: ${result.reason}. Install redis-server 6.2 or valkey-server 7 or later (Debian: apt install redis-server)`,
    );
}
