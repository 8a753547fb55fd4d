// Owns the facts about how often a dear look is taken whole.

import { expect, test } from "vitest";
import { DeepLooks } from "../../src/runtime/deep-looks.ts";

test("a cheap look is taken whole each time", () => {
  const looks = new DeepLooks();
  expect(looks.isDue(0)).toBe(true);
  looks.taken(1_000, 1_249);
  expect(looks.isDue(1_249)).toBe(true);
});

test("a dear one rests ten times as long as it took, for half a minute at most", () => {
  const looks = new DeepLooks();
  looks.taken(1_000, 1_250);
  expect([looks.isDue(3_749), looks.isDue(3_750)]).toEqual([false, true]);
  looks.taken(4_000, 8_000);
  expect([looks.isDue(37_999), looks.isDue(38_000)]).toEqual([false, true]);
});
