// Owns `npm run bench`: what Lapse does on this machine, beside its peers and the limit of the machine.

import "../../src/runtime/require-node.ts";
import { parseArgs } from "node:util";
import { backlogTasksDefault, measureBacklog } from "./backlog.ts";
import { burstTasksDefault, measureBurst } from "./burst.ts";
import { compare, type Plan } from "./compare.ts";
import { type ContenderName, contenderNames, isContenderName, isPeer } from "./contenders.ts";
import { measureEvents } from "./events.ts";
import { type FigureName, figures } from "./figures.ts";
import { measureIsolation } from "./isolation.ts";
import { machine } from "./machine.ts";
import { installPeers } from "./peers/install.ts";
import { reportComparison } from "./report.ts";
import { onRig } from "./rig.ts";
import { fullSizes, quickSizes, type Sizes } from "./sizes.ts";
import { measureSteady, steadyDefaults } from "./steady.ts";

type Measured = Readonly<Record<string, unknown>>;

/** Measurements of Lapse alone: each prints one JSON line, and runs only where it is named. */
const ofLapseAlone: Readonly<Record<string, () => Promise<Measured>>> = {
  isolation: onRig(measureIsolation),
  events: measureEvents,
  backlog: () => measureBacklog(numberOf("tasks", backlogTasksDefault)),
  steady: () =>
    measureSteady({
      minutes: numberOf("minutes", steadyDefaults.minutes),
      ratePerSecond: numberOf("rate", steadyDefaults.ratePerSecond),
    }),
  burst: () => measureBurst(numberOf("tasks", burstTasksDefault)),
};

const help = `npm run bench: Lapse, its peers and the limit take turns at the same work, on servers of the benchmark's own. Markdown goes to
standard output, progress to standard error. It takes about 20 minutes. Ends with 1 where work was lost or not done in time.

  --quick          small sizes, one round and no backlog: a minute or two, to see that it works
  --only NAMES     comma-separated: ${Object.keys(figures).join(", ")};
                   of Lapse alone: ${Object.keys(ofLapseAlone).join(", ")}
  --rounds N       (default ${fullSizes.rounds}; with --quick ${quickSizes.rounds})
  --against NAMES  comma-separated, instead of all: ${contenderNames.filter((name) => name !== "lapse" && name !== "beside").join(", ")}
  --beside FOLDER  another checkout of Lapse, as one more contender: a change, side by side with what it changes
  --size NAME=N    another size than the default: ${Object.keys(fullSizes).join(", ")}
  --tasks N        of backlog: how many wait (default ${backlogTasksDefault}); of burst: how many are due (default ${burstTasksDefault})
  --minutes N      of steady: how long (default ${steadyDefaults.minutes})
  --rate N         of steady: tasks a second (default ${steadyDefaults.ratePerSecond})`;

const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    quick: { type: "boolean" },
    only: { type: "string" },
    rounds: { type: "string" },
    against: { type: "string" },
    beside: { type: "string" },
    size: { type: "string", multiple: true },
    tasks: { type: "string" },
    minutes: { type: "string" },
    rate: { type: "string" },
  },
});

if (values.help) console.log(help);
else await run();

async function run(): Promise<void> {
  const names = values.only?.split(",") ?? Object.keys(figures).filter((name) => !values.quick || !isWaiting(name));
  const unknown = names.filter((name) => !isFigureName(name) && !Object.hasOwn(ofLapseAlone, name));
  if (unknown.length > 0) refuse(`no figure is called ${unknown.join(", ")}`);
  const compared = names.filter(isFigureName);
  if (compared.length > 0) {
    const plan: Plan = {
      figures: compared,
      contenders: readContenders(),
      sizes: readSizes(),
      folders: { lapse: process.cwd(), beside: values.beside ?? null },
    };
    if (plan.contenders.some(isPeer)) installPeers();
    const comparison = await compare(plan);
    console.log(reportComparison(comparison, plan));
    if (comparison.failures.length > 0) process.exitCode = 1;
  }
  for (const name of names) {
    const measure = ofLapseAlone[name];
    if (measure !== undefined) console.log(JSON.stringify({ figure: name, ...(await measure()), machine: machine() }));
  }
}

function readContenders(): readonly ContenderName[] {
  const against = values.against?.split(",") ?? contenderNames.filter((name) => name !== "beside");
  const unknown = against.filter((name) => !isContenderName(name));
  if (unknown.length > 0) refuse(`nobody is called ${unknown.join(", ")}`);
  return contenderNames.filter(
    (name) => name === "lapse" || against.includes(name) || (name === "beside" && values.beside !== undefined),
  );
}

function readSizes(): Sizes {
  const sizes: Record<keyof Sizes, number> = { ...(values.quick ? quickSizes : fullSizes) };
  const given = [...(values.size ?? []), ...(values.rounds === undefined ? [] : [`rounds=${values.rounds}`])];
  for (const setting of given) {
    const [name = "", value] = setting.split("=");
    if (!isSizeName(name)) refuse(`no size is called ${name}`);
    sizes[name] = readNumber(name, value);
  }
  return sizes;
}

function numberOf(name: "tasks" | "minutes" | "rate", fallback: number): number {
  return values[name] === undefined ? fallback : readNumber(name, values[name]);
}

function readNumber(name: string, value: string | undefined): number {
  if (!/^[1-9]\d*$/.test(value ?? "")) refuse(`${name}: expected a whole number from 1, got ${value}`);
  return Number(value);
}

function isFigureName(name: string): name is FigureName {
  return Object.hasOwn(figures, name);
}

function isWaiting(name: string): boolean {
  return isFigureName(name) && figures[name].phase === "waiting";
}

function isSizeName(name: string): name is keyof Sizes {
  return Object.hasOwn(fullSizes, name);
}

function refuse(fault: string): never {
  console.error(`bench: ${fault} (--help lists what there is)`);
  process.exit(2);
}
