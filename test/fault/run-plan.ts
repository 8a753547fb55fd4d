// Owns running a fault plan: load and faults side by side, then everything mended, the histories read and judged.

import { setTimeout as sleep } from "node:timers/promises";
import { Turns } from "../../src/runtime/turns.ts";
import { deathsOf, outagesOf } from "./allowance.ts";
import { inject } from "./faults.ts";
import { readHeld, rowsOf, untilSettled } from "./held.ts";
import { type Bounds, brokenPromises, type Happening, type Histories, type Span, type Told } from "./history.ts";
import { hostNow } from "./host-clock.ts";
import { Load } from "./load.ts";
import { type Plan, randomOf, serverOf, type Step } from "./plan.ts";
import type { FailedDrain } from "./member.ts";
import type { Rig } from "./rig.ts";
import { Stalls } from "./stalls.ts";
import { isUnknown } from "./told.ts";
import { type Tally, tally } from "./tally.ts";
import { until } from "./until.ts";

const latenessMsMax = 2_000;
/** Once the world is whole again, all that waits is fired and recorded within this. */
const settleMsMax = 90_000;
const auditMsMax = 10_000;

export interface Verdict {
  /** Broken promises with their tasks' stories, and whatever else may not be: empty where all is well. */
  readonly violations: readonly string[];
  readonly taskCount: number;
  readonly callCount: number;
  readonly requestCount: number;
  /** Faults injected, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  readonly stalledMs: number;
  readonly answers: Answers;
  readonly tally: Tally;
}

/** How the API answered. */
export interface Answers {
  /** Calls without an answer, or with one of the 5xx. */
  readonly failedCount: number;
  readonly p99Ms: number;
  /** The same while the machine did not stand still, of accepts that join a flush: they need no connection of their own. */
  readonly undisturbedAccepts: { readonly failedCount: number; readonly p99Ms: number };
}

export interface Watcher {
  /** Something was done to the world, or is over. */
  readonly onStep?: (text: string) => void;
}

export async function runPlan(rig: Rig, plan: Plan, { onStep = () => undefined }: Watcher = {}): Promise<Verdict> {
  const stalls = new Stalls(() => rig.postgres.url).start();
  const random = randomOf(plan.seed + 1);
  const { caller, receivers } = rig;
  const load = new Load({ caller, receivers, random, ...plan });
  const running = load.run();
  const violations: string[] = [];
  const happenings = await carryOut(rig, plan, { onStep, onFailure: (text) => violations.push(text) });
  load.stop();
  onStep("the load ends");
  await running;
  await settle(rig).catch((error: unknown) => violations.push(String(error)));
  await stalls.stop();
  const histories: Histories = { told: caller.told, seen: receivers.seen, ...(await readHeld(rig.postgres.url)) };
  const stood = stalls.spans;
  const bounds = { ...boundsOf(rig, happenings), stalls: stood, heldBack: await ofBadOrigin(rig) };
  violations.push(...brokenPromises(histories, bounds), ...badExits(rig, happenings));
  violations.push(...(await unbalanced(rig)));
  const counts = tally(histories, bounds, happenings);
  violations.push(...tooManySentLate(plan, counts));
  return {
    violations,
    taskCount: histories.tasks.length,
    callCount: caller.told.length,
    requestCount: histories.seen.length,
    faults: counted(plan.steps),
    stalledMs: Math.round(stood.reduce((sum, { from, to }) => sum + to - from, 0)),
    answers: answersOf(histories, stood),
    tally: counts,
  };
}

interface Reports {
  readonly onStep: (text: string) => void;
  /** A fault could not be done or undone: a process did not start again, say. */
  readonly onFailure: (text: string) => void;
}

async function carryOut(rig: Rig, { steps, lastsMs }: Plan, { onStep, onFailure }: Reports): Promise<Happening[]> {
  const startedMs = performance.now();
  const untilMs = (atMs: number): Promise<void> => sleep(Math.max(0, startedMs + atMs - performance.now()));
  const happenings: Happening[] = [];
  const carry = async (step: Step): Promise<void> => {
    const what = `${step.fault} of ${step.target}`;
    onStep(`${what} for ${step.durationMs} ms`);
    const from = hostNow();
    await inject(rig, step).catch((error: unknown) => onFailure(`${what}: ${String(error)}`));
    happenings.push({ from, to: hostNow(), what });
    onStep(`${what} is over`);
  };
  // On a slow machine a server may still come back from one fault when the next is due.
  const turns = { redis: new Turns(1), postgres: new Turns(1) };
  const carryInTurn = async (step: Step): Promise<void> => {
    await untilMs(step.atMs);
    const server = serverOf(step.fault);
    await (server === null ? carry(step) : turns[server].run(() => carry(step)));
  };
  await Promise.all([untilMs(lastsMs), ...steps.map(carryInTurn)]);
  return happenings;
}

/** What callers left paused goes on; then nothing is live any more. */
async function settle({ caller, postgres }: Rig): Promise<void> {
  const paused = new Set(caller.told.filter(({ action }) => action === "pause").map(({ name }) => name ?? ""));
  for (const id of paused)
    await until(async () => ((await caller.change(id, "resume")).status ?? 500) < 500, settleMsMax);
  await untilSettled(postgres.url, settleMsMax);
}

function boundsOf(rig: Rig, happenings: readonly Happening[]): Bounds {
  const { dispatchers, postgresAway } = rig;
  const presence = { absences: dispatchers.map(({ absences }) => absences), postgresAway, until: hostNow() };
  return {
    latenessMsMax,
    outages: outagesOf(presence),
    deaths: deathsOf(presence),
    disturbances: happenings.filter(({ what }) => !what.startsWith("redis")),
    redisFaults: happenings.filter(({ what }) => what.startsWith("redis")),
    happenings,
  };
}

/** Its cap, or its breaker, may hold them back. */
async function ofBadOrigin({ postgres, receivers }: Rig): Promise<Set<string>> {
  const text = "select id from lapse.tasks where starts_with(url, $1)";
  return new Set((await rowsOf<{ id: string }>(postgres.url, text, [receivers.badUrl])).map(({ id }) => id));
}

/** A drain may give up where Postgres takes no outcomes (exit code 1), and a process never ends by itself. */
function badExits({ members }: Rig, happenings: readonly Happening[]): string[] {
  const isExcused = ({ from, to, code }: FailedDrain): boolean =>
    code === 1 && happenings.some((one) => one.what.startsWith("postgres") && one.from <= to && one.to >= from);
  return [...members.values()].flatMap(({ name, crashes, failedDrains }) => [
    ...crashes,
    ...failedDrains
      .filter((drain) => !isExcused(drain))
      .map(({ code, lines }) => [`${name} drained, and ended with ${code}`, ...lines].join("\n  ")),
  ]);
}

/** Of all its calls, one that is stopped is between its last look at its lease and the write of one: more is no bad luck. */
function tooManySentLate({ steps }: Plan, { duplicates }: Tally): string[] {
  const stopCount = steps.filter(({ fault }) => fault === "process-stop").length;
  const sentCount = duplicates["stop between check and write"] ?? 0;
  return sentCount > stopCount
    ? [`${sentCount} calls were sent after their tasks were taken over, in ${stopCount} stops`]
    : [];
}

async function unbalanced({ caller }: Rig): Promise<string[]> {
  let body = "no answer";
  const audited = until(async () => {
    body = (await caller.call("GET", "/v1/audit")).body;
    const { balanced, overdueCount } = JSON.parse(body) as { balanced?: boolean; overdueCount?: number };
    return balanced === true && overdueCount === 0;
  }, auditMsMax);
  return audited.then(
    () => [],
    () => [`the audit does not balance: ${body}`],
  );
}

function answersOf({ told }: Histories, stalls: readonly Span[]): Answers {
  const undisturbed = told.filter(
    ({ call, idempotencyKey, askedAt, answeredAt }) =>
      call === "accept" &&
      idempotencyKey === undefined &&
      !stalls.some(({ from, to }) => from <= answeredAt && to >= askedAt),
  );
  const summed = (calls: readonly Told[]): Answers["undisturbedAccepts"] => {
    const took = calls.map(({ askedAt, answeredAt }) => answeredAt - askedAt).toSorted((one, other) => one - other);
    return {
      failedCount: calls.filter(isUnknown).length,
      p99Ms: Math.round(took[Math.floor(took.length * 0.99)] ?? 0),
    };
  };
  return { ...summed(told), undisturbedAccepts: summed(undisturbed) };
}

function counted(steps: readonly Step[]): Record<string, number> {
  return Object.fromEntries(
    [...Map.groupBy(steps, ({ fault }) => fault)].map(([fault, ofKind]) => [fault, ofKind.length] as const),
  );
}
