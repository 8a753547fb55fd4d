// How long a failed attempt waits: the table, and what holds for every policy.

import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs } from "../../src/task/backoff.ts";
import type { RetryPolicy } from "../../src/task/task.ts";

const standard: RetryPolicy = {
  maxAttempts: 10,
  backoff: "exponential",
  minDelayMs: 5_000,
  maxDelayMs: 21_600_000,
  factor: 3,
  jitter: 0.2,
};
const middle = () => 0.5;

test.each([
  [1, 5_000],
  [2, 15_000],
  [3, 45_000],
  [4, 135_000],
  [8, 10_935_000],
  [9, 21_600_000],
  [100, 21_600_000],
])("without jitter the %i. failure waits %i ms", (failures, delayMs) => {
  expect(backoffMs({ ...standard, jitter: 0 }, failures, middle)).toBe(delayMs);
});

test("a fixed backoff waits minDelay each time", () => {
  const fixed: RetryPolicy = { ...standard, backoff: "fixed", jitter: 0 };
  expect([1, 2, 50].map((failures) => backoffMs(fixed, failures, middle))).toEqual([5_000, 5_000, 5_000]);
});

test("jitter spreads a delay to both sides, but neither below minDelay nor above maxDelay", () => {
  const range = (failures: number) => [backoffMs(standard, failures, () => 0), backoffMs(standard, failures, () => 1)];
  expect(range(1)).toEqual([5_000, 6_000]);
  expect(range(2)).toEqual([12_000, 18_000]);
  expect(range(50)).toEqual([17_280_000, 21_600_000]);
});

test("any policy gives whole milliseconds between minDelay and maxDelay", () => {
  const policy = fc
    .record({
      maxAttempts: fc.constant(100),
      backoff: fc.constantFrom("exponential" as const, "fixed" as const),
      minDelayMs: fc.integer({ min: 0, max: 1_000_000 }),
      spanMs: fc.integer({ min: 0, max: 1_000_000_000 }),
      factor: fc.double({ min: 0, max: 1e9, noNaN: true }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    .map(({ spanMs, ...rest }) => ({ ...rest, maxDelayMs: rest.minDelayMs + spanMs }));
  const dice = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
  fc.assert(
    fc.property(policy, fc.integer({ min: 1, max: 100 }), dice, (given, failures, thrown) => {
      const delayMs = backoffMs(given, failures, () => thrown);
      expect(Number.isInteger(delayMs)).toBe(true);
      expect(delayMs).toBeGreaterThanOrEqual(given.minDelayMs);
      expect(delayMs).toBeLessThanOrEqual(given.maxDelayMs);
    }),
  );
});
