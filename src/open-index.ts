// Owns how the due index is opened, and what shares its connection to Redis.

import { randomBytes } from "node:crypto";
import type { DueIndex } from "./due-index/due-index.ts";
import { PostgresIndex } from "./due-index/postgres-index.ts";
import { RedisConnection } from "./due-index/redis-connection.ts";
import { RedisIndex, wakeChannel } from "./due-index/redis-index.ts";
import { SwitchingIndex } from "./due-index/switching-index.ts";
import type { RateLimiterParts, RunScript } from "./rate-limit/rate-limiter.ts";
import type { Log } from "./runtime/log.ts";
import type { Metrics } from "./runtime/metrics.ts";
import type { Servers } from "./servers.ts";
import type { Database } from "./store/database.ts";
import { readDue } from "./store/due.ts";
import { readSetting } from "./store/settings.ts";

const installationBytes = 4;

/** What the index's channel tells: a task of the queue was entered, due at `at`; or the queue is to be looked at anew. */
export interface Wakes {
  onEntered: (queue: string, at: number) => void;
  onQueueChanged: (queue: string) => void;
}

interface IndexParts {
  readonly servers: Servers;
  readonly database: Database;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly wakes: Wakes;
}

export interface OpenIndex {
  readonly index: DueIndex;
  readonly redisIndex: SwitchingIndex | null;
  /** For the rate limit, on the same connection. */
  readonly scripts: RateLimiterParts["redis"];
  /** A Redis Cluster's masters, as they stand now. */
  readonly nodes: () => RedisConnection["nodes"];
  readonly closeIndex: () => void;
}

/** Opens the due index: Redis where there is one, with Postgres in its stead; else Postgres alone. */
export async function openIndex({ servers, database, log, metrics, wakes }: IndexParts): Promise<OpenIndex> {
  const postgres = new PostgresIndex({ readDue: (queue, request) => readDue(database, queue, request) });
  if (servers.redisUrls === null) {
    return { index: postgres, redisIndex: null, scripts: null, nodes: () => [], closeIndex: () => undefined };
  }
  const installation = await readSetting(database, "installation", () =>
    randomBytes(installationBytes).toString("hex"),
  );
  const prefix = `lapse:${installation}:`;
  const connection = await RedisConnection.open({
    urls: servers.redisUrls,
    log,
    channel: wakeChannel(prefix),
    onWake: (message) => {
      const space = message.indexOf(" ");
      const [at, queue] = [Number(message.slice(0, space)), message.slice(space + 1)];
      if (at === 0) wakes.onQueueChanged(queue);
      else wakes.onEntered(queue, at);
    },
  });
  const redisIndex = new SwitchingIndex({ redis: new RedisIndex(connection, prefix), postgres, log, metrics });
  const run: RunScript = (script, key, args) =>
    connection.call((client) => client.eval(script, { keys: [key], arguments: args }));
  const [nodes, closeIndex] = [() => connection.nodes, () => connection.close()];
  return { index: redisIndex, redisIndex, scripts: { run, prefix }, nodes, closeIndex };
}
