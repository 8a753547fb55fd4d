// Owns the checks of the headers that make calls repeatable: Idempotency-Key and If-Match.

import { describe, expect, test } from "vitest";
import { readIdempotencyKey } from "../../src/http/idempotency.ts";
import { ApiProblem } from "../../src/http/problem.ts";
import { readIfMatch } from "../../src/http/routes/change.ts";

const key = (...lines: string[]): string | null =>
  readIdempotencyKey(["Host", "localhost", ...lines.flatMap((line) => ["Idempotency-Key", line])]);

describe("an Idempotency-Key", () => {
  test.each([
    ["abc", "abc"],
    ['"abc"', "abc"],
    ["8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    ["a,b;c=d", "a,b;c=d"],
    [`"${"k".repeat(255)}"`, "k".repeat(255)],
    ["k".repeat(255), "k".repeat(255)],
    [" padded ", "padded"],
  ])("%s is %s", (line, value) => {
    expect(key(line)).toBe(value);
  });

  test.each([
    '""',
    "",
    "k".repeat(256),
    `"${"k".repeat(256)}"`,
    "a b",
    '"a b"',
    "é",
    "a\tb",
    '"open',
    '"a\\x"',
    '"a"; b=c',
  ])("%j is malformed", (line) => {
    expect(() => key(line)).toThrow(ApiProblem);
  });

  test('a quote inside a bare one is part of it only where it does not lead: a"b', () => {
    expect(key('a"b')).toBe('a"b');
  });

  test("given twice is refused, even if the same", () => {
    expect(() => key("a", "a")).toThrow(expect.objectContaining({ problem: "malformed-request" }));
  });

  test("left out is none", () => {
    expect(key()).toBeNull();
  });
});

describe("If-Match", () => {
  test.each<[string | undefined, number | null]>([
    [undefined, null],
    ["*", null],
    ['"1"', 1],
    ['"2147483647"', 2_147_483_647],
    // What can be no version matches none.
    ['"2147483648"', -1],
    ['"99999999999999999999"', -1],
    ['W/"1"', -1],
    ['"abc"', -1],
    ['""', -1],
  ])("%s means %s", (header, version) => {
    expect(readIfMatch(header)).toBe(version);
  });

  test.each(["1", '"1', '"1", "2"', "W/1", "", "abc"])("%j is malformed", (header) => {
    expect(() => readIfMatch(header)).toThrow(expect.objectContaining({ problem: "malformed-request" }));
  });
});
