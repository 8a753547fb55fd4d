// Owns the checks of what all triggers share: dates, intervals, bounds, the latest occurrences of a span, and how a trigger is written out.

import { describe, expect, test } from "vitest";
import {
  type IntervalTrigger,
  lastOccurrences,
  nextOccurrence,
  occurrencesAfter,
  type Trigger,
  writeTrigger,
} from "../../src/trigger/trigger.ts";
import { apscheduler, crontab, instant, occurrences } from "./make.ts";

const dayMs = 86_400_000;
const noon = instant("2026-11-21T12:00:00Z");
const every = (everyMs: number, endAt: number | null = null): IntervalTrigger => ({
  type: "interval",
  everyMs,
  startAt: noon,
  endAt,
  timezone: "UTC",
});

describe("a date", () => {
  const date: Trigger = { type: "date", at: noon, timezone: "UTC" };

  test("occurs once, strictly later than what came before", () => {
    expect(nextOccurrence(date, noon - 1)).toBe(noon);
    expect(nextOccurrence(date, noon)).toBeNull();
  });
});

describe("an interval", () => {
  test("occurs at its start, and then each time that its length has gone by", () => {
    const trigger = every(120_000);
    expect(nextOccurrence(trigger, noon - 10 * dayMs)).toBe(noon);
    expect(nextOccurrence(trigger, noon - 1)).toBe(noon);
    expect(nextOccurrence(trigger, noon)).toBe(noon + 120_000);
    expect(nextOccurrence(trigger, noon + 119_999)).toBe(noon + 120_000);
    expect(nextOccurrence(trigger, noon + 120_000)).toBe(noon + 240_000);
  });

  test("counts elapsed time, whatever the clocks do", () => {
    const trigger: Trigger = {
      ...every(dayMs),
      startAt: instant("2026-10-31T12:00:00Z"),
      timezone: "America/New_York",
    };
    expect(occurrences(trigger, "2026-10-31T13:00:00Z", 2)).toEqual(["2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z"]);
  });

  test("includes its end", () => {
    expect(nextOccurrence(every(1_000, noon + 2_000), noon + 1_000)).toBe(noon + 2_000);
    expect(nextOccurrence(every(1_000, noon + 1_999), noon + 1_000)).toBeNull();
  });
});

describe("a cron trigger's bounds", () => {
  const bounded = (startAt: string | null, endAt: string | null) =>
    crontab("0 * * * *", {
      startAt: startAt === null ? null : instant(startAt),
      endAt: endAt === null ? null : instant(endAt),
    });

  test("both include the instant that they name", () => {
    const trigger = bounded("2026-11-21T12:00:00Z", "2026-11-21T13:00:00Z");
    expect(occurrences(trigger, "2026-01-01T00:00:00Z", 5)).toEqual(["2026-11-21T12:00:00Z", "2026-11-21T13:00:00Z"]);
  });

  test("leave out what lies a millisecond outside", () => {
    const trigger = bounded("2026-11-21T12:00:00.001Z", "2026-11-21T13:59:59.999Z");
    expect(occurrences(trigger, "2026-01-01T00:00:00Z", 5)).toEqual(["2026-11-21T13:00:00Z"]);
  });

  test("do not give what came before once more", () => {
    const trigger = bounded("2026-11-21T12:00:00Z", null);
    expect(occurrences(trigger, "2026-11-21T12:00:00Z", 1)).toEqual(["2026-11-21T13:00:00Z"]);
  });
});

test("half a millisecond before an occurrence, it is the next", () => {
  expect(nextOccurrence(crontab("0 12 * * *"), noon - 0.5)).toBe(noon);
  expect(nextOccurrence(every(1_000), noon - 0.5)).toBe(noon);
});

describe("the latest occurrences of a span", () => {
  const span = (trigger: Trigger, max: number, lengthMs = 7 * dayMs) =>
    lastOccurrences(trigger, { after: noon - lengthMs, until: noon, max });

  test("end with its end, which is included, and ascend", () => {
    expect(span(crontab("* * * * *"), 3)).toEqual([noon - 120_000, noon - 60_000, noon]);
  });

  test("do not reach its beginning, which is not included", () => {
    expect(span(crontab("0 12 * * *"), 10, 3 * dayMs)).toEqual([noon - 2 * dayMs, noon - dayMs, noon]);
  });

  test("are none where there are none", () => {
    expect(span(crontab("0 0 29 2 *"), 10)).toEqual([]);
    expect(span(every(1_000), 10, 0)).toEqual([]);
  });

  test.each<[string, Trigger]>([
    ["an hour of each day in seconds", crontab("* * 3 * * *")],
    ["Mondays in seconds", crontab("* * * * * mon")],
    ["uneven minutes", apscheduler({ hour: "*/5", minute: "1,2,50", second: "3,59" })],
    ["an uneven interval", { ...every(7_777), startAt: noon - 5_000_003 }],
  ])("are those that a walk from its beginning ends with: %s", (_name, trigger) => {
    const walked: number[] = [];
    for (const at of occurrencesAfter(trigger, noon - 7 * dayMs)) {
      if (at > noon) break;
      walked.push(at);
    }
    expect(span(trigger, 50)).toEqual(walked.slice(-50));
  });

  test("cost little, though a week of seconds lies before them", () => {
    const began = process.cpuUsage();
    expect(span(crontab("* * * * * *"), 1_000)).toHaveLength(1_000);
    expect(process.cpuUsage(began).user / 1_000).toBeLessThan(500);
  });
});

test.each<[Trigger, Record<string, unknown>]>([
  [
    { type: "date", at: noon, timezone: "Asia/Shanghai" },
    { type: "date", at: "2026-11-21T12:00:00.000Z", timezone: "Asia/Shanghai" },
  ],
  [
    every(90_000, noon),
    {
      type: "interval",
      every: "PT1M30S",
      startAt: "2026-11-21T12:00:00.000Z",
      endAt: "2026-11-21T12:00:00.000Z",
      timezone: "UTC",
    },
  ],
  [
    crontab("30 5 * * *"),
    { type: "cron", expression: "30 5 * * *", dialect: "crontab", timezone: "UTC", startAt: null, endAt: null },
  ],
  [
    apscheduler({ hour: "5" }, { gap: "shift", overlap: "first" }),
    {
      type: "cron",
      fields: { hour: "5" },
      dialect: "apscheduler",
      gap: "shift",
      overlap: "first",
      timezone: "UTC",
      startAt: null,
      endAt: null,
    },
  ],
])("%j is written as %j", (trigger, written) => {
  expect(writeTrigger(trigger)).toEqual(written);
});
