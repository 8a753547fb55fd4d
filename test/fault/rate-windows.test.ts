// Owns the facts about the check of rate limits: it finds what breaks one, wherever in the history it stands.

import { expect, test } from "vitest";
import { fullestWindow } from "./rate-windows.ts";

const perMs = 1_000;
/** Two a second, as they may be. */
const kept = [0, 10, 1_001, 1_011, 2_100, 2_500, 3_101];

test("a history that keeps its limit has no fuller window", () => {
  expect(fullestWindow(kept, perMs).starts).toBe(2);
});

test.each([
  ["at its beginning", 5],
  ["across the turn of a second", 1_005],
  ["at the very end of a window", 3_100],
])("one start too many %s is found", (_where, extra) => {
  expect(fullestWindow([...kept, extra], perMs).starts).toBe(3);
});

test("two bursts, one late and one early, make one window, which says where it begins", () => {
  expect(fullestWindow([999, 999, 1_998, 1_998], perMs)).toEqual({ from: 999, starts: 4 });
});

test("no start makes no window", () => {
  expect(fullestWindow([], perMs).starts).toBe(0);
});
