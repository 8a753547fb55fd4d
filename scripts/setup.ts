// Owns the set-up: sees to it that a Redis can be run, and what the tests need besides. On Debian and Ubuntu it is fetched into
// node_modules/.cache, without root and without touching the system; elsewhere it says what to install.

import "../src/runtime/require-node.ts";
import { parseArgs } from "node:util";
import { findRedis } from "../src/embedded/find-redis.ts";
import { fetchRedis } from "./setup/fetch-redis.ts";
import { testTools } from "./setup/test-tools.ts";

const help = `npm run setup: looks for redis-server or valkey-server on the PATH, and for what the tests need besides: spin, a C compiler,
libfaketime. Where one is missing, fetches it on Debian and Ubuntu into node_modules/.cache/lapse. Always exits 0: Lapse runs
without them, only the tests do not.

  --redis-only  leaves the tests' tools alone`;

const { values } = parseArgs({ options: { help: { type: "boolean" }, "redis-only": { type: "boolean" } } });
if (values.help) console.log(help);
else {
  await setUpRedis();
  if (!values["redis-only"]) await setUpTestTools();
}

async function setUpRedis(): Promise<void> {
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

async function setUpTestTools(): Promise<void> {
  for (const { name, install, isFound, fetch } of testTools) {
    if (isFound()) continue;
    console.log(`setup: no ${name} for the tests, fetching it with apt-get into node_modules/.cache`);
    const reason = await fetch();
    if (!isFound())
      console.log(
        `setup: no ${name}: ${reason ?? "it is not in its package"}. Install it (Debian: apt install ${install})`,
      );
  }
}
