// Owns the checks of how callers write triggers: what each form is read to, and that all faults of one are told at once.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { faultsOf } from "../../src/http/faults.ts";
import * as limits from "../../src/http/limits.ts";
import { createPreviewTriggerField, createTriggerField, reachFault } from "../../src/http/schemas/trigger.ts";
import { nowMs, stubParts } from "./stub-parts.ts";

const trigger = createTriggerField(stubParts());

/** `path: message` of each fault. */
function faults(fields: unknown): string[] {
  const read = trigger.safeParse(fields);
  return read.success ? [] : faultsOf(read.error).map(({ path, message }) => `${path}: ${message}`);
}

const cron = (fields: object) => ({ type: "cron", ...fields });
const daily = "0 5 * * *";
const at = (ms: number) => new Date(nowMs + ms).toISOString();
const bounds = { startAt: null, endAt: null, timezone: "UTC" };

describe("a trigger is read", () => {
  test("from a crontab expression", () => {
    expect(
      trigger.parse(cron({ expression: "@daily", timezone: "Asia/Shanghai", endAt: "2031-01-01T00:00:00" })),
    ).toEqual({
      type: "cron",
      dialect: "crontab",
      expression: "@daily",
      timezone: "Asia/Shanghai",
      startAt: null,
      endAt: Date.parse("2030-12-31T16:00:00Z"),
    });
  });

  test("from APScheduler's fields, whose numbers may be numbers", () => {
    expect(trigger.parse(cron({ fields: { hour: 5, minute: "*/10" }, gap: "shift", overlap: "first" }))).toEqual({
      type: "cron",
      dialect: "apscheduler",
      fields: { hour: "5", minute: "*/10" },
      gap: "shift",
      overlap: "first",
      ...bounds,
    });
  });

  test("from an expression in APScheduler's dialect", () => {
    expect(trigger.parse(cron({ expression: "0 5 * * 0", dialect: "apscheduler" }))).toEqual({
      type: "cron",
      dialect: "apscheduler",
      expression: "0 5 * * 0",
      ...bounds,
    });
  });

  test("from an interval, which starts one length after creation", () => {
    expect(trigger.parse({ type: "interval", every: "2m" })).toEqual({
      type: "interval",
      everyMs: 120_000,
      ...bounds,
      startAt: nowMs + 120_000,
    });
  });

  test("from an interval to whole milliseconds, rounded up, since Postgres's clock has fractions", () => {
    const parts = stubParts();
    const clock = { ...parts.clock, now: () => nowMs + 0.25 };
    const read = createTriggerField({ ...parts, clock }).parse({ type: "interval", every: "2m" });
    expect(read).toMatchObject({ startAt: nowMs + 120_001 });
  });

  test("from an interval with a start in local time", () => {
    expect(
      trigger.parse({ type: "interval", every: "2m", startAt: "2030-06-01T12:00:00", timezone: "Europe/London" }),
    ).toMatchObject({ startAt: Date.parse("2030-06-01T11:00:00Z") });
  });

  test("from a date", () => {
    expect(trigger.parse({ type: "date", at: "2030-06-01T12:00:00", timezone: "Europe/London" })).toEqual({
      type: "date",
      at: Date.parse("2030-06-01T11:00:00Z"),
      timezone: "Europe/London",
    });
  });
});

describe("refused is", () => {
  const form = "is not *, */n, a, a-b, a-b/n or a/n";
  const fiveOrSix =
    "must have five fields (minute, hour, day of month, month, day of week), or six with the seconds first";
  const london = { timezone: "Europe/London" };
  const skipped = "does not exist in Europe/London: its clocks skip this time";

  test.each<[unknown, ...string[]]>([
    [cron({}), ": must have an expression or fields"],
    [cron({ expression: daily, fields: { hour: "5" } }), "/fields: must not be given together with expression"],
    [cron({ fields: {} }), "/fields: must have at least one field"],
    [cron({ fields: { hour: "5" }, dialect: "crontab" }), "/dialect: must be apscheduler with fields"],
    [cron({ expression: "" }), `/expression: ${fiveOrSix}`],
    [cron({ expression: "* * * *" }), `/expression: ${fiveOrSix}`],
    [cron({ expression: "* * * * * * *" }), `/expression: ${fiveOrSix}`],
    [
      cron({ expression: "0 * * * * *", dialect: "apscheduler" }),
      "/expression: must have five fields: minute, hour, day, month, day of week",
    ],
    [
      cron({ expression: "@reboot" }),
      '/expression: "@reboot" is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly',
    ],
    [
      cron({ expression: "60 24 0 13 8" }),
      '/expression: minute: "60" is not from 0 to 59',
      '/expression: hour: "24" is not from 0 to 23',
      '/expression: day of month: "0" is not from 1 to 31',
      '/expression: month: "13" is not from 1 to 12',
      '/expression: day of week: "8" is not from 0 to 7',
    ],
    [
      cron({ expression: "*/60 */0 20-10 foo L" }),
      '/expression: minute: "*/60" has a step that is not from 1 to 59',
      '/expression: hour: "*/0" has a step that is not from 1 to 23',
      '/expression: day of month: "20-10" runs backwards',
      '/expression: month: "foo" is none of jan, feb, mar, apr, may, jun, jul, aug, sep, oct, nov, dec',
      '/expression: day of week: "L" is none of sun, mon, tue, wed, thu, fri, sat',
    ],
    [cron({ expression: "0 0 * * fri-mon" }), '/expression: day of week: "fri-mon" runs backwards'],
    [
      cron({ expression: "1,,2 ? 1#2 * *" }),
      ...['minute: ""', 'hour: "?"', 'day of month: "1#2"'].map((item) => `/expression: ${item} ${form}`),
    ],
    [
      cron({ fields: { year: "1969", week: "54", day: "2nd foo,last", dayOfWeek: "7", second: "x" } }),
      '/fields/day: "foo" is none of mon, tue, wed, thu, fri, sat, sun',
      '/fields/year: "1969" is not from 1970 to 9999',
      '/fields/week: "54" is not from 1 to 53',
      '/fields/dayOfWeek: "7" is not from 0 to 6',
      '/fields/second: "x" is no number',
    ],
    [cron({ fields: { hours: "5" } }), "/fields/hours: is not a field here", "/fields: must have at least one field"],
    [
      cron({ fields: { hour: "24" }, timezone: "Mars/Olympus", startAt: "soon", gap: "jump", other: 1 }),
      '/gap: must be "skip" or "shift"',
      "/startAt: must be a time: use RFC 3339 (2026-11-21T02:30:00Z or 2026-11-21T10:30:00+08:00)",
      "/timezone: must be a time zone of the IANA database, such as Asia/Shanghai",
      "/other: is not a field here",
      '/fields/hour: "24" is not from 0 to 23',
    ],
    [
      cron({ expression: daily, startAt: "2030-03-31T01:30:00", endAt: "2031-03-30T01:00:00", ...london }),
      `/startAt: ${skipped}`,
      `/endAt: ${skipped}`,
    ],
    [{ type: "date", at: "2030-03-31T01:30:00", ...london }, `/at: ${skipped}`],
    [{ type: "date", at: { kind: "local" }, ...london }, "/at: must be a string"],
    [{ type: "date", at: null, ...london }, "/at: must be a string"],
    [cron({ expression: daily, startAt: { kind: "local" }, ...london }), "/startAt: must be a string"],
    [{ type: "interval" }, "/every: is required"],
    [{ type: "sometimes" }, '/type: must be "cron" or "interval" or "date"'],
    [{}, '/type: must be "cron" or "interval" or "date"'],
    ["@daily", ": must be an object"],
  ])("%j", (fields, ...expected) => {
    expect(faults(fields).toSorted()).toEqual(expected.toSorted());
  });
});

test("every trigger that the README shows is one", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const shown = [...readme.matchAll(/`(\{ "type": .*?\})`/g)].map(([, text = ""]): unknown => JSON.parse(text));
  expect(shown.length).toBeGreaterThanOrEqual(9);
  expect(shown.flatMap(faults)).toEqual([]);
});

describe("each limit holds at N and not one past it", () => {
  const list = (chars: number) =>
    "0,"
      .repeat(1_000)
      .slice(0, chars - 1)
      .replace(/,$/, "0") + "0";

  test.each<[string, object, object, string]>([
    [
      "an expression's length",
      cron({ expression: `${list(limits.cronTextCharsMax - 8)} * * * *` }),
      cron({ expression: `${list(limits.cronTextCharsMax - 7)} * * * *` }),
      "/expression",
    ],
    [
      "a field's length",
      cron({ fields: { minute: list(limits.cronTextCharsMax) } }),
      cron({ fields: { minute: list(limits.cronTextCharsMax + 1) } }),
      "/fields/minute",
    ],
    ["the shortest interval", { type: "interval", every: "1s" }, { type: "interval", every: "999ms" }, "/every"],
    ["the longest interval", { type: "interval", every: "P3653D" }, { type: "interval", every: "P3653DT1S" }, "/every"],
    [
      "the farthest occurrence",
      { type: "date", at: at(limits.occurrenceAheadMaxMs) },
      { type: "date", at: at(limits.occurrenceAheadMaxMs + 1) },
      "",
    ],
    ["the nearest occurrence", { type: "date", at: at(1) }, { type: "date", at: at(0) }, ""],
  ])("%s", (_name, within, past, path) => {
    expect(faults(within)).toEqual([]);
    expect(faults(past).map((fault) => fault.split(": ")[0])).toEqual([path]);
  });
});

describe("a trigger with no occurrence in the 10 years from now is refused", () => {
  const never = `: has no occurrence in the 10 years after ${at(0)}`;

  test.each([
    cron({ expression: "0 0 30 2 *" }),
    cron({ fields: { day: 31, month: "apr,jun" } }),
    cron({ fields: { year: "2020" } }),
    cron({ fields: { year: "2060" } }),
    cron({ fields: { day: "5th mon", week: "2" } }),
    // The second Sunday of March, at an hour that New York's clocks skip on it.
    cron({ fields: { month: "3", day: "2nd sun", hour: "2" }, timezone: "America/New_York" }),
    cron({ expression: daily, endAt: at(-1) }),
    cron({ expression: daily, startAt: at(86_400_000 * 3_660) }),
    { type: "interval", every: "1h", startAt: at(0), endAt: at(-1) },
  ])("%j", (fields) => {
    expect(faults(fields)).toEqual([never]);
  });

  test("and a preview counts them from its own instant", () => {
    const read = createPreviewTriggerField(stubParts()).parse(cron({ fields: { year: "2020" } }));
    expect(reachFault(read, nowMs)).not.toBeNull();
    expect(reachFault(read, Date.parse("2015-01-01T00:00:00Z"))).toBeNull();
  });

  test("and those past the year 9999, which nothing can write, are none", () => {
    const read = createPreviewTriggerField(stubParts()).parse(cron({ expression: daily }));
    expect(reachFault(read, Date.parse("9999-12-31T04:00:00Z"))).toBeNull();
    expect(reachFault(read, Date.parse("9999-12-31T06:00:00Z"))).not.toBeNull();
  });
});
