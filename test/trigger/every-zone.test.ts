// Owns the comparison with the oracle over every zone of the IANA database: its last clock changes, a day before to a day after each.

import { expect, test } from "vitest";
import { occurrencesAfter } from "../../src/trigger/trigger.ts";
import { sized } from "../support/size.ts";
import { crontab } from "./make.ts";
import { changesOf, type Field, occurrencesIn, type Pattern, walk } from "./oracle.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** Past the last change that any zone has set so far, and those of two years by rule. */
const newest = Date.parse("2028-01-01T00:00:00Z");
const oldest = Date.parse("1840-01-01T00:00:00Z");
const changesMax = sized({ usual: 5, long: 10 });
/** It computes for some 10 s on a core of its own at its full size. */
const timeoutMs = 120_000;

const zones = Intl.supportedValuesOf("timeZone");

const value = (from: number, to = from): Field => [{ from, to, step: 1 }];
const anyDay = {
  year: null,
  month: null,
  day: null,
  week: null,
  dayOfWeek: null,
  second: value(0),
  either: true,
} as const;
const fixed = { ...anyDay, gap: "shift", overlap: "first" } as const;

const patterns: readonly [string, Pattern][] = [
  ["0 0 * * *", { ...fixed, hour: value(0), minute: value(0) }],
  ["30 2 * * *", { ...fixed, hour: value(2), minute: value(30) }],
  ["*/15 * * * *", { ...anyDay, hour: null, minute: [{ from: 0, to: null, step: 15 }], gap: "skip", overlap: "both" }],
  ["0 2-3 * * *", { ...fixed, hour: value(2, 3), minute: value(0) }],
];

test("every zone's last changes are met as the oracle says", { timeout: timeoutMs }, () => {
  const changes = zones.flatMap((zone) => lastChanges(zone).map((change) => ({ zone, change })));
  expect(changes.flatMap(disagreements)).toEqual([]);
  expect(zones.length).toBeGreaterThan(400);
  expect(changes.length).toBeGreaterThan((changesMax * zones.length) / 2);
});

function disagreements({ zone, change }: { zone: string; change: number }): string[] {
  const [from, to] = [change - 26 * hourMs, change + 26 * hourMs];
  const minutes = walk(zone, from, to);
  return patterns.flatMap(([expression, pattern]) => {
    const expected = occurrencesIn(minutes, pattern, minutes.length);
    const found = occurrencesBetween(expression, zone, [from, to]);
    const agree = expected.length > 0 && String(found) === String(expected);
    return agree ? [] : [`${expression} in ${zone} at ${new Date(change).toISOString()}`];
  });
}

function occurrencesBetween(expression: string, timezone: string, [from, to]: [number, number]): number[] {
  const found: number[] = [];
  for (const at of occurrencesAfter(crontab(expression, { timezone }), from - 1)) {
    if (at >= to) break;
    found.push(at);
  }
  return found;
}

/** Looked for backwards, ten years at a time. No zone ever changed twice within three days. */
function lastChanges(zone: string): number[] {
  const changes: number[] = [];
  for (let to = newest; to > oldest && changes.length < changesMax; to -= 3_650 * dayMs) {
    changes.unshift(...changesOf(zone, { from: to - 3_650 * dayMs, to, stepMs: 3 * dayMs }));
  }
  return changes.slice(-changesMax);
}
