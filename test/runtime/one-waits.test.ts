// Owns the facts about waiting in the name of many.

import { describe, expect, test } from "vitest";
import { OneWaits } from "../../src/runtime/one-waits.ts";

/** Works that end when the test says so, counted. Waiting for `in vain` is in vain. */
function setUp() {
  const waits = new OneWaits<string>((outcome) => outcome === "in vain");
  const started: PromiseWithResolvers<string>[] = [];
  const run = (name: string): Promise<string> =>
    waits.run(name, () => {
      const work = Promise.withResolvers<string>();
      started.push(work);
      return work.promise;
    });
  return { waits, started, run };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("works of one name", () => {
  test("run one after another", async () => {
    const { started, run, waits } = setUp();
    const running = [run("a"), run("a"), run("a")];
    for (const [i, outcome] of ["one", "two", "three"].entries()) {
      await turn();
      expect(started).toHaveLength(i + 1);
      expect(waits.has("a")).toBe(true);
      started[i]?.resolve(outcome);
    }
    expect(await Promise.all(running)).toEqual(["one", "two", "three"]);
    expect(waits.has("a")).toBe(false);
  });

  test("share a wait that was in vain", async () => {
    const { started, run } = setUp();
    const running = [run("a"), run("a"), run("a")];
    started[0]?.resolve("in vain");
    expect(await Promise.all(running)).toEqual(["in vain", "in vain", "in vain"]);
    expect(started).toHaveLength(1);
  });

  test("do not share a failure", async () => {
    const { started, run } = setUp();
    const failing = run("a");
    const other = run("a");
    started[0]?.reject(new Error("the server is away"));
    await expect(failing).rejects.toThrow("away");
    await turn();
    started[1]?.resolve("done");
    expect(await other).toBe("done");
  });
});

test("works of other names run side by side", async () => {
  const { started, run } = setUp();
  const running = [run("a"), run("b")];
  expect(started).toHaveLength(2);
  for (const [i, work] of started.entries()) work.resolve(`${i}`);
  expect(await Promise.all(running)).toEqual(["0", "1"]);
});
