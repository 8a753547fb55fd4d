// Owns a second opinion on crontab's dialect: croner, where clocks never change. Where they do, it and the contract differ.

import { Cron } from "croner";
import fc from "fast-check";
import { expect, test } from "vitest";
import { crontab, instant, occurrences } from "./make.ts";

const after = "2027-02-26T23:17:41Z";

const number = (min: number, max: number) => fc.integer({ min, max });
const item = (min: number, max: number) =>
  fc.oneof(
    number(min, max).map(String),
    fc.tuple(number(min, max), number(min, max)).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
    number(1, max).map((step) => `*/${step}`),
    fc.tuple(number(min, max), number(min, max), number(1, max)).map(
      // Croner refuses a step that is longer than its range.
      ([a, b, step]) => `${Math.min(a, b)}-${Math.max(a, b)}/${Math.max(1, Math.min(step, Math.abs(a - b)))}`,
    ),
  );
const field = (min: number, max: number) =>
  fc.oneof(
    fc.constant("*"),
    fc.array(item(min, max), { minLength: 1, maxLength: 3 }).map((items) => items.join(",")),
  );

test("croner names the same times in UTC", () => {
  fc.assert(
    fc.property(
      fc
        .tuple(field(0, 59), field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7))
        .map((f) => f.join(" ")),
      (expression) => {
        const theirs = new Cron(expression, { timezone: "UTC", paused: true }).nextRuns(8, new Date(after));
        expect(occurrences(crontab(expression), after, 8).map(instant)).toEqual(theirs.map(Number));
      },
    ),
    { numRuns: 500 },
  );
});
