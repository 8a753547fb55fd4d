// Owns the set-up of a due index test: the index on a real Redis, what it announces, and a client that looks behind it.

import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { v7 as uuidv7 } from "uuid";
import type { DueEntry } from "../../src/due-index/due-index.ts";
import { RedisConnection } from "../../src/due-index/redis-connection.ts";
import { RedisIndex, wakeChannel } from "../../src/due-index/redis-index.ts";
import { createLog } from "../../src/runtime/log.ts";

const untilMsMax = 10_000;
const lookMs = 10;

export interface OpenIndex {
  readonly index: RedisIndex;
  readonly prefix: string;
  /** What was announced so far: a time and a queue each. */
  readonly wakes: readonly string[];
  /** Resolves once all that was announced before has come. */
  readonly announced: () => Promise<void>;
  readonly raw: RawRedis;
  readonly key: (queue: string) => string;
  /** The queue's entries and marks, by score. */
  readonly entries: (queue: string) => Promise<Record<string, number>>;
  close(): void;
}

export interface RawRedis {
  send(...words: readonly string[]): Promise<unknown>;
  close(): void;
}

/** Opens an index, of its own or one that is there, and waits until it is connected. */
export async function openIndex(urls: readonly string[], prefix = `test:${uuidv7()}:`): Promise<OpenIndex> {
  const wakes: string[] = [];
  const connection = await RedisConnection.open({
    urls,
    log: createLog("silent"),
    channel: wakeChannel(prefix),
    onWake: (message) => wakes.push(message),
  });
  const index = new RedisIndex(connection, prefix);
  const raw = await openRaw(urls[0] ?? "");
  await until(() => index.beginFill("until connected", "1").then(() => true));
  await announced();

  async function announced(): Promise<void> {
    const sentinel = uuidv7();
    // Sent again until it comes: at first nobody may be subscribed yet.
    await until(async () => {
      if (wakes.includes(sentinel)) return true;
      await raw.send("PUBLISH", wakeChannel(prefix), sentinel);
      return false;
    });
    for (let at = wakes.indexOf(sentinel); at >= 0; at = wakes.indexOf(sentinel)) wakes.splice(at, 1);
  }
  const key = (queue: string): string => `${prefix}{${queue}}:due`;
  return {
    index,
    prefix,
    wakes,
    announced,
    raw,
    key,
    entries: async (queue) => {
      const found = (await raw.send("ZRANGE", key(queue), "0", "-1", "WITHSCORES")) as string[];
      return Object.fromEntries(
        Array.from({ length: found.length / 2 }, (_, i) => [found[2 * i] ?? "", Number(found[2 * i + 1])]),
      );
    },
    close: () => {
      raw.close();
      connection.close();
    },
  };
}

export async function openRaw(url: string): Promise<RawRedis> {
  const client = createClient({ url, RESP: 2 });
  client.on("error", () => undefined);
  await client.connect();
  return { send: (...words) => client.sendCommand([...words]), close: () => client.destroy() };
}

/** Looks until it holds; one that throws does not hold. Fails after 10 s. */
export async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + untilMsMax;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > deadlineMs) throw new Error(`Not so within ${untilMsMax} ms: ${String(holds)}`);
    await sleep(lookMs);
  }
}

/** One entry a time, under ids that order like the times. */
export function entriesAt(queue: string, ...times: readonly number[]): DueEntry[] {
  return times.map((at) => ({ queue, id: uuidv7(), at }));
}

export function idsOf(entries: readonly DueEntry[]): string[] {
  return entries.map((entry) => entry.id);
}
