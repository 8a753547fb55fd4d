// Owns the table of the README's "What happens when …": each fault alone, on a world of its own under the soak's load.

import { type FaultKind, faultKinds, type Plan } from "../../test/fault/plan.ts";
import { Rig } from "../../test/fault/rig.ts";
import { runPlan, type Verdict } from "../../test/fault/run-plan.ts";

const calmMs = 8_000;
const afterMs = 15_000;
const delayMsMax = 3_000;
const warnLevel = 40;

/** Who is hit, and for how long: a dispatcher is away for longer than its lease. */
const cases: Readonly<Partial<Record<FaultKind, readonly [target: string, durationMs: number]>>> = {
  "redis-flush": ["all", 0],
  "redis-kill": ["all", 5_000],
  "redis-stop": ["all", 5_000],
  "redis-full": ["all", 5_000],
  "redis-read-only": ["all", 5_000],
  "redis-half-open": ["all", 5_000],
  "redis-stale-replica": ["all", 1_000],
  "postgres-terminate": ["all", 0],
  "postgres-restart": ["all", 1_000],
  "postgres-kill": ["all", 5_000],
  "postgres-half-open": ["all", 5_000],
  "postgres-cut-after-commit": ["all", 5_000],
  "postgres-lock": ["all", 10_000],
  "process-kill": ["dispatcher-1", 20_000],
  "process-stop": ["dispatcher-1", 15_000],
  "process-drain": ["dispatcher-1", 1_000],
  "clock-ahead": ["dispatcher-1", 15_000],
  "clock-behind": ["dispatcher-1", 15_000],
};

/** Runs them one after the other, a line each; resolves to how many promises were broken. */
export async function eachFault(ratePerSecond: number, only: string | undefined): Promise<number> {
  let broken = 0;
  for (const fault of faultKinds) {
    const [target, durationMs] = cases[fault] ?? [];
    if (target === undefined || durationMs === undefined || (only !== undefined && only !== fault)) continue;
    const steps = [{ atMs: calmMs, fault, target, durationMs }];
    const plan = { seed: 1, lastsMs: calmMs + durationMs + afterMs, ratePerSecond, delayMsMax, steps };
    const rig = await Rig.start();
    try {
      const verdict = await run(rig, plan);
      broken += verdict.violations.length;
      console.log(JSON.stringify({ fault, target, durationMs, ...told(rig, verdict), ...counted(await events(rig)) }));
      for (const violation of verdict.violations) console.log(violation);
    } finally {
      await rig.close();
    }
  }
  return broken;
}

function run(rig: Rig, plan: Plan): Promise<Verdict> {
  return runPlan(rig, plan);
}

function told(rig: Rig, { callCount, answers, tally, stalledMs }: Verdict) {
  const { calm, recovering } = tally.lateness;
  const statuses = Map.groupBy(rig.caller.told, ({ status }) => (status === null ? "none" : String(status)));
  const failed = [...statuses].filter(([status]) => status === "none" || status.startsWith("5"));
  return {
    calls: callCount,
    failedCalls: Object.fromEntries(failed.map(([status, calls]) => [status, calls.length])),
    answerP99Ms: answers.p99Ms,
    latenessMs: { calm, "under fault": tally.lateness["under fault"], recovering },
    repeatedCalls: tally.duplicates,
    stalledMs,
  };
}

/** What operators see: names of warnings in the logs, and what the metrics counted. */
async function events(rig: Rig): Promise<{ logs: Set<string>; metrics: Map<string, number> }> {
  const logs = new Set<string>();
  const metrics = new Map<string, number>();
  for (const member of rig.members.values()) {
    for (const line of member.lines) {
      const { level = 0, msg = "" } = parse(line);
      if (level >= warnLevel) logs.add(msg);
    }
    for (const [, event = "", count] of (await member.metrics())?.matchAll(
      /internal_events_total\{event="([^"]+)"\} (\d+)/g,
    ) ?? [])
      metrics.set(event, (metrics.get(event) ?? 0) + Number(count));
  }
  return { logs, metrics };
}

function counted({ logs, metrics }: { logs: Set<string>; metrics: Map<string, number> }) {
  return { logs: [...logs].toSorted(), metrics: Object.fromEntries(metrics) };
}

function parse(line: string): { level?: number; msg?: string } {
  try {
    return JSON.parse(line) as { level?: number; msg?: string };
  } catch {
    return {};
  }
}
