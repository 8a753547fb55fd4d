// Goal: a dispatcher or an API whose clock is an hour off makes no task early, and none more than 2 s late (P2, P3).
// Method: processes under libfaketime, an hour ahead and an hour behind, beside one that is right, under load; the histories compared.

import { expect, onTestFinished, test } from "vitest";
import { Rig } from "./rig.ts";
import { runPlan } from "./run-plan.ts";
import { testMsMax } from "./world.ts";

const plan = { seed: 1, lastsMs: 8_000, ratePerSecond: 40, delayMsMax: 3_000, steps: [] };
const hourMs = 3_600_000;
/** Of the due times, which are a few seconds ahead. */
const nearMs = 60_000;

test("with clocks an hour off no task is early, and none more than 2 s late", { timeout: testMsMax }, async () => {
  const rig = await Rig.start({
    names: ["api-1", "api-2", "dispatcher-1", "dispatcher-2", "dispatcher-3"],
    clocks: { "api-1": "ahead", "dispatcher-1": "ahead", "dispatcher-2": "behind" },
  });
  onTestFinished(() => rig.close());
  expect(await datesOf(rig)).toEqual({
    "api-1": 1,
    "api-2": 0,
    "dispatcher-1": 1,
    "dispatcher-2": -1,
    "dispatcher-3": 0,
  });

  const { violations, taskCount, tally } = await runPlan(rig, plan);
  expect(violations).toEqual([]);
  expect(tally.lateness.calm.count).toBeGreaterThan(taskCount / 2);
  for (const name of ["dispatcher-1", "dispatcher-2"]) expect(await firedBy(rig, name)).toBeGreaterThan(0);
  for (const { dueAt, arrivedAt } of rig.receivers.seen) expect(Math.abs(arrivedAt - dueAt)).toBeLessThan(nearMs);
});

/** How many hours each process's clock is off, as the Date of its answers tells. */
async function datesOf(rig: Rig): Promise<Record<string, number>> {
  const offs: Record<string, number> = {};
  for (const { name, url } of rig.members.values()) {
    const date = Date.parse((await fetch(`${url}/healthz`)).headers.get("date") ?? "");
    offs[name] = Math.round((date - Date.now()) / hourMs) + 0;
  }
  return offs;
}

async function firedBy(rig: Rig, name: string): Promise<number> {
  const counts = (await rig.member(name).metrics())?.matchAll(/^lapse_attempts_total\{[^}]*\} (\d+)$/gm) ?? [];
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}
