// What a fault plan allows and what it counts: outages, deaths, repeated calls by cause, lateness by phase.

import { expect, test } from "vitest";
import { deathsOf, merge, outagesOf } from "./allowance.ts";
import { accepted, attempt, bounds, clean, death, dueAt, takenOver } from "./hand-made.ts";
import type { Death, Histories } from "./history.ts";
import type { Absence } from "./member.ts";
import { tally } from "./tally.ts";

const until = 200_000;

function away(from: number, to: number, how: Absence["how"] = "killed"): Absence {
  return { from, to, how };
}

test("spans that touch are one, in the order of time", () => {
  expect(
    merge([
      { from: 5, to: 6 },
      { from: 1, to: 3 },
      { from: 2, to: 4 },
      { from: 4, to: 5 },
      { from: 8, to: 9 },
    ]),
  ).toEqual([
    { from: 1, to: 6 },
    { from: 8, to: 9 },
  ]);
});

test("nothing can fire while Postgres is away, or every dispatcher at once", () => {
  const absences = [[away(10, 30), away(50, 60)], [away(20, 55)]];
  expect(outagesOf({ absences, postgresAway: [{ from: 100, to: 110 }], until })).toEqual([
    { from: 20, to: 30 },
    { from: 50, to: 55 },
    { from: 100, to: 110 },
  ]);
  expect(outagesOf({ absences: [[away(10, 30)], []], postgresAway: [], until })).toEqual([]);
});

test("a death is made good 15 s after one that lives has been able to for that long", () => {
  const byOf = (absences: Absence[][], postgresAway: { from: number; to: number }[] = []): number[] =>
    deathsOf({ absences, postgresAway, until }).map((one) => one.takenOverBy);
  expect(byOf([[away(1_000, 2_000)], []])).toEqual([16_000]);
  // The other is away as well, and then has to be steady.
  expect(byOf([[away(1_000, 50_000)], [away(5_000, 8_000)]])).toEqual([23_000, 23_000]);
  expect(byOf([[away(1_000, 2_000)], []], [{ from: 3_000, to: 20_000 }])).toEqual([35_000]);
  // Nobody dies of an outage.
  expect(byOf([[], []], [{ from: 3_000, to: 20_000 }])).toEqual([]);
  // It is itself back first.
  expect(byOf([[away(1_000, 2_000)]])).toEqual([17_000]);
  // Calls in flight have 30 s to end.
  expect(byOf([[away(1_000, 2_000, "drained")], []])).toEqual([41_000]);
});

test("a call that was made again is counted by what took its owner away", () => {
  const causeBy = (histories: Histories, deaths: readonly Death[]): string[] =>
    Object.keys(tally(histories, { ...bounds, deaths }, []).duplicates);
  const stopped: Death = { ...death, how: "stopped", until: dueAt + 13_000 };
  expect(causeBy(takenOver, [death])).toEqual(["crash between call and record"]);
  expect(causeBy(takenOver, [stopped])).toEqual(["stopped for longer than a lease"]);
  expect(causeBy(takenOver, [{ ...death, how: "cut off" }])).toEqual([
    "connection to Postgres lost for longer than a lease",
  ]);
  expect(causeBy(takenOver, [{ ...death, how: "drained" }])).toEqual(["call cut off by a drain"]);
  expect(causeBy(takenOver, [])).toEqual(["unexplained"]);
  const [first, second] = takenOver.seen;
  const zombie = { ...takenOver, seen: [{ ...first, arrivedAt: dueAt + 13_001 }, second] } as Histories;
  expect(causeBy(zombie, [stopped])).toEqual(["stop between check and write"]);
  // Nobody had it, or nobody had it again.
  expect(causeBy({ ...takenOver, seen: takenOver.seen.slice(1) }, [death])).toEqual([]);
  expect(causeBy(clean, [death])).toEqual([]);
});

test("lateness is told by phase: under a fault, for 15 s after it, and when all is calm", () => {
  const late = { ...clean, told: [accepted], attempts: [{ ...attempt, startedAt: dueAt + 40 }] };
  const phases = (from: number, to: number): number[] => {
    const { lateness } = tally(late, bounds, [{ from, to }]);
    return [lateness.calm.max, lateness["under fault"].max, lateness.recovering.max];
  };
  expect(phases(dueAt - 10, dueAt + 10)).toEqual([0, 40, 0]);
  expect(phases(dueAt - 10_000, dueAt - 5_000)).toEqual([0, 0, 40]);
  expect(phases(dueAt - 60_000, dueAt - 50_000)).toEqual([40, 0, 0]);
  expect(phases(dueAt + 10, dueAt + 20)).toEqual([40, 0, 0]);
});
