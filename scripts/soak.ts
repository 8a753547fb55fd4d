// Owns the soak: a long random plan of load and faults on real processes, judged by the history checker of the tests.

import "../src/runtime/require-node.ts";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { randomPlan } from "../test/fault/plan.ts";
import { Rig } from "../test/fault/rig.ts";
import { runPlan } from "../test/fault/run-plan.ts";
import { eachFault } from "./soak/each.ts";
import { report } from "./soak/report.ts";

const help = `npm run soak: two APIs and three dispatchers on a PostgreSQL and a Redis of their own, behind fault proxies, under load and
random faults; every promise is checked at the end. The same seed makes the same plan. Exits 1 where a promise is broken.

  --minutes N   how long the load runs (default 5)
  --seed S      a whole number (default: one at random, printed)
  --rate R      calls a second (default 50)
  --json FILE   writes the plan and the verdict
  --plan        prints the plan and ends
  --each        each kind of fault alone instead, half a minute each, one JSON line each: the README's table
  --fault KIND  with --each, only this one`;

const exitCodes = { kept: 0, broken: 1, badOption: 2 } as const;
const minuteMs = 60_000;
const seedMax = 2 ** 31;

const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    minutes: { type: "string", default: "5" },
    seed: { type: "string", default: String(Math.floor(Math.random() * seedMax)) },
    rate: { type: "string", default: "50" },
    json: { type: "string" },
    plan: { type: "boolean" },
    each: { type: "boolean" },
    fault: { type: "string" },
    // Another checkout of Lapse to run, for those who change this one meanwhile.
    folder: { type: "string" },
  },
});
process.exit(values.help ? showHelp() : await soak());

function showHelp(): number {
  console.log(help);
  return exitCodes.kept;
}

async function soak(): Promise<number> {
  const [minutes, seed, rate] = [values.minutes, values.seed, values.rate].map(Number);
  if (!(minutes && minutes > 0) || seed === undefined || !Number.isSafeInteger(seed) || !(rate && rate > 0)) {
    console.error("soak: --minutes and --rate take a number above 0, --seed a whole number");
    return exitCodes.badOption;
  }
  if (values.each) return (await eachFault(rate, values.fault)) === 0 ? exitCodes.kept : exitCodes.broken;
  const plan = randomPlan(seed, minutes * minuteMs, rate);
  if (values.plan) {
    console.log(JSON.stringify(plan, null, 2));
    return exitCodes.kept;
  }
  console.log(`soak: seed ${seed}, ${minutes} minutes, ${rate} calls a second, ${plan.steps.length} faults`);
  const rig = await Rig.start(values.folder === undefined ? {} : { folder: values.folder });
  const startedMs = performance.now();
  const say = (text: string): void =>
    console.log(`${((performance.now() - startedMs) / 1_000).toFixed(1).padStart(7)} s  ${text}`);
  const ticker = setInterval(
    () => say(`${rig.caller.told.length} calls, ${rig.receivers.count} requests at the receivers`),
    minuteMs / 2,
  );
  try {
    const verdict = await runPlan(rig, plan, { onStep: say });
    console.log(report(verdict));
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ plan, verdict }, null, 2)}\n`);
    return verdict.violations.length === 0 ? exitCodes.kept : exitCodes.broken;
  } finally {
    clearInterval(ticker);
    await rig.close();
  }
}
