// Owns the facts about group commit: what is written together, in which order, and who learns of a failure.

import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { GroupCommit, type GroupCommitOptions } from "../../src/runtime/group-commit.ts";

interface Write {
  readonly batch: readonly string[];
  finish(): void;
  fail(error: Error): void;
}

/** A group commit whose writes end when the test says so. An outcome is its item in upper case. */
function setUp(options: Partial<GroupCommitOptions<string, string>> = {}) {
  const writes: Write[] = [];
  const commits = new GroupCommit<string, string>({
    batchMax: 100,
    writersMax: 1,
    write: (batch) => {
      const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
      writes.push({ batch, finish: () => resolve(batch.map((item) => item.toUpperCase())), fail: reject });
      return promise;
    },
    ...options,
  });
  return { commits, writes, batches: () => writes.map((write) => write.batch.join("")) };
}

/** A batch is cut at the end of a turn, and the turn after a write. */
async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe("a batch", () => {
  test("holds what was added in one turn, and each item gets its own outcome", async () => {
    const { commits, writes, batches } = setUp();
    const outcomes = Promise.all(["a", "b", "c"].map((item) => commits.add(item)));
    await turns();
    expect(batches()).toEqual(["abc"]);
    writes[0]?.finish();
    expect(await outcomes).toEqual(["A", "B", "C"]);
  });

  test("starts when the last one returned, with all that came meanwhile", async () => {
    const { commits, writes, batches } = setUp();
    const first = commits.add("a");
    await turns();
    const others = Promise.all(["b", "c"].map((item) => commits.add(item)));
    await turns();
    expect(batches()).toEqual(["a"]);
    expect(commits.waitingCount).toBe(2);
    writes[0]?.finish();
    await first;
    await turns();
    expect(batches()).toEqual(["a", "bc"]);
    writes[1]?.finish();
    expect(await others).toEqual(["B", "C"]);
  });

  test("lingers for company, and begins at once with enough of it", async () => {
    const { commits, writes, batches } = setUp({ companyMin: 3, lingerMs: () => 20, writersMax: 2 });
    const lone = commits.add("a");
    await turns();
    expect(batches()).toEqual([]);
    await vi.waitFor(() => expect(batches()).toEqual(["a"]));
    const others = Promise.all(["b", "c"].map((item) => commits.add(item)));
    await turns();
    expect(batches()).toEqual(["a"]);
    const last = commits.add("d");
    await turns();
    expect(batches()).toEqual(["a", "bcd"]);
    for (const write of writes) write.finish();
    expect([await lone, ...(await others), await last]).toEqual(["A", "B", "C", "D"]);
    await commits.drained();
  });

  test("lingers anew once a write under way has ended", async () => {
    const { commits, writes, batches } = setUp({
      companyMin: 3,
      writersMax: 2,
      lingerMs: (isAnotherUnderWay) => (isAnotherUnderWay ? 60_000 : 0),
    });
    const first = commits.add("a");
    await turns();
    const second = commits.add("b");
    await turns();
    expect(batches()).toEqual(["a"]);
    writes[0]?.finish();
    await first;
    await turns();
    expect(batches()).toEqual(["a", "b"]);
    writes[1]?.finish();
    await second;
  });

  test("that lingers leaves no timer behind where it was written with others", async () => {
    let lingerMs = 60_000;
    const { commits, writes, batches } = setUp({ companyMin: 2, lingerMs: () => lingerMs });
    const first = commits.add("a");
    await turns();
    const second = commits.add("b");
    await turns();
    expect(batches()).toEqual(["ab"]);
    writes[0]?.finish();
    await Promise.all([first, second]);
    lingerMs = 0;
    const third = commits.add("c");
    await turns();
    expect(batches()).toEqual(["ab", "c"]);
    writes[1]?.finish();
    await third;
  });

  test("is cut at its limit, and the rest follows in order", async () => {
    const { commits, writes, batches } = setUp({ batchMax: 2 });
    const outcomes = Promise.all("abcde".split("").map((item) => commits.add(item)));
    for (let written = 0; written < 3; written += 1) {
      await turns();
      writes[written]?.finish();
    }
    await outcomes;
    expect(batches()).toEqual(["ab", "cd", "e"]);
  });

  test("is written beside another while there are writers", async () => {
    const { commits, writes, batches } = setUp({ writersMax: 2 });
    const adding: Promise<string>[] = [];
    for (const item of "abc") {
      adding.push(commits.add(item));
      await turns();
    }
    expect(batches()).toEqual(["a", "b"]);
    writes[1]?.finish();
    await turns();
    expect(batches()).toEqual(["a", "b", "c"]);
    for (const write of writes) write.finish();
    expect(await Promise.all(adding)).toEqual(["A", "B", "C"]);
  });
});

describe("items added together", () => {
  test("get their outcomes in order, though they are written apart and among others", async () => {
    const { commits, writes, batches } = setUp({ batchMax: 2, conflictName: (item) => item });
    const first = commits.add("a");
    const all = commits.addAll("bacb".split(""));
    const last = commits.add("d");
    for (let written = 0; written < 3; written += 1) {
      await turns();
      writes[written]?.finish();
    }
    expect([await first, ...(await all), await last]).toEqual(["A", "B", "A", "C", "B", "D"]);
    expect(batches()).toEqual(["ab", "ac", "bd"]);
  });

  test("fail as soon as one of them does, and the others are written", async () => {
    const { commits, writes, batches } = setUp({ batchMax: 2 });
    const all = commits.addAll("abc".split(""));
    await turns();
    writes[0]?.fail(new Error("the server is away"));
    await expect(all).rejects.toThrow("away");
    await turns();
    expect(batches()).toEqual(["ab", "c"]);
    writes[1]?.finish();
    await commits.drained();
  });

  test("may be none", async () => {
    expect(await setUp().commits.addAll([])).toEqual([]);
  });
});

describe("items of one name", () => {
  test("never share a batch, and do not hold up the others", async () => {
    const { commits, writes, batches } = setUp({ conflictName: (item) => item });
    const outcomes = Promise.all("aabab".split("").map((item) => commits.add(item)));
    for (let written = 0; written < 3; written += 1) {
      await turns();
      writes[written]?.finish();
    }
    await outcomes;
    expect(batches()).toEqual(["ab", "ab", "a"]);
  });

  test("are not written at the same time by two writers", async () => {
    const { commits, writes, batches } = setUp({ writersMax: 2, conflictName: (item) => item });
    const adding = [commits.add("a")];
    await turns();
    adding.push(commits.add("a"), commits.add("b"));
    await turns();
    expect(batches()).toEqual(["a", "b"]);
    writes[0]?.finish();
    await turns();
    expect(batches()).toEqual(["a", "b", "a"]);
    for (const write of writes) write.finish();
    await Promise.all(adding);
  });

  test("of no name may be together", async () => {
    const { commits, writes, batches } = setUp({ conflictName: () => null });
    const outcomes = Promise.all("aaa".split("").map((item) => commits.add(item)));
    await turns();
    expect(batches()).toEqual(["aaa"]);
    writes[0]?.finish();
    await outcomes;
  });
});

describe("a failure", () => {
  test("is that of every item of its batch, and of no other", async () => {
    const { commits, writes } = setUp({ batchMax: 2, conflictName: (item) => item });
    const settled = Promise.allSettled("abca".split("").map((item) => commits.add(item)));
    await turns();
    writes[0]?.fail(new Error("the server is away"));
    await turns();
    writes[1]?.finish();
    expect(
      (await settled).map((result) => (result.status === "fulfilled" ? result.value : String(result.reason))),
    ).toEqual(["Error: the server is away", "Error: the server is away", "C", "A"]);
  });
});

describe("a drain", () => {
  test("is over at once where nothing waits", async () => {
    expect(await setUp().commits.drained()).toBeUndefined();
  });

  test("waits for what is being written and for what came after", async () => {
    const { commits, writes } = setUp();
    const isDrained = vi.fn<() => void>();
    const adding = [commits.add("a")];
    await turns();
    adding.push(commits.add("b"));
    const drained = commits.drained().then(isDrained);
    writes[0]?.finish();
    await turns();
    expect(isDrained).not.toHaveBeenCalled();
    writes[1]?.finish();
    await drained;
    await Promise.all(adding);
  });

  test("is over after a failure too", async () => {
    const { commits, writes } = setUp();
    const failing = commits.add("a").catch(() => "failed");
    await turns();
    writes[0]?.fail(new Error("the server is away"));
    await commits.drained();
    expect(await failing).toBe("failed");
  });
});

test("every item is written once, those of one name in order and never at the same time", async () => {
  const items = fc.array(fc.record({ name: fc.constantFrom("a", "b", "c", null), pause: fc.nat(2), ms: fc.nat(3) }), {
    maxLength: 40,
  });
  const limits = { batchMax: fc.integer({ min: 1, max: 5 }), writersMax: fc.integer({ min: 1, max: 3 }) };
  type Item = { readonly name: string | null; readonly i: number; readonly ms: number };
  await fc.assert(
    fc.asyncProperty(items, limits.batchMax, limits.writersMax, async (given, batchMax, writersMax) => {
      const written: Item[] = [];
      const inFlight = new Set<string>();
      let writers = 0;
      const commits = new GroupCommit<Item, number>({
        batchMax,
        writersMax,
        conflictName: (item) => item.name,
        write: async (batch) => {
          writers += 1;
          const names = batch.flatMap((item) => item.name ?? []);
          const isAlone = names.every((name) => !inFlight.has(name)) && new Set(names).size === names.length;
          if (!isAlone || writers > writersMax || batch.length > batchMax)
            throw new Error(`${names.join()} of ${writers} writers`);
          for (const name of names) inFlight.add(name);
          written.push(...batch);
          await turns(batch[0]?.ms);
          for (const name of names) inFlight.delete(name);
          writers -= 1;
          return batch.map((item) => item.i);
        },
      });
      const adding: Promise<number>[] = [];
      for (const [i, { name, pause, ms }] of given.entries()) {
        adding.push(commits.add({ name, i, ms }));
        await turns(pause);
      }
      await commits.drained();
      expect(await Promise.all(adding)).toEqual(given.map((_, i) => i));
      expect(written.map((item) => item.i).toSorted((a, b) => a - b)).toEqual(given.map((_, i) => i));
      for (const [, ofName] of Map.groupBy(written, (item) => item.name ?? item))
        expect(ofName.map((item) => item.i)).toEqual(ofName.map((item) => item.i).toSorted((a, b) => a - b));
    }),
    { numRuns: 200 },
  );
});
