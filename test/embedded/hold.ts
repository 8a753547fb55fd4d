// Owns a process that tests kill: it starts the embedded servers on the folder it is given, says where they are, and waits.

import { startEmbeddedPostgres } from "../../src/embedded/postgres.ts";
import { startEmbeddedRedis } from "../../src/embedded/redis.ts";
import { createLog } from "../../src/runtime/log.ts";

const dataDir = process.argv[2] ?? "";
const log = createLog("silent");
try {
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const redis = await startEmbeddedRedis({ dataDir, log });
  console.log(JSON.stringify({ postgresUrl: postgres.url, redisUrl: redis?.url }));
} catch (error) {
  console.log(JSON.stringify({ fault: error instanceof Error ? error.message : String(error) }));
  process.exit(2);
}
// The servers' handles keep it running; when the test's process goes, however it goes, the pipe closes.
process.stdin.on("end", () => process.exit(1)).resume();
