// Owns the facts about the fill mark where another server answers: one that was started again, or a replica that was promoted.

import { onTestFinished, expect, test } from "vitest";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { entriesAt, idsOf, type OpenIndex, openIndex, openRaw, until } from "./redis.ts";

/** In ten minutes, as a filling goes. */
const filledUntil = Date.now() + 600_000;

async function start(...settings: readonly string[]): Promise<TestRedis> {
  const redis = await startRedis({ settings });
  onTestFinished(() => redis.stop());
  return redis;
}

async function openOn(redis: TestRedis, prefix?: string): Promise<OpenIndex> {
  const open = await openIndex([redis.url], prefix);
  onTestFinished(() => open.close());
  return open;
}

test("a set is not filled where its server was started again", async () => {
  const redis = await start();
  const { index } = await openOn(redis);
  await index.beginFill("q", "a");
  await index.endFill("q", "a", filledUntil);
  await index.beginFill("q", "b");
  redis.kill("SIGKILL");
  await redis.restart();
  await until(() => index.beginFill("other", "a").then(() => true));
  expect(await index.endFill("q", "b", filledUntil + 1_000)).toBe(false);
  expect(await index.beginFill("q", "c")).toBe(0);
});

test("a set is not filled where its server was started again from a file, and may lack what came last", async () => {
  const redis = await start("dbfilename dump.rdb");
  const { index, raw, key } = await openOn(redis);
  const entries = entriesAt("q", 1_000, 2_000);
  await index.put(entries);
  await index.beginFill("q", "a");
  await index.endFill("q", "a", filledUntil);
  await raw.send("SAVE");
  redis.kill("SIGKILL");
  await redis.restart();
  await until(() => index.beginFill("other", "a").then(() => true));
  // The entries came back with the file, and so did the mark of the server before.
  expect(await raw.send("ZCARD", key("q"))).toBe(3);
  expect(await index.beginFill("q", "b")).toBe(0);
  expect((await index.take({ queue: "q", now: 2_000, leaseUntil: 3_000, limit: 10 })).ids).toEqual(idsOf(entries));
});

test("a set is not filled where a replica was promoted, and may lack what was not replicated", async () => {
  const [first, second] = await Promise.all([start("repl-diskless-sync-delay 0"), start()]);
  const one = await openOn(first);
  await one.index.put(entriesAt("q", 1_000));
  await one.index.beginFill("q", "a");
  await one.index.endFill("q", "a", filledUntil);
  const replica = await openRaw(second.url);
  onTestFinished(() => replica.close());
  await replica.send("REPLICAOF", "127.0.0.1", String(first.port));
  await until(async () => (await replica.send("ZCARD", one.key("q"))) === 2);
  await replica.send("REPLICAOF", "NO", "ONE");

  const { index, entries } = await openOn(second, one.prefix);
  expect(Object.keys(await entries("q"))).toHaveLength(2);
  expect(await index.beginFill("q", "b")).toBe(0);
});
