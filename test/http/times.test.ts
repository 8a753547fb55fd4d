// Owns the checks of how instants are read: RFC 3339, local times around the changes of clocks, and rounding up.

import { describe, expect, test } from "vitest";
import { isTimeZone, parseTime, resolveLocal } from "../../src/http/times.ts";

function instant(text: string): string | undefined {
  const read = parseTime(text);
  return "time" in read && read.time.kind === "instant" ? new Date(read.time.at).toISOString() : undefined;
}

function local(text: string, zone: string): string | undefined {
  const read = parseTime(text);
  if (!("time" in read) || read.time.kind !== "local") return undefined;
  const resolved = resolveLocal(read.time.time, zone);
  return "at" in resolved ? new Date(resolved.at).toISOString() : resolved.error;
}

describe("a time with an offset", () => {
  test.each([
    ["2026-11-21T02:30:00Z", "2026-11-21T02:30:00.000Z"],
    ["2026-11-21t02:30:00z", "2026-11-21T02:30:00.000Z"],
    ["2026-11-21T10:30:00+08:00", "2026-11-21T02:30:00.000Z"],
    ["2026-11-20T22:30:00.5-04:00", "2026-11-21T02:30:00.500Z"],
    ["2026-11-21T02:30:00-00:00", "2026-11-21T02:30:00.000Z"],
    ["2026-11-21T02:30Z", "2026-11-21T02:30:00.000Z"],
    ["2028-02-29T23:59:59+23:59", "2028-02-29T00:00:59.000Z"],
  ])("%s is %s", (text, at) => {
    expect(instant(text)).toBe(at);
  });

  test.each([
    ["2026-11-21T02:30:00.1234Z", "2026-11-21T02:30:00.124Z"],
    ["2026-11-21T02:30:00.123000001Z", "2026-11-21T02:30:00.124Z"],
    ["2026-11-21T02:30:00.123000000Z", "2026-11-21T02:30:00.123Z"],
    ["2026-11-21T02:30:59.9999Z", "2026-11-21T02:31:00.000Z"],
  ])("finer than a millisecond is rounded up: %s is %s", (text, at) => {
    expect(instant(text)).toBe(at);
  });

  test.each([
    "2026-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-11-21T24:00:00Z",
    "2026-11-21T23:59:60Z",
    "2026-11-21 02:30:00Z",
    "2026-11-21T02:30:00+8",
    "2026-11-21T02:30:00+24:00",
    "2026-11-21",
    "2026-W47-6T00:00:00Z",
    "+002026-11-21T02:30:00Z",
    "1795226400000",
    "tomorrow",
    "",
  ])("%j is refused", (text) => {
    expect(parseTime(text)).toHaveProperty("error");
  });
});

describe("a local time", () => {
  test.each([
    ["2026-11-21T10:30:00", "Asia/Shanghai", "2026-11-21T02:30:00.000Z"],
    ["2026-11-21T10:30", "UTC", "2026-11-21T10:30:00.000Z"],
    ["2026-11-21T10:30:00.0001", "UTC", "2026-11-21T10:30:00.001Z"],
    ["2026-07-01T12:00:00", "America/New_York", "2026-07-01T16:00:00.000Z"],
  ])("%s in %s is %s", (text, zone, at) => {
    expect(local(text, zone)).toBe(at);
  });

  test.each([
    ["2026-03-08T02:30:00", "America/New_York"],
    ["2026-03-08T02:00:00", "America/New_York"],
    ["2026-03-29T01:59:59", "Europe/London"],
    // A whole day: Samoa crossed the date line.
    ["2011-12-30T12:00:00", "Pacific/Apia"],
    // Half an hour.
    ["2026-10-04T02:15:00", "Australia/Lord_Howe"],
  ])("%s in %s does not exist, and is refused", (text, zone) => {
    expect(local(text, zone)).toBe(`does not exist in ${zone}: its clocks skip this time`);
  });

  test.each([
    ["2026-03-08T01:59:59", "America/New_York", "2026-03-08T06:59:59.000Z"],
    ["2026-03-08T03:00:00", "America/New_York", "2026-03-08T07:00:00.000Z"],
  ])("%s in %s stands beside a gap and is %s", (text, zone, at) => {
    expect(local(text, zone)).toBe(at);
  });

  test.each([
    ["2026-11-01T01:30:00", "America/New_York", "2026-11-01T05:30:00.000Z"],
    ["2026-10-25T01:00:00", "Europe/London", "2026-10-25T00:00:00.000Z"],
    ["2026-04-05T01:45:00", "Australia/Lord_Howe", "2026-04-04T14:45:00.000Z"],
  ])("%s in %s occurs twice, and is the first: %s", (text, zone, at) => {
    expect(local(text, zone)).toBe(at);
  });
});

test.each(["Asia/Shanghai", "UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires"])("%s is a time zone", (name) => {
  expect(isTimeZone(name)).toBe(true);
});

test.each(["Mars/Olympus", "+08:00", "", "Asia/Shanghai ", "local"])("%j is no time zone", (name) => {
  expect(isTimeZone(name)).toBe(false);
});
