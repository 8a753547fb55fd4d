// Owns the facts of APScheduler's dialect, and that every form in the user guide of APScheduler 3 (date, interval, cron) occurs as it says.

import { describe, expect, test } from "vitest";
import type { CronFields } from "../../src/trigger/cron-pattern.ts";
import { nextOccurrence, type Trigger } from "../../src/trigger/trigger.ts";
import { apscheduler, crontab, instant, occurrences } from "./make.ts";

const after = "2026-11-21T12:34:56Z";

describe("the expressions of the guide's table", () => {
  test.each<[string, CronFields, string[]]>([
    ["* in any field", { second: "*" }, ["2026-11-21T12:34:57Z", "2026-11-21T12:34:58Z"]],
    ["*/a in any field", { minute: "*/20" }, ["2026-11-21T12:40:00Z", "2026-11-21T13:00:00Z"]],
    ["a-b in any field", { hour: "22-23" }, ["2026-11-21T22:00:00Z", "2026-11-21T23:00:00Z"]],
    ["a-b/c in any field", { hour: "1-9/4" }, ["2026-11-22T01:00:00Z", "2026-11-22T05:00:00Z"]],
    ["xth y in day", { day: "2nd fri" }, ["2026-12-11T00:00:00Z", "2027-01-08T00:00:00Z"]],
    ["last x in day", { day: "last fri" }, ["2026-11-27T00:00:00Z", "2026-12-25T00:00:00Z"]],
    ["last in day", { day: "last" }, ["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z"]],
    ["x,y,z in any field", { day: "1,last,1st mon" }, ["2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"]],
  ])("%s", (_name, fields, expected) => {
    expect(occurrences(apscheduler(fields), after, 2)).toEqual(expected);
  });
});

describe("the examples of the guide", () => {
  test.each<[string, Trigger, string[]]>([
    [
      "month='6-8,11-12', day='3rd fri', hour='0-3'",
      apscheduler({ month: "6-8,11-12", day: "3rd fri", hour: "0-3" }),
      [
        "2026-12-18T00:00:00Z",
        "2026-12-18T01:00:00Z",
        "2026-12-18T02:00:00Z",
        "2026-12-18T03:00:00Z",
        "2027-06-18T00:00:00Z",
      ],
    ],
    [
      "day_of_week='mon-fri', hour=5, minute=30, end_date='2014-05-30'",
      apscheduler({ dayOfWeek: "mon-fri", hour: "5", minute: "30" }, { endAt: instant("2026-11-25T00:00:00Z") }),
      ["2026-11-23T05:30:00Z", "2026-11-24T05:30:00Z"],
    ],
    ["day='last sun'", apscheduler({ day: "last sun" }), ["2026-11-29T00:00:00Z", "2026-12-27T00:00:00Z"]],
    [
      "CronTrigger.from_crontab('0 0 1-15 may-aug *')",
      { ...crontab("0 0 1-15 may-aug *"), dialect: "apscheduler" },
      ["2027-05-01T00:00:00Z", "2027-05-02T00:00:00Z"],
    ],
    [
      "interval, hours=2",
      { type: "interval", everyMs: 7_200_000, startAt: instant(after) + 7_200_000, endAt: null, timezone: "UTC" },
      ["2026-11-21T14:34:56Z", "2026-11-21T16:34:56Z"],
    ],
    [
      "interval, hours=2, start_date, end_date",
      {
        type: "interval",
        everyMs: 7_200_000,
        startAt: instant("2026-11-21T09:30:00Z"),
        endAt: instant("2026-11-21T15:30:00Z"),
        timezone: "UTC",
      },
      ["2026-11-21T13:30:00Z", "2026-11-21T15:30:00Z"],
    ],
    [
      "date, run_date",
      { type: "date", at: instant("2027-11-06T16:30:05Z"), timezone: "UTC" },
      ["2027-11-06T16:30:05Z"],
    ],
  ])("%s", (_name, trigger, expected) => {
    const count = trigger.type === "date" || trigger.endAt !== null ? expected.length + 1 : expected.length;
    expect(occurrences(trigger, after, count)).toEqual(expected);
  });
});

describe("fields left out", () => {
  test.each<[string, CronFields, string[]]>([
    ["are their least value where they are finer", { month: "6" }, ["2027-06-01T00:00:00Z", "2028-06-01T00:00:00Z"]],
    ["are * where they are coarser", { minute: "7" }, ["2026-11-21T13:07:00Z", "2026-11-21T14:07:00Z"]],
    ["leave the day of a week free", { week: "2" }, ["2027-01-11T00:00:00Z", "2027-01-12T00:00:00Z"]],
    ["leave the week of a year free", { year: "2027" }, ["2027-01-01T00:00:00Z"]],
    ["leave the hour at 0 under a weekday", { dayOfWeek: "sun" }, ["2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"]],
  ])("%s", (_name, fields, expected) => {
    expect(occurrences(apscheduler(fields), after, 2)).toEqual(expected);
  });
});

test("weekdays count from Monday = 0, where crontab's count from Sunday", () => {
  expect(occurrences(apscheduler({ dayOfWeek: "0" }), after, 1)).toEqual(["2026-11-23T00:00:00Z"]);
  expect(occurrences({ ...crontab("0 0 * * 0"), dialect: "apscheduler" }, after, 1)).toEqual(["2026-11-23T00:00:00Z"]);
  for (const sunday of ["0", "7", "sun"])
    expect(occurrences(crontab(`0 0 * * ${sunday}`), after, 1)).toEqual(["2026-11-22T00:00:00Z"]);
});

test("a day and a weekday must both match, where crontab's either does", () => {
  expect(occurrences(apscheduler({ day: "13", dayOfWeek: "fri" }), after, 1)).toEqual(["2027-08-13T00:00:00Z"]);
  expect(occurrences({ ...crontab("0 0 13 * fri"), dialect: "apscheduler" }, after, 1)).toEqual([
    "2027-08-13T00:00:00Z",
  ]);
  expect(occurrences(crontab("0 0 13 * fri"), after, 3)).toEqual([
    "2026-11-27T00:00:00Z",
    "2026-12-04T00:00:00Z",
    "2026-12-11T00:00:00Z",
  ]);
});

test("weeks are those of ISO 8601, also where they belong to the year before or after", () => {
  expect(occurrences(apscheduler({ week: "53", dayOfWeek: "fri" }), after, 2)).toEqual([
    "2027-01-01T00:00:00Z",
    "2032-12-31T00:00:00Z",
  ]);
});

test("a leap day on a Sunday is found across 2100, which has none", () => {
  const trigger = apscheduler({ month: "2", day: "29", dayOfWeek: "sun" });
  expect(nextOccurrence(trigger, instant("2088-03-01T00:00:00Z"))).toBe(instant("2128-02-29T00:00:00Z"));
});

describe("where clocks change", () => {
  const spring = "2026-03-08T06:00:00Z";
  const autumn = "2026-11-01T04:59:00Z";
  const timezone = "America/New_York";
  const halfPastTwo = { hour: "2", minute: "30" };
  const halfPastOne = { hour: "1", minute: "30" };

  test("a time that they skip does not occur, and one that they repeat occurs twice", () => {
    expect(occurrences(apscheduler(halfPastTwo, { timezone }), spring, 1)).toEqual(["2026-03-09T06:30:00Z"]);
    expect(occurrences(apscheduler(halfPastOne, { timezone }), autumn, 2)).toEqual([
      "2026-11-01T05:30:00Z",
      "2026-11-01T06:30:00Z",
    ]);
  });

  test("`shift` moves all skipped times to the gap's end, once, and `first` leaves the repeated one out", () => {
    const shifted = apscheduler({ hour: "2", minute: "*/10" }, { timezone, gap: "shift" });
    expect(occurrences(shifted, spring, 2)).toEqual(["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]);
    const once = apscheduler(halfPastOne, { timezone, overlap: "first" });
    expect(occurrences(once, autumn, 2)).toEqual(["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
  });

  test("no day is skipped around a change: APScheduler's own next day is 24 hours on", () => {
    const late = apscheduler({ hour: "23", minute: "30" }, { timezone });
    expect(occurrences(late, "2026-03-07T12:00:00Z", 3)).toEqual([
      "2026-03-08T04:30:00Z",
      "2026-03-09T03:30:00Z",
      "2026-03-10T03:30:00Z",
    ]);
  });
});
