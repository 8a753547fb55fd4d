// Owns the checks of how a forecast reckons: which limit holds, and the backlog from span to span.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assumedDurationMs, dispatcherPerSecond, drain, type DrainSpan, throughput } from "../../src/task/forecast.ts";

const now = 1_795_226_400_000;
const spanMs = 60_000;
const span = (number: number, count: number, firstMs = 0, lastMs = firstMs): DrainSpan => {
  const at = now + number * spanMs;
  return { count, firstAt: at + firstMs, lastAt: at + lastMs, until: at + spanMs };
};
const queue = { concurrency: 100, rateLimit: null, paused: false };
const seen = { meanDurationMs: 200, firedPerSecond: 7, dispatchers: 2 };

describe("the throughput", () => {
  test.each([
    ["all slots over a call's duration", queue, seen, 500, "concurrency"],
    [
      "the duration that is assumed",
      queue,
      { ...seen, meanDurationMs: null },
      100_000 / assumedDurationMs,
      "concurrency",
    ],
    ["the rate limit", { ...queue, rateLimit: { limit: 50, perMs: 1_000 } }, seen, 50, "rateLimit"],
    [
      "the slots, where the rate limit is higher",
      { ...queue, rateLimit: { limit: 501, perMs: 1_000 } },
      seen,
      500,
      "concurrency",
    ],
    ["what the dispatchers can", queue, { ...seen, meanDurationMs: 0 }, 2 * dispatcherPerSecond, "dispatchers"],
    [
      "what the dispatchers did, where that is more than they are taken to",
      { ...queue, concurrency: 10_000 },
      { ...seen, firedPerSecond: 12_000 },
      12_000,
      "dispatchers",
    ],
    ["nothing without a dispatcher", queue, { ...seen, dispatchers: 0 }, 0, "dispatchers"],
    ["nothing where it is paused", { ...queue, paused: true }, seen, 0, "paused"],
  ] as const)("is %s", (_name, given, lately, perSecond, limitedBy) => {
    expect(throughput(given, lately)).toEqual({ perSecond, limitedBy });
  });
});

describe("the backlog", () => {
  const at = (perSecond: number, spans: readonly DrainSpan[]) => drain(spans, { startAt: now, perSecond });

  test("of a burst is carried on until it is fired", () => {
    expect(at(100, [span(0, 15_000), span(1, 0), span(2, 0)])).toEqual({
      backlogs: [9_000, 3_000, 0],
      drainedAt: now + 150_000,
    });
  });

  test("grows where more falls due than is fired", () => {
    const flow = [0, 1, 2].map((number) => span(number, 12_000, 0, spanMs));
    expect(at(100, flow)).toEqual({ backlogs: [6_000, 12_000, 18_000], drainedAt: now + 360_000 });
  });

  test("that is gone begins anew with the next burst", () => {
    expect(at(100, [span(0, 1_000), span(1, 1_000, 30_000)])).toEqual({ backlogs: [0, 0], drainedAt: now + 100_000 });
  });

  test("ends no sooner than the last task falls due", () => {
    expect(at(1_000, [span(0, 2, 0, 50_000)])).toEqual({ backlogs: [0], drainedAt: now + 50_000 });
  });

  test("where nothing is fired is all that fell due, and ends never", () => {
    expect(at(0, [span(0, 3), span(1, 4)])).toEqual({ backlogs: [3, 7], drainedAt: null });
    expect(at(0, [span(0, 0)])).toEqual({ backlogs: [0], drainedAt: now });
    expect(at(1e-9, [span(0, 1_000_000)])).toEqual({ backlogs: [1_000_000], drainedAt: null });
  });

  test("is that of a queue that fires one after the other", () => {
    const bursts = fc.array(fc.record({ count: fc.nat(500), atMs: fc.nat(spanMs - 1) }), {
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(bursts, fc.integer({ min: 1, max: 20 }), (given, perSecond) => {
        const { backlogs } = at(
          perSecond,
          given.map(({ count, atMs }, i) => span(i, count, atMs)),
        );
        // One by one, each for as long as the throughput takes for one.
        let freeAt = now;
        const ends = given.flatMap(({ count, atMs }, i) =>
          Array.from({ length: count }, () => (freeAt = Math.max(freeAt, now + i * spanMs + atMs) + 1_000 / perSecond)),
        );
        let due = 0;
        for (const [i, { count }] of given.entries()) {
          due += count;
          const fired = ends.slice(0, due).filter((end) => end <= now + (i + 1) * spanMs).length;
          expect(Math.abs((backlogs[i] ?? 0) - (due - fired))).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});
