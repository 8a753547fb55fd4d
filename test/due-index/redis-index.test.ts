// Owns the facts about the sorted sets: what each movement does, as its script's contract says.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { entriesAt, idsOf, type OpenIndex, openIndex } from "./redis.ts";

const leaseMs = 10_000;
/** A queue for each test. */
let queue = "";
let redis: TestRedis;
let open: OpenIndex;

beforeAll(async () => {
  redis = await startRedis();
  open = await openIndex([redis.url]);
});
afterAll(async () => {
  open.close();
  await redis.stop();
});

function newQueue(): string {
  queue = uuidv7();
  return queue;
}

const take = (now: number, limit = 100) => open.index.take({ queue, now, leaseUntil: now + leaseMs, limit });

describe("entering", () => {
  test("keeps each task by its time", async () => {
    const entries = entriesAt(newQueue(), 3_000, 1_000, 2_000);
    await open.index.put(entries);
    expect(await open.entries(queue)).toEqual(Object.fromEntries(entries.map(({ id, at }) => [id, at])));
  });

  test("moves an entry that is there to an earlier time, never to a later one", async () => {
    const [entry] = entriesAt(newQueue(), 2_000) as [ReturnType<typeof entriesAt>[0] & object];
    await open.index.put([entry]);
    await open.index.put([{ ...entry, at: 3_000 }]);
    expect(await open.entries(queue)).toEqual({ [entry.id]: 2_000 });
    await open.index.put([{ ...entry, at: 1_000 }]);
    expect(await open.entries(queue)).toEqual({ [entry.id]: 1_000 });
  });

  test("keeps queues apart", async () => {
    const entries = [...entriesAt(newQueue(), 1_000), ...entriesAt(`${queue}:more`, 1_000)];
    await open.index.put(entries);
    expect((await take(1_000)).ids).toEqual(idsOf(entries).slice(0, 1));
  });

  test("goes in calls of 500 at most", async () => {
    await open.raw.send("CONFIG", "RESETSTAT");
    await open.index.put(entriesAt(newQueue(), ...Array.from({ length: 1_201 }, (_, i) => i)));
    expect(await open.raw.send("ZCARD", open.key(queue))).toBe(1_201);
    const stats = String(await open.raw.send("INFO", "commandstats"));
    expect(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1]).toBe("3");
  });
});

describe("an announcement", () => {
  async function told(): Promise<string[]> {
    await open.announced();
    return open.wakes.filter((wake) => wake.endsWith(queue)).map((wake) => wake.split(" ")[0] ?? "");
  }

  test("is made where an entry is earlier than all that stood, and not otherwise", async () => {
    await open.index.put(entriesAt(newQueue(), 2_000));
    await open.index.put(entriesAt(queue, 3_000));
    await open.index.put(entriesAt(queue, 2_000));
    expect(await told()).toEqual(["2000"]);
    await open.index.put(entriesAt(queue, 1_500, 1_000, 5_000));
    expect(await told()).toEqual(["2000", "1000"]);
  });

  test("is made where the entries before it are leased", async () => {
    await open.index.put(entriesAt(newQueue(), 1_000));
    await take(1_000);
    await open.index.put(entriesAt(queue, 5_000));
    expect(await told()).toEqual(["1000", "5000"]);
  });

  test("is made in a set that has marks alone", async () => {
    await open.index.beginFill(newQueue(), "1");
    await open.index.put(entriesAt(queue, 1_000));
    expect(await told()).toEqual(["1000"]);
  });
});

describe("a take", () => {
  test("gives what is due, the oldest first, and says when the next is", async () => {
    const entries = entriesAt(newQueue(), 3_000, 1_000, 2_000, 9_000);
    await open.index.put(entries);
    expect(await take(3_000)).toEqual({ ids: [entries[1]?.id, entries[2]?.id, entries[0]?.id], nextAt: 9_000 });
  });

  test("gives nothing before its time", async () => {
    await open.index.put(entriesAt(newQueue(), 1_000));
    expect(await take(999.9)).toEqual({ ids: [], nextAt: 1_000 });
  });

  test("of an empty set knows of nothing to come", async () => {
    newQueue();
    expect(await take(1_000)).toEqual({ ids: [], nextAt: null });
  });

  test("hands each out once until its lease ends, and then again", async () => {
    const [id] = idsOf(entriesAt(newQueue(), 1_000));
    await open.index.put([{ queue, id: id ?? "", at: 1_000 }]);
    expect(await take(1_000)).toEqual({ ids: [id], nextAt: 11_000 });
    expect(await take(10_999)).toEqual({ ids: [], nextAt: 11_000 });
    expect(await take(11_000)).toEqual({ ids: [id], nextAt: 21_000 });
  });

  test("gives no more than it was asked for, and 500 at most", async () => {
    await open.index.put(entriesAt(newQueue(), ...Array.from({ length: 600 }, (_, i) => i)));
    expect((await take(1_000, 7)).ids).toHaveLength(7);
    expect((await take(1_000, 10_000)).ids).toHaveLength(500);
    expect((await take(1_000, 10_000)).ids).toHaveLength(93);
  });

  test("gives out no marks", async () => {
    await open.index.beginFill(newQueue(), "1");
    await open.index.endFill(queue, "1", Date.now());
    await open.index.beginFill(queue, "2");
    expect(await take(10_000)).toEqual({ ids: [], nextAt: null });
  });

  test("at once with others never gives a task twice", async () => {
    const entries = entriesAt(newQueue(), ...Array.from({ length: 200 }, () => 1_000));
    await open.index.put(entries);
    const taken = await Promise.all(Array.from({ length: 40 }, () => take(1_000, 7)));
    expect(taken.flatMap(({ ids }) => ids).toSorted()).toEqual(idsOf(entries).toSorted());
  });
});

describe("moving and removing", () => {
  test("sets an entry to an earlier or a later time, rounded up", async () => {
    const entries = entriesAt(newQueue(), 1_000, 2_000);
    await open.index.put(entries);
    const [one, two] = idsOf(entries) as [string, string];
    await open.index.move([
      { queue, id: one, at: 5_000.2 },
      { queue, id: two, at: 500 },
    ]);
    expect(await open.entries(queue)).toEqual({ [one]: 5_001, [two]: 500 });
  });

  test("takes entries out, and those that are not there do no harm", async () => {
    const entries = entriesAt(newQueue(), 1_000, 2_000);
    await open.index.put(entries);
    await open.index.remove([
      { queue, id: entries[0]?.id ?? "" },
      { queue, id: uuidv7() },
    ]);
    expect(await open.entries(queue)).toEqual({ [entries[1]?.id ?? ""]: 2_000 });
  });

  test("of nothing asks nobody", async () => {
    await open.raw.send("CONFIG", "RESETSTAT");
    await Promise.all([open.index.put([]), open.index.move([]), open.index.remove([])]);
    expect(String(await open.raw.send("INFO", "commandstats"))).not.toMatch(/cmdstat_(evalsha|zadd|zrem)/);
  });
});

describe("a filling", () => {
  const begin = (token: string) => open.index.beginFill(queue, token);
  const end = (token: string, until: number) => open.index.endFill(queue, token, until);
  const later = (ms: number): number => 1_795_250_300_000 + ms;

  test("leaves a mark that says how far the set is filled", async () => {
    newQueue();
    expect(await begin("a")).toBe(0);
    expect(await end("a", later(5_400.7))).toBe(true);
    expect(await begin("b")).toBe(later(5_400));
  });

  test("moves the mark forward alone, and not at all where it says so", async () => {
    newQueue();
    for (const until of [later(5_000), later(4_000), 0]) {
      await begin("a");
      expect(await end("a", until)).toBe(true);
    }
    expect(await begin("b")).toBe(later(5_000));
  });

  test("of two at once does not end the other", async () => {
    newQueue();
    await begin("a");
    await begin("b");
    expect(await end("a", later(5_000))).toBe(true);
    expect(await end("b", later(6_000))).toBe(true);
    expect(await end("b", later(7_000))).toBe(false);
  });

  test("is in vain where the set was flushed meanwhile, and the mark is gone", async () => {
    newQueue();
    await begin("a");
    await end("a", later(5_000));
    await begin("b");
    await open.raw.send("FLUSHALL");
    expect(await end("b", later(6_000))).toBe(false);
    expect(await begin("c")).toBe(0);
  });

  test("removes the marks of other servers, and keeps its own and the entries", async () => {
    newQueue();
    await begin("a");
    await end("a", later(5_000));
    const [entry] = entriesAt(queue, 1_000);
    await open.index.put(entry === undefined ? [] : [entry]);
    const stale = "filled:0000000000000000000000000000000000000000:1111111111111111111111111111111111111111";
    await open.raw.send("ZADD", open.key(queue), `${-later(9_000)}`, stale);
    expect(await begin("b")).toBe(later(5_000));
    const members = Object.keys(await open.entries(queue));
    expect(members).not.toContain(stale);
    expect(members).toContain(entry?.id);
  });

  test("that was given up ten minutes ago leaves nothing behind, one that may go on does", async () => {
    const seconds = (ago: number): string => String(ago - Math.floor(Date.now() / 1_000));
    await open.raw.send("ZADD", open.key(newQueue()), seconds(700), "filling:old", seconds(500), "filling:young");
    await begin("a");
    await end("a", later(0));
    expect(Object.keys(await open.entries(queue)).filter((member) => member.startsWith("filling"))).toEqual([
      "filling:young",
    ]);
  });

  test("leaves nothing of itself behind", async () => {
    newQueue();
    for (let i = 0; i < 50; i += 1) {
      await begin(`${i}`);
      await end(`${i}`, later(i));
    }
    expect(Object.keys(await open.entries(queue)).length).toBe(1);
  });
});

test("an entry takes 150 bytes at most, and a call for 500 of them less than 5 ms", async () => {
  const count = 10_000;
  const now = Date.now();
  await open.raw.send("CONFIG", "RESETSTAT");
  await open.index.put(entriesAt(newQueue(), ...Array.from({ length: count }, (_, i) => now + i)));
  const bytes = Number(await open.raw.send("MEMORY", "USAGE", open.key(queue), "SAMPLES", "0"));
  expect(bytes / count).toBeLessThanOrEqual(150);
  const stats = String(await open.raw.send("INFO", "commandstats"));
  expect(Number(/cmdstat_evalsha:.*usec_per_call=([\d.]+)/.exec(stats)?.[1])).toBeLessThan(5_000);
});
