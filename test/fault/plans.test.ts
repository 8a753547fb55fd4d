// Goal: every promise holds under each family of faults, alone and together, with two APIs and three dispatchers (P1 to P10).
// Method: plans as data, on real processes behind fault proxies, with a seeded mix of all that callers do; the histories compared.

import { expect, onTestFailed, onTestFinished, test } from "vitest";
import { isLong, sized } from "../support/size.ts";
import type { Plan, Step } from "./plan.ts";
import { randomPlan } from "./plan.ts";
import { Rig } from "./rig.ts";
import { runPlan, type Verdict } from "./run-plan.ts";
import { testMsMax } from "./world.ts";

const timeout = testMsMax;
const ratePerSecond = sized({ usual: 25, long: 40 });
const seed = 1;
const randomPlanMs = 180_000;
/** Nobody who posts waits for Redis. */
const answerMsMax = 1_000;
const shownLines = 15;

interface Family {
  readonly name: string;
  readonly lastsMs: number;
  readonly steps: readonly Step[];
  /** Nobody who calls the API notices anything. */
  readonly areCallersUnharmed?: boolean;
  /** A dispatcher is away for longer than a lease, so that calls may be made again. */
  readonly isWithTakeover?: boolean;
}

/** `[at, fault, target, for]`, in ms. */
function steps(...rows: readonly [number, Step["fault"], string, number][]): Step[] {
  return rows.map(([atMs, fault, target, durationMs]) => ({ atMs, fault, target, durationMs }));
}

const families: readonly Family[] = [
  {
    name: "Redis is wiped, gone, full, read-only, stale, or out of reach",
    lastsMs: 29_000,
    steps: steps(
      [1_500, "redis-flush", "all", 0],
      [3_000, "redis-kill", "all", 2_500],
      [7_500, "redis-full", "all", 2_000],
      [11_000, "redis-read-only", "all", 2_000],
      [14_500, "redis-no-replicas", "all", 1_500],
      [17_500, "redis-stop", "all", 2_000],
      [21_000, "redis-half-open", "all", 2_000],
      // The dispatchers' Redis is well, and lacks what the APIs accept.
      [24_500, "redis-reset", "api-1", 2_000],
      [24_500, "redis-reset", "api-2", 2_000],
      [27_500, "redis-stale-replica", "all", 0],
    ),
    areCallersUnharmed: true,
  },
  {
    name: "Postgres is stopped, killed and locked, and ends its sessions",
    lastsMs: 20_000,
    steps: steps(
      [1_500, "postgres-terminate", "all", 0],
      [3_500, "postgres-restart", "all", 1_000],
      [8_000, "postgres-kill", "all", 1_500],
      [13_500, "postgres-lock", "all", 3_000],
      [18_500, "postgres-terminate", "all", 0],
    ),
  },
  {
    name: "the network to Postgres resets, stalls, drops packets, crawls, and swallows the answers to commits",
    lastsMs: 28_000,
    steps: steps(
      [1_500, "postgres-reset", "all", 0],
      [3_000, "postgres-cut-after-commit", "all", 1_500],
      [6_500, "postgres-stall", "dispatcher-1", 2_500],
      [6_500, "postgres-stall", "api-1", 2_500],
      // Long enough to forget a connection, and far too short for any timeout.
      [11_000, "postgres-half-open", "all", 300],
      [14_500, "postgres-half-open", "dispatcher-2", 11_500],
      [15_000, "postgres-half-open", "api-2", 2_000],
      [18_500, "postgres-slow", "all", 1_500],
      [21_500, "postgres-cut", "dispatcher-1", 1_500],
      [24_500, "postgres-throttle", "api-1", 1_500],
    ),
    isWithTakeover: true,
  },
  {
    name: "processes are killed, stopped for longer than a lease, and restarted one after the other",
    lastsMs: 30_000,
    steps: steps(
      [1_500, "process-kill", "dispatcher-1", 4_000],
      [2_500, "process-kill", "api-1", 2_000],
      [3_500, "process-stop", "dispatcher-2", 13_000],
      [10_000, "process-stop", "api-2", 3_000],
      [18_000, "rolling-restart", "all", 0],
    ),
    isWithTakeover: true,
  },
];

test.each(families)("every promise holds while $name", { timeout }, async (family) => {
  const { lastsMs, areCallersUnharmed = false, isWithTakeover = false } = family;
  const verdict = await expectKept({ seed, lastsMs, ratePerSecond, delayMsMax: 3_000, steps: family.steps });
  if (!isWithTakeover) expect(verdict.tally.duplicates).toEqual({});
  if (!areCallersUnharmed) return;
  expect(verdict.answers.undisturbedAccepts.failedCount).toBe(0);
  expect(verdict.answers.undisturbedAccepts.p99Ms).toBeLessThan(answerMsMax);
});

test.runIf(isLong)("every promise holds under a random plan", { timeout }, async () => {
  const verdict = await expectKept(randomPlan(seed, randomPlanMs, ratePerSecond));
  expect(verdict.taskCount).toBeGreaterThan(0);
});

async function expectKept(plan: Plan): Promise<Verdict> {
  const rig = await Rig.start();
  onTestFinished(() => rig.close());
  onTestFailed(() => {
    console.error(`seed ${plan.seed}; of the logs:`);
    for (const { name, lines } of rig.members.values())
      console.error(
        name,
        lines
          .filter((line) => !line.includes('"level":30'))
          .slice(-shownLines)
          .join("\n"),
      );
  });
  const verdict = await runPlan(rig, plan);
  expect(verdict.violations).toEqual([]);
  expect(verdict.tally.duplicates).not.toHaveProperty("unexplained");
  return verdict;
}
