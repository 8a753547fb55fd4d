// Owns plans: what is done to the world and when, as data that can be printed, kept and run again; and making one at random from a seed.

export const faultKinds = [
  "process-kill",
  "process-stop",
  "process-drain",
  "rolling-restart",
  "clock-ahead",
  "clock-behind",
  "redis-flush",
  "redis-kill",
  "redis-stop",
  "redis-full",
  "redis-read-only",
  "redis-no-replicas",
  "redis-stale-replica",
  "redis-reset",
  "redis-half-open",
  "redis-slow",
  "postgres-kill",
  "postgres-restart",
  "postgres-terminate",
  "postgres-lock",
  "postgres-reset",
  "postgres-cut",
  "postgres-half-open",
  "postgres-stall",
  "postgres-slow",
  "postgres-throttle",
  "postgres-cut-after-commit",
] as const;

export type FaultKind = (typeof faultKinds)[number];

export interface Step {
  readonly atMs: number;
  readonly fault: FaultKind;
  /** A member of the world, or `all`. */
  readonly target: string;
  readonly durationMs: number;
}

export interface Plan {
  readonly seed: number;
  readonly lastsMs: number;
  /** Calls of callers a second. */
  readonly ratePerSecond: number;
  /** How far ahead tasks are due at most. */
  readonly delayMsMax: number;
  readonly steps: readonly Step[];
}

export const apis = ["api-1", "api-2"] as const;
export const dispatchers = ["dispatcher-1", "dispatcher-2", "dispatcher-3"] as const;

type Target = "process" | "dispatcher" | "all" | "some";

interface Kind {
  readonly target: Target;
  /** Of a fault that lasts: at least and at most. */
  readonly ms: readonly [number, number];
  readonly weight: number;
}

/** A lease is 10 s: what lasts longer than that makes a death, what is shorter must not. */
const kinds: Readonly<Record<FaultKind, Kind>> = {
  "process-kill": { target: "process", ms: [500, 20_000], weight: 4 },
  "process-stop": { target: "process", ms: [1_000, 16_000], weight: 4 },
  "process-drain": { target: "process", ms: [0, 3_000], weight: 2 },
  "rolling-restart": { target: "all", ms: [0, 0], weight: 2 },
  "clock-ahead": { target: "dispatcher", ms: [5_000, 15_000], weight: 1 },
  "clock-behind": { target: "dispatcher", ms: [5_000, 15_000], weight: 1 },
  "redis-flush": { target: "all", ms: [0, 0], weight: 2 },
  "redis-kill": { target: "all", ms: [0, 8_000], weight: 2 },
  "redis-stop": { target: "all", ms: [500, 8_000], weight: 1 },
  "redis-full": { target: "all", ms: [1_000, 8_000], weight: 1 },
  "redis-read-only": { target: "all", ms: [1_000, 8_000], weight: 1 },
  "redis-no-replicas": { target: "all", ms: [1_000, 8_000], weight: 1 },
  "redis-stale-replica": { target: "all", ms: [500, 4_000], weight: 2 },
  "redis-reset": { target: "some", ms: [0, 3_000], weight: 1 },
  "redis-half-open": { target: "some", ms: [1_000, 12_000], weight: 2 },
  "redis-slow": { target: "some", ms: [1_000, 8_000], weight: 1 },
  "postgres-kill": { target: "all", ms: [0, 14_000], weight: 2 },
  "postgres-restart": { target: "all", ms: [0, 4_000], weight: 1 },
  "postgres-terminate": { target: "all", ms: [0, 0], weight: 2 },
  "postgres-lock": { target: "all", ms: [1_000, 30_000], weight: 2 },
  "postgres-reset": { target: "some", ms: [0, 0], weight: 2 },
  "postgres-cut": { target: "some", ms: [500, 14_000], weight: 2 },
  "postgres-half-open": { target: "some", ms: [1_000, 14_000], weight: 3 },
  "postgres-stall": { target: "some", ms: [500, 14_000], weight: 3 },
  "postgres-slow": { target: "some", ms: [2_000, 8_000], weight: 1 },
  "postgres-throttle": { target: "some", ms: [2_000, 8_000], weight: 1 },
  "postgres-cut-after-commit": { target: "some", ms: [500, 5_000], weight: 3 },
};

const delayMsMax = 10_000;
const firstAtMs = 5_000;
/** Faults come in gusts of a few that may overlap, and then it is calm for a while: what is late then has no excuse. */
const gustMs = 12_000;
const gustFaultsMax = 5;
const calmMs = [8_000, 20_000] as const;
/** The load goes on for this long after the last fault is over. */
const lastCalmMs = 15_000;

/** A plan of `lastsMs` that follows from its seed alone. */
export function randomPlan(seed: number, lastsMs: number, ratePerSecond: number): Plan {
  const random = randomOf(seed);
  const steps: Step[] = [];
  const endMs = lastsMs - lastCalmMs;
  for (let gustAtMs = firstAtMs; gustAtMs < endMs; ) {
    const gust = gustAt(gustAtMs, random).filter((step) => step.atMs + step.durationMs < endMs);
    steps.push(...gust);
    const overMs = Math.max(gustAtMs, ...gust.map((step) => step.atMs + step.durationMs));
    gustAtMs = overMs + between(calmMs, random);
  }
  return { seed, lastsMs, ratePerSecond, delayMsMax, steps: steps.toSorted((one, other) => one.atMs - other.atMs) };
}

/** A few faults that begin within a gust. No two of them are at the same server or process at once. */
function gustAt(atMs: number, random: () => number): Step[] {
  const count = 1 + Math.floor(random() * gustFaultsMax);
  const steps: Step[] = [];
  for (let i = 0; i < count; i += 1) {
    const fault = pickKind(random);
    const { target, ms } = kinds[fault];
    const step = {
      atMs: Math.round(atMs + random() * gustMs),
      fault,
      target: pickTarget(target, random),
      durationMs: Math.round(between(ms, random)),
    };
    if (!steps.some((other) => collide(step, other))) steps.push(step);
  }
  return steps;
}

/** They would undo each other: both at one server, or at one process. */
function collide(one: Step, other: Step): boolean {
  const [server, otherServer] = [one, other].map((step) => step.fault.split("-")[0]);
  const isProcess = (name = ""): boolean => ["process", "clock", "rolling"].includes(name);
  const isSameTarget = one.target === other.target || one.target === "all" || other.target === "all";
  return isProcess(server) && isProcess(otherServer) ? isSameTarget : server === otherServer;
}

/** Of a fault of a server itself, which another of it would undo; null where it is one of processes, or of their ways to it. */
export function serverOf(fault: FaultKind): "redis" | "postgres" | null {
  if (kinds[fault].target !== "all") return null;
  return (["redis", "postgres"] as const).find((server) => fault.startsWith(server)) ?? null;
}

function pickKind(random: () => number): FaultKind {
  const sum = faultKinds.reduce((weight, kind) => weight + kinds[kind].weight, 0);
  let left = random() * sum;
  for (const kind of faultKinds) {
    left -= kinds[kind].weight;
    if (left < 0) return kind;
  }
  return faultKinds[0];
}

function pickTarget(target: Target, random: () => number): string {
  const pick = (names: readonly string[]): string => names[Math.floor(random() * names.length)] ?? "all";
  switch (target) {
    case "all":
      return "all";
    case "dispatcher":
      return pick(dispatchers);
    case "process":
      return pick([...apis, ...dispatchers]);
    default:
      return random() < 0.5 ? "all" : pick([...apis, ...dispatchers]);
  }
}

function between([least, most]: readonly [number, number], random: () => number): number {
  return least + random() * (most - least);
}

/** Mulberry32: the same numbers for the same seed, evenly spread from 0 to 1. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
