// Owns the figures that contenders are compared by. Each counts what it did, and throws where work was lost.

import { setTimeout as sleep } from "node:timers/promises";
import { type ContenderName, contenders, isLapse } from "./contenders.ts";
import { type CpuTimes, mapCpu } from "./cpu.ts";
import type { Work } from "./load-generator.ts";
import type { Arrivals } from "./receiver.ts";
import type { Session } from "./session.ts";
import type { Sizes } from "./sizes.ts";
import { percentile } from "./statistics.ts";

export interface Sample {
  /** By the figure's columns; one that says nothing of the contender is left out. */
  readonly values: Readonly<Record<string, number>>;
  /** Calls made, or tasks. */
  readonly counted: number;
  /** For each of them; null where it is not measured. */
  readonly cpu: CpuTimes | null;
  /** What a reader has to know of this sample. */
  readonly notes: readonly string[];
}

export interface Column {
  readonly unit: string;
  readonly better: "more" | "less";
}

export interface Figure {
  readonly title: string;
  /** What is measured, and from when to when. */
  readonly rule: string;
  /** What a sample has values for, the first of them in the overview. */
  readonly columns: Readonly<Record<string, Column>>;
  /** `work`: one after another on a store that was empty; `bytes`: on one that is; `waiting`: beside a backlog. */
  readonly phase: "work" | "bytes" | "waiting";
  /** Only peers that keep outcomes are its rivals: recording one is more work than forgetting a task. */
  readonly needsOutcomes: boolean;
  /** Whom it says nothing of. */
  readonly without?: readonly ContenderName[];
  measure(session: Session, sizes: Sizes): Promise<Sample>;
}

const perSecond = { perSecond: { unit: "a second", better: "more" } } as const;
const lateness = {
  p50: { unit: "ms", better: "less" },
  p99: { unit: "ms", better: "less" },
  max: { unit: "ms", better: "less" },
} as const;
const leadMs = 1_000;
const arrivalTimeoutMs = 120_000;
const outcomeTimeoutMs = 60_000;
const horizonMs = 8 * 60_000;
const settleMs = 300;

/** In the order in which they are measured: what leaves tasks behind comes last. */
export const figures = {
  lateness: latenessAt(200, "work"),
  "lateness-1000": latenessAt(1_000, "work"),
  drain: {
    title: "drain: tasks due at one instant, called and their outcomes recorded",
    rule: "from the first arrival until the store says of every task that it ended; in the overview only peers that keep outcomes are its rivals",
    columns: perSecond,
    phase: "work",
    needsOutcomes: true,
    measure: measureDrain,
  },
  cancel: {
    title: "cancels, one after another by 50 callers, by id",
    rule: "from the first call to the last answer, of tasks due in a month",
    columns: perSecond,
    phase: "work",
    needsOutcomes: false,
    measure: measureCancel,
  },
  bulk: {
    title: "accept in bulk, 1,000 a call, 4 callers",
    rule: "from the first call to the last answer, due in a month, after some of the same that do not count; what is sent is held ready before, and answers are read afterwards",
    columns: perSecond,
    phase: "work",
    needsOutcomes: false,
    async measure(session, { bulkTasks, bulkWarmTasks }) {
      await session.load("fill", { count: bulkWarmTasks, dueAt: null });
      const { live } = await session.counts();
      await session.load("prepare", { count: bulkTasks, dueAt: null });
      const { value: work, cpu } = await session.metered(() => session.sendPrepared());
      await session.readAnswers();
      await expectLive(session, live + work.count);
      return rate(work, cpu);
    },
  },
  accept: {
    title: "accept, one a call, 50 callers",
    rule: "closed loop, due in a month, after some of the same that does not count",
    columns: perSecond,
    phase: "work",
    needsOutcomes: false,
    async measure(session, { acceptMs, acceptWarmMs }) {
      await session.load("accept", { ms: acceptWarmMs });
      const { live } = await session.counts();
      const { value: work, cpu } = await session.metered(() => session.load("accept", { ms: acceptMs }));
      await expectLive(session, live + work.count);
      return rate(work, cpu);
    },
  },
  bytes: {
    title: "bytes a waiting task",
    rule: "growth of the database and of Redis's used_memory, over an empty table; Redis also for tasks due in a month",
    columns: {
      PostgreSQL: { unit: "bytes", better: "less" },
      Redis: { unit: "bytes", better: "less" },
      "Redis, due in a month": { unit: "bytes", better: "less" },
    },
    phase: "bytes",
    needsOutcomes: false,
    measure: measureBytes,
  },
  waiting: latenessAt(200, "waiting"),
  "waiting-1000": latenessAt(1_000, "waiting"),
} as const satisfies Readonly<Record<string, Figure>>;

export type FigureName = keyof typeof figures;

/** Lets compilers and pools warm up; what it adds is fired and gone. */
export async function warmUp(session: Session, { warmUpTasks }: Sizes): Promise<void> {
  const { live } = await session.counts();
  const [spread, filled] = await Promise.all([
    session.load("spread", { ratePerSecond: 200, count: warmUpTasks / 10, leadMs }),
    session.load("fill", { count: warmUpTasks, dueAt: Date.now() + fillMsMax(warmUpTasks) }),
  ]);
  await session.arrivals(spread.count + filled.count, arrivalTimeoutMs);
  await session.load("recorded", { live, timeoutMs: outcomeTimeoutMs });
}

function latenessAt(ratePerSecond: number, phase: "work" | "waiting"): Figure {
  const beside = phase === "waiting" ? " beside a backlog" : "";
  return {
    title: `lateness at ${ratePerSecond.toLocaleString("en")} a second${beside}`,
    rule: "open loop: arrival minus due time, which is a second after the moment at which the call to add it was due",
    columns: lateness,
    phase,
    needsOutcomes: false,
    // Its limit has no store, so a backlog is nothing to it.
    ...(phase === "waiting" ? { without: ["limit"] } : {}),
    async measure(session, { latenessMs, latenessTasksMax }) {
      const before = await session.counts();
      const count = Math.min(Math.round((ratePerSecond * latenessMs) / 1_000), latenessTasksMax);
      const { value, cpu } = await session.metered(async () => {
        const { addedLate } = await session.load("spread", { ratePerSecond, count, leadMs });
        return { addedLate, arrivals: await session.arrivals(count, arrivalTimeoutMs) };
      });
      await session.load("recorded", { live: before.live, timeoutMs: outcomeTimeoutMs });
      const { addedLate, arrivals } = value;
      const values = {
        p50: percentile(arrivals.latenessMs, 0.5),
        p99: percentile(arrivals.latenessMs, 0.99),
        max: percentile(arrivals.latenessMs, 1),
      };
      const notes = addedLate > 0 ? [`${addedLate} of ${count} were due before they were accepted`] : [];
      return { values, counted: count, cpu: perTask(cpu, count), notes: [...notes, ...notesOf(arrivals)] };
    },
  };
}

async function measureDrain(session: Session, { drainTasks }: Sizes): Promise<Sample> {
  const before = await session.counts();
  const dueAt = Date.now() + fillMsMax(drainTasks);
  await session.load("fill", { count: drainTasks, dueAt });
  await sleep(dueAt - Date.now());
  const { value, cpu } = await session.metered(async () => {
    const arrivals = await session.arrivals(drainTasks, arrivalTimeoutMs);
    return { arrivals, endedAt: await session.load("recorded", { live: before.live, timeoutMs: outcomeTimeoutMs }) };
  });
  const { arrivals, endedAt } = value;
  const { succeeded } = await session.counts();
  if (succeeded !== null && succeeded - (before.succeeded ?? 0) !== drainTasks)
    throw new Error(`${session.name}: ${succeeded - (before.succeeded ?? 0)} of ${drainTasks} outcomes are kept`);
  const elapsedMs = Math.max(endedAt, arrivals.lastAt) - arrivals.firstAt;
  return { ...rate({ count: arrivals.count, elapsedMs }, cpu), notes: notesOf(arrivals) };
}

async function measureCancel(session: Session, { cancelTasks }: Sizes): Promise<Sample> {
  const { live } = await session.counts();
  await session.load("fill", { count: cancelTasks, dueAt: null });
  const { value: work, cpu } = await session.metered(() => session.cancelAll());
  await expectLive(session, live);
  return rate(work, cpu);
}

async function measureBytes(session: Session, { bytesTasks: count }: Sizes): Promise<Sample> {
  const { store } = session;
  await store.settle();
  const empty = { database: await store.databaseBytes(), redis: await redisAtRest(session) };
  await session.load("fill", { count, dueAt: Date.now() + horizonMs });
  const near = { database: await store.databaseBytes(), redis: await redisAtRest(session) };
  await session.load("fill", { count, dueAt: null });
  const far = { redis: await redisAtRest(session) };
  await expectLive(session, 2 * count);
  // Servers free some bytes of their own meanwhile.
  const each = (bytes: number): number => Math.max(Math.round(bytes / count), 0);
  const { keeps } = contenders[session.name];
  const usesRedis = keeps === "Redis" || isLapse(session.name);
  return {
    values: {
      ...(keeps === "PostgreSQL" ? { PostgreSQL: each(near.database - empty.database) } : {}),
      ...(usesRedis
        ? { Redis: each(near.redis - empty.redis), "Redis, due in a month": each(far.redis - near.redis) }
        : {}),
    },
    counted: 2 * count,
    cpu: null,
    notes: [],
  };
}

/** Its memory once it no longer changes: an index may be written after the answer. */
async function redisAtRest({ store }: Session): Promise<number> {
  let bytes = await store.redisBytes();
  for (;;) {
    await sleep(settleMs);
    const now = await store.redisBytes();
    if (Math.abs(now - bytes) < 2_048) return now;
    bytes = now;
  }
}

async function expectLive(session: Session, live: number): Promise<void> {
  const counts = await session.counts();
  if (counts.live !== live) throw new Error(`${session.name}: ${counts.live} tasks wait where ${live} should`);
}

function rate({ count, elapsedMs }: Work, cpu: CpuTimes | null): Sample {
  const values = { perSecond: Math.round((count * 1_000) / elapsedMs) };
  return { values, counted: count, cpu: perTask(cpu, count), notes: [] };
}

function perTask(cpu: CpuTimes | null, count: number): CpuTimes | null {
  return cpu === null ? null : mapCpu((part) => cpu[part] / count);
}

function notesOf({ repeats }: Arrivals): readonly string[] {
  return repeats > 0 ? [`${repeats} calls were made twice`] : [];
}

/** What the slowest needs to accept them, before they are due. */
function fillMsMax(count: number): number {
  return 2_000 + count / 4;
}
