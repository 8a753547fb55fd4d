// Goal: every promise holds when a process dies between any two steps of accept, cancel, claim, fire, settle, heal and takeover.
// Method: at each failpoint a process in turn kills itself while flows run that pass it; the next goes on, and the histories are compared.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Failpoint, failpointNames } from "../../src/runtime/failpoint.ts";
import type { LapseProcess } from "../support/process.ts";
import { answerTo, useDispatch, useIntake } from "./failpoint-flows.ts";
import { rowsOf } from "./held.ts";
import type { Death } from "./history.ts";
import { hostNow } from "./host-clock.ts";
import { until } from "./until.ts";
import { makeWorld, ownRedis, testMsMax, type World } from "./world.ts";

/** For a process to come to its failpoint; a dispatcher must hold its lease for 10 s before it takes over. */
const reachMsMax = 30_000;
const takeoverMsMax = 15_000;
const latenessMsMax = 2_000;
const hangingCount = 4;

/** As LAPSE_FAILPOINT takes it. */
type Step = Failpoint | `${Failpoint}:${number}`;

const ofApis: readonly Step[] = namesOf("accept", "cancel", "confirm", "index", "define");
/** With one of two that were claimed together begun, too. */
const ofDispatchers: readonly Step[] = [
  ...namesOf("claim", "fire", "settle", "heal", "fill", "schedule"),
  "claim.won:2",
  // Statements that are sent in one piece: before the first, and in their midst.
  "flush.begun",
  "flush.begun:2",
  "flush.sent",
];
/** Before the commit of a takeover, all that the dead had is still there for the next. */
const uncommitted = ["takeover.declared", "takeover.recorded", "takeover.reassigned", "takeover.shares_moved"] as const;
const committed = ["takeover.committed", "takeover.fired"] as const;

test("each failpoint is walked", () => {
  const steps = [...ofApis, ...ofDispatchers, ...uncommitted, ...committed];
  expect(new Set(steps.map(nameOf))).toEqual(new Set(failpointNames));
});

test("a process that dies at any failpoint breaks no promise", { timeout: 2 * testMsMax }, async () => {
  const { url: redisUrl } = await ownRedis();
  const make = () => makeWalk(redisUrl);
  await Promise.all([make().then(walkApis), make().then(walkDispatchers), make().then(walkTakeovers)]);
});

/** One dispatcher lives on: nothing is late, and no attempt lost. */
async function walkApis(world: World): Promise<void> {
  await world.start("dispatcher");
  const flows: Promise<void>[] = [];
  for (const failpoint of ofApis) {
    const doomed = await world.start("api", { LAPSE_FAILPOINT: failpoint });
    world.callAt(doomed);
    flows.push(useIntake(world, failpoint));
    await diesAt(doomed, failpoint);
  }
  world.callAt(await world.start("api"));
  await Promise.all(flows);
  await world.expectPromisesKept({ latenessMsMax, deaths: [] });
}

async function walkDispatchers(world: World): Promise<void> {
  await world.start("api");
  const from = hostNow();
  const diedAt: number[] = [];
  const flows: Promise<string[]>[] = [];
  for (const failpoint of ofDispatchers) {
    const since = hostNow();
    const doomed = await world.start("dispatcher", { LAPSE_FAILPOINT: failpoint });
    flows.push(useDispatch(world, failpoint, since));
    diedAt.push(await diesAt(doomed, failpoint));
  }
  await world.start("dispatcher");
  const to = hostNow();
  const heldBack = new Set((await Promise.all(flows)).flat());
  await world.expectPromisesKept({ latenessMsMax, heldBack, outages: [{ from, to }], deaths: deathsAt(diedAt, to) });
}

/**
 * A dispatcher dies with calls in flight, and whoever takes them over dies in turn. Each is ready to take over once it has held its lease
 * for a while, so that they come in the order in which they were started.
 */
async function walkTakeovers(world: World): Promise<void> {
  const { caller, receiver } = world;
  await world.start("api");
  const victim = await world.start("dispatcher");
  const from = hostNow();
  const task = { url: `${receiver.url}/hang`, queue: "takeover", timeout: "5m" };
  const hanging = Array.from({ length: hangingCount }, () => caller.accept(task));
  await Promise.all([...hanging, caller.accept({ ...task, delivery: "at-most-once" })]);
  const unwanted = await caller.accept({ ...task, key: "unwanted" });
  await world.untilSeen(hangingCount + 2);
  expect((await caller.cancel({ id: unwanted.task?.id ?? "" })).status).toBe(202);
  await victim.end();
  const diedAt = [hostNow()];
  const doomed = uncommitted.map(async (failpoint) => startDoomed(world, failpoint));
  diedAt.push(...(await Promise.all(doomed.map(async (starting) => dies(await starting)))));
  for (const failpoint of committed) {
    const taker = await startDoomed(world, failpoint);
    const [before] = await rowsOf<{ count: number }>(world.databaseUrl, runningText);
    diedAt.push(await dies(taker));
    expect(before?.count).toBeGreaterThan(0);
  }
  await world.start("dispatcher");
  const to = hostNow();
  await world.expectPromisesKept({ latenessMsMax, outages: [{ from, to }], deaths: deathsAt(diedAt, to) });
}

const runningText = "select count(*)::int as count from lapse.tasks where state = 'running'";

interface Doomed {
  readonly process: LapseProcess;
  readonly failpoint: Step;
}

async function startDoomed(world: World, failpoint: Step): Promise<Doomed> {
  return { process: await world.start("dispatcher", { LAPSE_FAILPOINT: failpoint }), failpoint };
}

function dies({ process, failpoint }: Doomed): Promise<number> {
  return diesAt(process, failpoint);
}

/** Resolves to when it died, by its own hand and nowhere else. */
async function diesAt({ exited, lines }: LapseProcess, failpoint: Step): Promise<number> {
  const late = sleep(reachMsMax, null, { ref: false });
  const exit = await Promise.race([exited, late]);
  const at = hostNow();
  if (exit === null) throw new Error(`no process came to ${failpoint} within ${reachMsMax} ms`);
  expect(exit).toEqual({ code: null, signal: "SIGKILL" });
  const lastLine = `failpoint.reached ${nameOf(failpoint)}`;
  await until(() => lines.at(-1) === lastLine, 1_000, `its last line is ${lastLine}`);
  return at;
}

/** None of them holds its lease for long enough to take over but the last, which listens at `lastAt`. */
function deathsAt(instants: readonly number[], lastAt: number): Death[] {
  return instants.map((at) => ({ at, until: at, takenOverBy: lastAt + takeoverMsMax, how: "killed" }));
}

async function makeWalk(redisUrl: string): Promise<World> {
  const world = await makeWorld({ redisUrl });
  world.receiver.answer((request) => answerTo(request, world.caller));
  return world;
}

function nameOf(step: Step): string {
  return step.split(":")[0] ?? "";
}

function namesOf(...parts: readonly string[]): Failpoint[] {
  return failpointNames.filter((name) => parts.some((part) => name.startsWith(`${part}.`)));
}
