// Goal: every promise holds under each family of faults, alone and together, with two APIs and three dispatchers (P1 to P10).
// Method: plans as data, on real processes behind fault proxies, with a seeded mix of all that callers do; the histories compared.

import { expect, onTestFailed, onTestFinished, test } from "vitest";
import { sized } from "../support/size.ts";
import type { Plan, Step } from "./plan.ts";
import { randomPlan } from "./plan.ts";
import { Rig } from "./rig.ts";
import { runPlan } from "./run-plan.ts";
import { testMsMax } from "./world.ts";

const timeout = testMsMax;
const ratePerSecond = 40;
const seed = Number(process.env["PLAN_SEED"] ?? 1);
const shownLines = 15;

interface Family {
  readonly name: string;
  readonly lastsMs: number;
  readonly steps: readonly Step[];
}

/** `[at, fault, target, for]`, in ms. */
function steps(...rows: readonly [number, Step["fault"], string, number][]): Step[] {
  return rows.map(([atMs, fault, target, durationMs]) => ({ atMs, fault, target, durationMs }));
}

const families: readonly Family[] = [
  {
    name: "Redis is wiped, gone, full, read-only, stale, or out of reach",
    lastsMs: 30_000,
    steps: steps(
      [2_000, "redis-flush", "all", 0],
      [4_000, "redis-kill", "all", 2_500],
      [9_000, "redis-full", "all", 2_000],
      [12_500, "redis-read-only", "all", 2_000],
      [16_000, "redis-no-replicas", "all", 1_500],
      [18_500, "redis-stop", "all", 2_000],
      [22_000, "redis-half-open", "all", 2_500],
      [26_000, "redis-stale-replica", "all", 500],
    ),
  },
  {
    name: "Postgres is stopped, killed and locked, and ends its sessions",
    lastsMs: 24_000,
    steps: steps(
      [2_000, "postgres-terminate", "all", 0],
      [4_000, "postgres-restart", "all", 1_000],
      [9_000, "postgres-kill", "all", 1_500],
      [15_000, "postgres-lock", "all", 3_000],
      [20_000, "postgres-terminate", "all", 0],
    ),
  },
  {
    name: "the network to Postgres resets, stalls, drops packets, crawls, and swallows the answers to commits",
    lastsMs: 30_000,
    steps: steps(
      [2_000, "postgres-reset", "all", 0],
      [4_000, "postgres-cut-after-commit", "all", 2_000],
      [8_000, "postgres-stall", "dispatcher-1", 3_000],
      [8_000, "postgres-stall", "api-1", 3_000],
      [13_000, "postgres-half-open", "dispatcher-2", 12_000],
      [14_000, "postgres-half-open", "api-2", 2_000],
      [19_000, "postgres-cut", "dispatcher-1", 2_000],
      [23_000, "postgres-slow", "all", 2_000],
      [26_500, "postgres-throttle", "all", 1_500],
    ),
  },
  {
    name: "processes are killed, stopped for longer than a lease, and restarted one after the other",
    lastsMs: 34_000,
    steps: steps(
      [2_000, "process-kill", "dispatcher-1", 5_000],
      [3_000, "process-kill", "api-1", 2_000],
      [4_000, "process-stop", "dispatcher-2", 13_000],
      [10_000, "process-stop", "api-2", 3_000],
      [19_000, "process-drain", "dispatcher-3", 0],
      [23_000, "process-drain", "dispatcher-1", 0],
      [23_000, "process-drain", "api-1", 0],
      [27_000, "process-drain", "dispatcher-2", 0],
    ),
  },
];

test.each(families)("every promise holds while $name", { timeout }, async ({ lastsMs, steps: done }) => {
  await expectKept({ seed, lastsMs, ratePerSecond, delayMsMax: 3_000, steps: done });
});

test.runIf(sized({ usual: false, long: true }))("every promise holds under a random plan", { timeout }, async () => {
  await expectKept(randomPlan(seed, 120_000, ratePerSecond));
});

async function expectKept(plan: Plan): Promise<void> {
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
  expect(verdict.violations, JSON.stringify(verdict.tally)).toEqual([]);
  expect(verdict.tally.duplicates).not.toHaveProperty("unexplained");
}
