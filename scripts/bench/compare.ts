// Owns the comparison: contenders take turns, round after round, on the same servers.

import { type BenchServers, startBenchServers, type Store } from "./bench-servers.ts";
import { type ContenderName, contenderNames } from "./contenders.ts";
import { type Figure, type FigureName, figures, type Sample, warmUp } from "./figures.ts";
import { Session } from "./session.ts";
import type { Sizes } from "./sizes.ts";

export interface Plan {
  readonly figures: readonly FigureName[];
  readonly contenders: readonly ContenderName[];
  readonly sizes: Sizes;
  /** The checkouts of Lapse that `lapse` and `beside` are. */
  readonly folders: { readonly lapse: string; readonly beside: string | null };
}

export type Samples = Readonly<Record<FigureName, Readonly<Partial<Record<ContenderName, readonly Sample[]>>>>>;

export interface Comparison {
  readonly samples: Samples;
  readonly servers: readonly string[];
  /** What lost work, or did not get it done: each is a figure that the table lacks. */
  readonly failures: readonly string[];
}

interface Collected {
  readonly samples: Record<FigureName, Partial<Record<ContenderName, Sample[]>>>;
  readonly failures: string[];
}

/** A turn that fails ends there, and the others go on. Progress goes to standard error. */
export async function compare(plan: Plan): Promise<Comparison> {
  const servers = await startBenchServers();
  try {
    const empty = Object.keys(figures).map((name) => [name, {}] as const);
    const collected: Collected = {
      samples: Object.fromEntries(empty) as unknown as Collected["samples"],
      failures: [],
    };
    await measureFresh({ plan, servers, collected, phase: "work" });
    await measureFresh({ plan, servers, collected, phase: "bytes" });
    await measureWaiting(plan, servers, collected);
    return { ...collected, servers: await servers.describe() };
  } finally {
    await servers.stop();
  }
}

interface Run {
  readonly plan: Plan;
  readonly servers: BenchServers;
  readonly collected: Collected;
  readonly phase: Figure["phase"];
}

/** Each turn on an empty store. */
async function measureFresh({ plan, servers, collected, phase }: Run): Promise<void> {
  const names = ofPhase(plan, phase);
  if (names.length === 0) return;
  // What a task takes is the same each time.
  const rounds = phase === "bytes" ? 1 : plan.sizes.rounds;
  for (let round = 0; round < rounds; round += 1) {
    for (const name of turned(plan.contenders, round)) {
      const store = await servers.open(databaseName(name), contenderNames.indexOf(name));
      try {
        await takeTurn({ plan, collected, round }, { names, name, store });
      } finally {
        await store.drop();
      }
    }
  }
}

/** All backlogs are made first, and stand in their own databases until the end. */
async function measureWaiting(plan: Plan, servers: BenchServers, collected: Collected): Promise<void> {
  const names = ofPhase(plan, "waiting");
  if (names.length === 0) return;
  const stores = new Map<ContenderName, Store>();
  for (const name of plan.contenders.filter((one) => namesFor(names, one).length > 0)) {
    const store = await servers.open(databaseName(name), contenderNames.indexOf(name));
    stores.set(name, store);
    const session = await Session.start(name, store, folderOf(plan, name));
    try {
      const { elapsedMs } = await session.load("fill", { count: plan.sizes.backlogTasks, dueAt: null });
      progress(`${name}: ${plan.sizes.backlogTasks} tasks wait, made in ${Math.round(elapsedMs / 1_000)} s`);
    } finally {
      await session.end();
    }
    await store.settle();
  }
  for (let round = 0; round < plan.sizes.rounds; round += 1) {
    for (const name of turned([...stores.keys()], round)) {
      const store = stores.get(name);
      if (store !== undefined) await takeTurn({ plan, collected, round }, { names, name, store });
    }
  }
  for (const store of stores.values()) await store.drop();
}

interface Turn {
  readonly plan: Plan;
  readonly collected: Collected;
  readonly round: number;
}

async function takeTurn(
  turn: Turn,
  { names, name, store }: { names: readonly FigureName[]; name: ContenderName; store: Store },
): Promise<void> {
  const { plan, collected, round } = turn;
  let session: Session | null = null;
  let at = "warm-up";
  try {
    session = await Session.start(name, store, folderOf(plan, name));
    const figureNames = namesFor(names, name);
    if (figureNames.some((one) => figures[one].phase !== "bytes")) await warmUp(session, plan.sizes);
    for (const figureName of figureNames) {
      at = figureName;
      const figure: Figure = figures[figureName];
      const sample = await figure.measure(session, plan.sizes);
      (collected.samples[figureName][name] ??= []).push(sample);
      progress(
        `round ${round + 1}: ${figureName}, ${name}: ${JSON.stringify(sample.values)} of ${sample.counted} ${sample.notes.join("; ")}`,
      );
    }
  } catch (error) {
    const [fault = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    collected.failures.push(`round ${round + 1}: ${at}, ${name}: ${fault}`);
    progress(`FAILED, round ${round + 1}: ${at}, ${name}: ${fault}`);
  } finally {
    await session?.end();
  }
}

function ofPhase(plan: Plan, phase: Figure["phase"]): readonly FigureName[] {
  return (Object.keys(figures) as readonly FigureName[]).filter(
    (name) => figures[name].phase === phase && plan.figures.includes(name),
  );
}

function namesFor(names: readonly FigureName[], contender: ContenderName): readonly FigureName[] {
  return names.filter((name) => {
    const figure: Figure = figures[name];
    return !(figure.without ?? []).includes(contender);
  });
}

/** Whatever grows or cools in a round falls on each in turn. */
function turned<Item>(items: readonly Item[], round: number): readonly Item[] {
  const shift = round % Math.max(items.length, 1);
  return [...items.slice(shift), ...items.slice(0, shift)];
}

function folderOf({ folders }: Plan, name: ContenderName): string {
  return name === "beside" && folders.beside !== null ? folders.beside : folders.lapse;
}

function databaseName(name: ContenderName): string {
  return `bench_${name.replaceAll("-", "_")}`;
}

function progress(line: string): void {
  console.error(`bench: ${line.trim()}`);
}
