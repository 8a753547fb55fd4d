// Owns the facts about which occurrences become tasks at a look, by tables and random schedules.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { jitteredDueAt, missedAfterMs, missedCountMax, planOccurrences } from "../../src/schedule/plan.ts";
import { madeAheadMsMax } from "../../src/store/schedule.ts";
import { occurrencesAfter, type Trigger } from "../../src/trigger/trigger.ts";

const secondMs = 1_000;
const start = Date.parse("2026-11-21T02:00:00Z");

function every(everyMs: number, endAt: number | null = null): Trigger {
  return { type: "interval", everyMs, startAt: start, endAt, timezone: "UTC" };
}

function plan(trigger: Trigger, now: number, { coalesce = true, nextAt = start } = {}) {
  return planOccurrences({ trigger, coalesce, nextAt }, now);
}

describe("a look", () => {
  test("makes tasks up to 30 s ahead, and no later", () => {
    const { occurrences, nextAt } = plan(every(10 * secondMs), start);
    expect(occurrences).toEqual([0, 10, 20, 30].map((s) => start + s * secondMs));
    expect(nextAt).toBe(start + 40 * secondMs);
  });

  test("in time makes each occurrence, also those a moment late", () => {
    const now = start + missedAfterMs;
    expect(plan(every(secondMs), now).occurrences.slice(0, 3)).toEqual([start, start + secondMs, start + 2 * secondMs]);
  });

  test("after a time without dispatchers makes the latest missed one alone", () => {
    const now = start + 3_600 * secondMs + 1;
    const { occurrences } = plan(every(60 * secondMs), now);
    expect(occurrences).toEqual([start + 3_600 * secondMs]);
  });

  test("without coalescing makes each missed one, the latest 1,000 at most", () => {
    const span = (count: number) =>
      plan(every(60 * secondMs), start + (count - 1) * 60 * secondMs, { coalesce: false });
    expect(span(missedCountMax).occurrences).toHaveLength(missedCountMax);
    const more = span(missedCountMax + 1).occurrences;
    expect([more.length, more[0]]).toEqual([missedCountMax, start + 60 * secondMs]);
  });

  test("past the last occurrence says that none follows", () => {
    const end = start + 5 * secondMs;
    expect(plan(every(secondMs, end), start).nextAt).toBeNull();
    expect(plan(every(secondMs, end), end + 3_600 * secondMs)).toEqual({ occurrences: [end], nextAt: null });
  });

  test.each([0, 0.5, Number.NaN, 1])("refuses a trigger of every %s ms", (everyMs) => {
    expect(() => plan(every(everyMs), start)).toThrow("a second apart");
  });

  test("skips and repeats no occurrence, however often and whenever it comes in time", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: 0, max: 1_900 })),
        (seconds, pausesMs) => {
          const trigger = every(seconds * secondMs);
          const made: number[] = [];
          let [now, nextAt] = [start - secondMs, start];
          for (const pauseMs of pausesMs) {
            now += pauseMs;
            const looked = plan(trigger, now, { nextAt });
            made.push(...looked.occurrences);
            nextAt = looked.nextAt ?? nextAt;
          }
          const expected: number[] = [];
          for (const at of occurrencesAfter(trigger, start - 1)) {
            if (expected.length >= made.length) break;
            expected.push(at);
          }
          expect(made).toEqual(expected);
          if (pausesMs.length > 0) expect(nextAt).toBeGreaterThan(now + madeAheadMsMax);
        },
      ),
    );
  });
});

describe("jitter", () => {
  const due = (jitterMs: number | null, random: number, trigger = every(10 * secondMs)) =>
    jitteredDueAt({ trigger, jitterMs }, start, () => random) - start;

  test("is below itself and below the distance to the following occurrence", () => {
    expect([due(null, 0.9), due(0, 0.9), due(4_000, 0), due(4_000, 0.999_999)]).toEqual([0, 0, 0, 3_999]);
    expect(due(3_600_000, 0.999_999_9)).toBe(9_999);
    expect(due(4_000, 0.5, { type: "date", at: start, timezone: "UTC" })).toBe(2_000);
  });
});
