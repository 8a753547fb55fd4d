// Owns the comparison with the oracle: thousands of random cron triggers in zones with odd rules, around the changes of their clocks.

import fc from "fast-check";
import { expect, test } from "vitest";
import { lastOccurrences, occurrencesAfter, type Trigger } from "../../src/trigger/trigger.ts";
import { sized } from "../support/size.ts";
import { occurrencesIn, walk } from "./oracle.ts";
import { type RandomCron, randomApscheduler, randomCrontab } from "./random-cron.ts";

const hourMs = 3_600_000;
const numRuns = sized({ usual: 3_000, long: 50_000 });
const comparedMax = 200;

/** A day before each to two and a half after: changes of clocks, turns of years and months, a leap day. */
const moments = [
  ["America/New_York", "2026-03-08T07:00:00Z"],
  ["America/New_York", "2026-11-01T06:00:00Z"],
  ["Europe/London", "2026-03-29T01:00:00Z"],
  ["Europe/London", "2026-10-25T01:00:00Z"],
  ["Australia/Lord_Howe", "2026-10-03T15:30:00Z"],
  ["Australia/Lord_Howe", "2026-04-04T15:00:00Z"],
  ["America/Sao_Paulo", "2018-11-04T03:00:00Z"],
  ["America/Sao_Paulo", "2018-02-18T02:00:00Z"],
  ["Asia/Kolkata", "1945-10-14T17:30:00Z"],
  ["Asia/Kolkata", "2026-12-31T18:30:00Z"],
  ["Pacific/Apia", "2011-12-30T10:00:00Z"],
  ["Pacific/Apia", "2012-03-31T14:00:00Z"],
  ["Africa/Casablanca", "2026-02-15T02:00:00Z"],
  ["Africa/Casablanca", "2026-03-22T02:00:00Z"],
  ["UTC", "2027-01-01T00:00:00Z"],
  ["UTC", "2028-02-29T00:00:00Z"],
  ["UTC", "2026-06-30T00:00:00Z"],
].map(([zone = "", moment = ""]) => {
  const from = Date.parse(moment) - 24 * hourMs;
  const to = Date.parse(moment) + 60 * hourMs;
  return { zone, from, to, minutes: walk(zone, from, to) };
});

const moment = fc.constantFrom(...moments.keys());
/** Where in the first two days of the moment the comparison begins, to the second: half a millisecond is the least there is between. */
const start = fc.integer({ min: 0, max: 48 * 3_600 - 1 });

test.each([
  ["crontab's", randomCrontab],
  ["APScheduler's", randomApscheduler],
])("triggers in %s dialect occur when the oracle says", (_name, randomCron) => {
  let occurred = 0;
  fc.assert(
    fc.property(randomCron, moment, start, (cron, index, startSecond) => {
      const { zone, from, to, minutes } = moments[index] ?? { zone: "", from: 0, to: 0, minutes: [] };
      const after = from + startSecond * 1_000;
      // From the minute before the start: an occurrence at the start itself is not later than it.
      const ahead = minutes.filter(({ at }) => at > after - 60_000);
      const expected = occurrencesIn(ahead, cron.pattern, comparedMax + 120).filter((at) => at > after);
      const trigger = triggerOf(cron, zone);
      const found = until(trigger, after, to);
      expect(found).toEqual(expected.slice(0, comparedMax));
      if (found.length > 0) occurred += 1;
      if (expected.length > comparedMax) return;
      const latest = lastOccurrences(trigger, { after, until: to - 1, max: 5 });
      expect(latest).toEqual(expected.slice(-5));
    }),
    { numRuns },
  );
  // Had most triggers no occurrence at all, they would agree on nothing.
  expect(occurred).toBeGreaterThan(numRuns / 3);
});

function triggerOf({ written }: RandomCron, timezone: string): Trigger {
  return { type: "cron", ...written, timezone, startAt: null, endAt: null };
}

function until(trigger: Trigger, after: number, to: number): number[] {
  const found: number[] = [];
  for (const at of occurrencesAfter(trigger, after)) {
    if (at >= to || found.length === comparedMax) break;
    found.push(at);
  }
  return found;
}
