// Owns the figure of events: what they cost accept and drain without a listener, and with one. In each round the three take turns, on one
// service, so that what else the machine does falls on all alike.

import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { startEmbeddedPostgres } from "../../src/embedded/postgres.ts";
import { createLog } from "../../src/runtime/log.ts";
import { makeDataFolder } from "./data-folder.ts";
import { measureStatements } from "./event-statements.ts";
import { type Rig, startRig } from "./rig.ts";
import { percentile } from "./statistics.ts";

type Figure = Readonly<Record<string, unknown>>;

const rounds = 7;
const acceptConnections = 50;
const acceptMs = 2_000;
const drainTasks = 5_000;
const batchTasks = 1_000;
const drainLeadMs = 6_000;
const arrivalTimeoutMs = 120_000;
const pauseMs = 500;

/** `before`: as if there were no events. */
const variants = ["before", "unheard", "streamed"] as const;
type Variant = (typeof variants)[number];

interface Round {
  readonly acceptedPerSecond: number;
  readonly drainedPerSecond: number;
}

/** On a rig of its own: the triggers are switched off and on behind the service's back. */
export async function measureEvents(): Promise<Figure> {
  const dataDir = await makeDataFolder();
  const postgres = await startEmbeddedPostgres({ dataDir, log: createLog("warn") });
  const rig = await startRig({ DATABASE_URL: postgres.url, LAPSE_ALLOW_PRIVATE_TARGETS: "true" });
  const statementMs = await measureStatements(postgres.url);
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  try {
    await measure(rig, { admin, variant: "before" });
    const measured: Record<Variant, Round[]> = { before: [], unheard: [], streamed: [] };
    for (let round = 0; round < rounds; round += 1) {
      // Turned round each time: whatever grows in a round falls on each in turn.
      const order = variants.map((_, i) => variants[(i + round) % variants.length] ?? "before");
      for (const variant of order) measured[variant].push(await measure(rig, { admin, variant }));
    }
    return { rounds, ...figuresOf(measured), statementMs };
  } finally {
    await admin.end();
    await rig.stop();
    await postgres.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

function figuresOf(measured: Readonly<Record<Variant, readonly Round[]>>): Figure {
  const ratio = (variant: Variant, name: keyof Round): number =>
    median(measured[variant].map((round, i) => round[name] / (measured.before[i]?.[name] ?? Number.NaN)));
  return Object.fromEntries(
    variants.map((variant) => [
      variant,
      {
        acceptedPerSecond: median(measured[variant].map((round) => round.acceptedPerSecond)),
        drainedPerSecond: median(measured[variant].map((round) => round.drainedPerSecond)),
        acceptRatio: ratio(variant, "acceptedPerSecond"),
        drainRatio: ratio(variant, "drainedPerSecond"),
      },
    ]),
  );
}

function median(values: readonly number[]): number {
  return percentile(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}

async function measure(rig: Rig, { admin, variant }: { admin: pg.Client; variant: Variant }): Promise<Round> {
  await admin.query(`alter table lapse.tasks ${variant === "before" ? "disable" : "enable"} trigger user`);
  const stream = variant === "streamed" ? await rig.service.listen() : null;
  try {
    await sleep(pauseMs);
    return { acceptedPerSecond: await accept(rig), drainedPerSecond: await drain(rig) };
  } finally {
    stream?.();
    await admin.query("update lapse.event_recording set recorded_until = '-infinity'");
    // Each begins with the same tables, and no other pays for the vacuum.
    await admin.query("truncate lapse.events, lapse.tasks, lapse.attempts");
    await admin.query("checkpoint");
  }
}

async function accept({ service, receiver }: Rig): Promise<number> {
  let accepted = 0;
  const startedAt = performance.now();
  const untilMs = startedAt + acceptMs;
  await Promise.all(
    Array.from({ length: acceptConnections }, async (_, i) => {
      for (let n = 0; performance.now() < untilMs; n += 1) {
        const key = `order-${i}-${startedAt}-${n}`;
        await service.accept({ url: receiver.url, delay: "30d", key, payload: { orderId: n } });
        accepted += 1;
      }
    }),
  );
  return Math.round((accepted * 1_000) / (performance.now() - startedAt));
}

async function drain({ service, receiver }: Rig): Promise<number> {
  const dueAt = new Date(Date.now() + drainLeadMs).toISOString();
  for (let made = 0; made < drainTasks; made += batchTasks) {
    const tasks = Array.from({ length: batchTasks }, (_, i) => ({
      url: receiver.url,
      dueAt,
      payload: { orderId: made + i },
    }));
    await service.acceptBatch(tasks);
  }
  if (Date.now() > Date.parse(dueAt)) throw new Error("the tasks were due before all were accepted");
  const { count, firstAt, lastAt } = await receiver.arrivals(drainTasks, arrivalTimeoutMs);
  return Math.round((count * 1_000) / (lastAt - firstAt));
}
