// Owns the facts about telling the index and the lanes of what callers did.

import { describe, expect, test } from "vitest";
import { type DueEntry, entryHorizonMs } from "../../src/due-index/due-index.ts";
import { EntryFeed } from "../../src/due-index/entry-feed.ts";

const now = 1_000_000;
type Gone = Omit<DueEntry, "at">;

function setUp(fault: Error | null = null) {
  const puts: (readonly DueEntry[])[] = [];
  const removals: (readonly Gone[])[] = [];
  const hints: [string, number][] = [];
  const work = async (): Promise<void> => {
    if (fault !== null) throw fault;
  };
  const feed = new EntryFeed({
    index: {
      put: (entries) => (puts.push(entries), work()),
      remove: (entries) => (removals.push(entries), work()),
      reset: async () => undefined,
      move: work,
      take: async () => ({ ids: [], nextAt: null }),
    },
    now: () => now,
    onQueueChanged: () => undefined,
    onEntered: (queue, at) => hints.push([queue, at]),
  });
  return { feed, puts, removals, hints };
}

const entry = (id: string, at: number, queue = "q"): DueEntry => ({ queue, id, at });
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

describe("tasks that wait", () => {
  test("are entered together a turn, and each queue's lane hears of the earliest", async () => {
    const { feed, puts, hints } = setUp();
    const entries = [entry("1", now + 20), entry("2", now + 10), entry("3", now + 30, "other")];
    for (const one of entries) feed.due([one]);
    await turn();
    expect(puts).toEqual([entries]);
    expect(hints).toEqual([
      ["q", now + 10],
      ["other", now + 30],
    ]);
  });

  test("due beyond the horizon are not kept, and an entry they had is removed", async () => {
    const { feed, puts, removals, hints } = setUp();
    feed.due([entry("far", now + entryHorizonMs + 1), entry("near", now + entryHorizonMs)]);
    await turn();
    expect(puts).toEqual([[entry("near", now + entryHorizonMs)]]);
    expect(removals).toMatchObject([[{ queue: "q", id: "far" }]]);
    expect(hints).toEqual([["q", now + entryHorizonMs]]);
  });

  test("are entered when they are new, unless they are due beyond the horizon", async () => {
    const { feed, puts, removals } = setUp();
    feed.made([entry("far", now + entryHorizonMs + 1), entry("near", now + entryHorizonMs)]);
    feed.made([entry("far too", now + entryHorizonMs + 1)]);
    await turn();
    expect({ puts, removals }).toEqual({ puts: [[entry("near", now + entryHorizonMs)]], removals: [] });
  });

  test("are hinted at where the index cannot keep them too", async () => {
    const { feed, hints } = setUp(new Error("Redis is away"));
    feed.due([entry("1", now)]);
    await turn();
    expect(hints).toEqual([["q", now]]);
  });
});

describe("tasks that wait no more", () => {
  test("are not removed where they were due beyond the horizon", async () => {
    const { feed, removals } = setUp();
    feed.gone([entry("far", now + entryHorizonMs + 1), entry("near", now + entryHorizonMs)]);
    await turn();
    expect(removals).toEqual([[entry("near", now + entryHorizonMs)]]);
  });

  test("are removed, whether or not the index can", async () => {
    for (const fault of [null, new Error("Redis is away")]) {
      const { feed, puts, removals, hints } = setUp(fault);
      feed.gone([{ queue: "q", id: "1" }]);
      feed.gone([{ queue: "q", id: "2" }]);
      await turn();
      expect(removals).toEqual([
        [
          { queue: "q", id: "1" },
          { queue: "q", id: "2" },
        ],
      ]);
      expect([puts, hints]).toEqual([[], []]);
    }
  });
});
