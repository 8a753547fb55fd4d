// Owns the facts of crontab's dialect: its forms, its days, and what its times mean where clocks change.

import { describe, expect, test } from "vitest";
import { crontab, occurrences } from "./make.ts";

const after = "2026-11-21T12:34:56Z";

test.each<[string, string[]]>([
  ["@hourly", ["2026-11-21T13:00:00Z", "2026-11-21T14:00:00Z"]],
  ["@daily", ["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"]],
  ["@midnight", ["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"]],
  ["@weekly", ["2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"]],
  ["@monthly", ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"]],
  ["@yearly", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]],
  ["@Annually", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]],
  ["30 5 * * mon-fri", ["2026-11-23T05:30:00Z", "2026-11-24T05:30:00Z"]],
  ["  30  5 * *  Mon-FRI ", ["2026-11-23T05:30:00Z", "2026-11-24T05:30:00Z"]],
  ["0 0 * * fri-sun", ["2026-11-22T00:00:00Z", "2026-11-27T00:00:00Z"]],
  ["0 0 * * 5-7", ["2026-11-22T00:00:00Z", "2026-11-27T00:00:00Z"]],
  ["5/25 12 * * *", ["2026-11-21T12:55:00Z", "2026-11-22T12:05:00Z"]],
  ["0 0 1 */12 *", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]],
  ["0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]],
  ["*/20 34 12 * * *", ["2026-11-22T12:34:00Z", "2026-11-22T12:34:20Z"]],
  // Restricted is anything but a bare *: either day matches.
  ["0 0 */2 * 1", ["2026-11-23T00:00:00Z", "2026-11-25T00:00:00Z"]],
])("%s", (expression, expected) => {
  expect(occurrences(crontab(expression), after, 2)).toEqual(expected);
});

describe("where clocks are set forward, in New York at 2 in the morning", () => {
  const spring = (expression: string, count: number) =>
    occurrences(crontab(expression, { timezone: "America/New_York" }), "2026-03-08T06:10:00Z", count);

  test("a fixed hour's times are met at the gap's end, once", () => {
    expect(spring("30 2 * * *", 2)).toEqual(["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]);
    expect(spring("0,30 2 * * *", 2)).toEqual(["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]);
    expect(spring("0 2-3 * * *", 2)).toEqual(["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]);
  });

  test("other patterns go on in real time", () => {
    expect(spring("*/30 * * * *", 3)).toEqual(["2026-03-08T06:30:00Z", "2026-03-08T07:00:00Z", "2026-03-08T07:30:00Z"]);
    expect(spring("30 */2 * * *", 1)).toEqual(["2026-03-08T08:30:00Z"]);
  });
});

describe("where clocks are set back, in New York at 2 in the morning", () => {
  const autumn = (expression: string, count: number) =>
    occurrences(crontab(expression, { timezone: "America/New_York" }), "2026-11-01T04:40:00Z", count);

  test("a fixed hour's times are met at their first pass alone", () => {
    expect(autumn("10,50 1 * * *", 3)).toEqual([
      "2026-11-01T05:10:00Z",
      "2026-11-01T05:50:00Z",
      "2026-11-02T06:10:00Z",
    ]);
    expect(autumn("0 0-5 * * *", 2)).toEqual(["2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z"]);
  });

  test("other patterns go on in real time", () => {
    expect(autumn("0 * * * *", 3)).toEqual(["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"]);
  });
});

test("half an hour of Lord Howe is met in both passes, and shifted by half an hour", () => {
  const timezone = "Australia/Lord_Howe";
  expect(occurrences(crontab("*/15 * * * *", { timezone }), "2026-04-04T14:40:00Z", 4)).toEqual([
    "2026-04-04T14:45:00Z",
    "2026-04-04T15:00:00Z",
    "2026-04-04T15:15:00Z",
    "2026-04-04T15:30:00Z",
  ]);
  expect(occurrences(crontab("15 2 * * *", { timezone }), "2026-10-03T12:00:00Z", 2)).toEqual([
    "2026-10-03T15:30:00Z",
    "2026-10-04T15:15:00Z",
  ]);
});

test("a midnight that São Paulo's clocks skip is met at one in the morning", () => {
  const trigger = crontab("@daily", { timezone: "America/Sao_Paulo" });
  expect(occurrences(trigger, "2018-11-03T12:00:00Z", 2)).toEqual(["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]);
});

test("the day that Apia skipped is met at the beginning of the next", () => {
  const trigger = crontab("30 5 30 12 *", { timezone: "Pacific/Apia" });
  expect(occurrences(trigger, "2011-12-01T00:00:00Z", 2)).toEqual(["2011-12-30T10:00:00Z", "2012-12-29T15:30:00Z"]);
});

test("a summer time of one week, Recife's of 2000, is not overlooked", () => {
  const trigger = crontab("0 12 * * sun", { timezone: "America/Recife" });
  expect(occurrences(trigger, "2000-09-27T00:00:00Z", 4)).toEqual([
    "2000-10-01T15:00:00Z",
    "2000-10-08T14:00:00Z",
    "2000-10-15T15:00:00Z",
    "2000-10-22T15:00:00Z",
  ]);
});
