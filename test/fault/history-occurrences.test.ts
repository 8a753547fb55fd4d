// Owns the proof that the history checker sees a second task of an occurrence.

import { expect, test } from "vitest";
import { bounds, clean, task } from "./hand-made.ts";
import { brokenPromises } from "./history.ts";

const occurrence = "a-schedule 2026-11-21 02:30:00+00";
const first = { ...task, occurrence };

test.each([
  ["ended", "succeeded", 1],
  ["was cancelled", "cancelled", 0],
] as const)("an occurrence with a second task that %s breaks P9: %s", (_how, state, count) => {
  const second = { ...first, id: "b", key: null, label: null, state, attempts: 0 };
  const broken = brokenPromises({ ...clean, tasks: [first, second] }, bounds);
  expect(broken.filter((text) => text.startsWith("P9"))).toHaveLength(count);
});
