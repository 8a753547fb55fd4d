// Owns the facts about takes without Redis: each goes on where the last one ended, and passes over nothing for long.

import { afterAll, beforeEach, expect, test } from "vitest";
import { PostgresIndex } from "../../src/due-index/postgres-index.ts";
import { readDue } from "../../src/store/due.ts";
import { Explainer } from "../store/plans.ts";
import { openStore } from "../store/store.ts";

/** As in src/due-index/postgres-index.ts. */
const wholeEachMs = 1_000;
const queue = "default";
const store = await openStore();
const { database } = store;
afterAll(() => store.close());

let nowMs: number;
let reads: (number | null)[];
/** Passed while a take is under way. */
let during: () => Promise<unknown>;
let index: PostgresIndex;

beforeEach(async () => {
  await store.query("truncate lapse.tasks");
  [nowMs, reads, during] = [0, [], async () => undefined];
  const read: ConstructorParameters<typeof PostgresIndex>[0]["readDue"] = async (name, request) => {
    reads.push(request.from?.at ?? null);
    const found = await readDue(database, name, request);
    await during();
    return found;
  };
  index = new PostgresIndex({ readDue: read }, () => nowMs);
});

/** Tasks due so many seconds ago, the first the longest. */
async function due(...secondsAgo: readonly number[]): Promise<string[]> {
  const ids: string[] = [];
  for (const ago of secondsAgo) ids.push(await store.insert({ dueInMs: -1_000 * ago }));
  return ids;
}

async function dueAt(id: string | undefined): Promise<number> {
  return (await store.read(String(id))).next_attempt_at;
}

async function take(limit: number): Promise<readonly string[]> {
  const now = Date.now();
  return (await index.take({ queue, now, leaseUntil: now + 10_000, limit })).ids;
}

test("a take goes on where the last one ended while there is more, then all are looked at", async () => {
  const ids = await due(60, 50, 40, 30, 20);
  expect(await take(2)).toEqual(ids.slice(0, 2));
  expect(await take(2)).toEqual(ids.slice(2, 4));
  // Nobody claimed them.
  expect(await take(2)).toEqual(ids.slice(0, 2));
  expect(reads).toEqual([null, await dueAt(ids[1]), await dueAt(ids[3]), null]);
});

test("what was committed behind it is found within a second", async () => {
  const [first, second, third] = await due(60, 50, 40, 30, 20);
  expect(await take(1)).toEqual([first]);
  const [late] = await due(70);
  nowMs = wholeEachMs - 1;
  expect(await take(1)).toEqual([second]);
  nowMs = wholeEachMs;
  expect(await take(1)).toEqual([late]);
  expect(await take(3)).toEqual([first, second, third]);
});

test("what is told to be due before it is taken next, told while it is under way or after", async () => {
  const [first, second] = await due(60, 50, 40, 30, 20);
  expect(await take(2)).toEqual([first, second]);
  await index.move([{ queue, id: String(second), at: await dueAt(second) }]);
  during = async () => index.put([{ queue, id: String(first), at: await dueAt(first) }]);
  expect(await take(1)).toEqual([second]);
  during = async () => undefined;
  expect(await take(1)).toEqual([first]);
  await index.put([
    { queue, id: String(first), at: Date.now() },
    { queue: "another", id: String(first), at: 0 },
  ]);
  expect(await take(1)).toEqual([second]);
});

test("a row that was locked is taken once it is free", async () => {
  const [locked, second, third, fourth] = await due(60, 50, 40, 30);
  const stranger = await store.stranger();
  await stranger.query("begin");
  await stranger.query("select from lapse.tasks where id = $1 for update", [locked]);
  expect(await take(1)).toEqual([second]);
  await stranger.query("rollback");
  expect(await take(1)).toEqual([third]);
  nowMs = wholeEachMs;
  expect(await take(4)).toEqual([locked, second, third, fourth]);
});

test("where looking at all is dear, takes look ten seconds back until it is time again", async () => {
  const [old, ...latest] = await due(60, 9, 8);
  during = async () => (nowMs += 1_000);
  expect(await take(4)).toEqual([old, ...latest]);
  during = async () => undefined;
  nowMs += 9_999;
  expect(await take(4)).toEqual(latest);
  nowMs += 1;
  expect(await take(4)).toEqual([old, ...latest]);
});

test("after a reset all are looked at", async () => {
  const [first, second] = await due(60, 50, 40);
  expect([await take(1), await take(1)]).toEqual([[first], [second]]);
  await index.reset(queue);
  expect(await take(1)).toEqual([first]);
});

test("the last take of a burst goes through no more than the first, though nothing was vacuumed", async () => {
  const [count, limit] = [5_000, 100];
  await store.query("alter table lapse.tasks set (autovacuum_enabled = off)");
  for (let made = 0; made < count; made += 1_000) await store.insertMany(1_000, { dueInMs: made - 60_000 });
  await store.query("vacuum analyze lapse.tasks");
  const explainer = await Explainer.open(store);
  const pagesOf = async (from: { at: number; id: string } | null): Promise<number> => {
    const sent = await explainer.record((recording) => readDue(recording, queue, { limit, from }));
    const [taken] = await explainer.explain(sent.slice(0, 1), "custom");
    return taken?.pages ?? 0;
  };
  try {
    const first = await pagesOf(null);
    const holder = await store.stranger();
    await holder.query("begin isolation level repeatable read");
    await holder.query("select 1");
    for (let done = limit; done < count; done += limit)
      await store.query("update lapse.tasks set state = 'succeeded', finished_at = now() where id = any($1)", [
        await take(limit),
      ]);
    const places = reads.slice(1);
    expect(places.every((place) => place !== null)).toBe(true);
    const rest = await take(limit);
    expect(await pagesOf({ at: await dueAt(rest[0]), id: String(rest[0]) })).toBeLessThan(1.5 * first);
    expect(await pagesOf(null)).toBeGreaterThan(1.5 * first);
    await holder.query("rollback");
  } finally {
    await explainer.close();
  }
});
