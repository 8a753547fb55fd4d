// Owns the facts about how often a dear look is taken whole.

import { expect, test } from "vitest";
import { DeepLooks } from "../../src/runtime/deep-looks.ts";

function looksByHand() {
  let nowMs = 0;
  const looks = new DeepLooks(() => nowMs);
  /** Whether a look that begins and ends then is whole. */
  return (beginsMs: number, endsMs = beginsMs) => {
    nowMs = beginsMs;
    return looks.look(async (isWhole) => {
      nowMs = endsMs;
      return isWhole;
    });
  };
}

test("a cheap look is taken whole each time", async () => {
  const look = looksByHand();
  expect(await look(1_000, 1_249)).toBe(true);
  expect(await look(1_249)).toBe(true);
});

test("a dear one rests ten times as long as it took, for half a minute at most", async () => {
  const look = looksByHand();
  expect(await look(1_000, 1_250)).toBe(true);
  expect([await look(3_749), await look(3_750)]).toEqual([false, true]);
  expect(await look(4_000, 8_000)).toBe(true);
  expect([await look(37_999, 39_000), await look(38_000)]).toEqual([false, true]);
});

test("one that fails is taken whole again", async () => {
  const looks = new DeepLooks();
  await expect(looks.look(() => Promise.reject(new Error("away")))).rejects.toThrow("away");
  expect(await looks.look(async (isWhole) => isWhole)).toBe(true);
});
