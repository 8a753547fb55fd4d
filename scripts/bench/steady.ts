// Owns the figure of the past: how large tables and indexes become, and how late calls are, under a steady load whose ended tasks are removed
// after a minute.

import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { startBenchServers } from "./bench-servers.ts";
import { type Lateness, latenessOf, Receiver } from "./receiver.ts";
import { openLoop, Service, storeSettings } from "./service.ts";

type Figure = Readonly<Record<string, unknown>>;

export const steadyDefaults = { minutes: 5, ratePerSecond: 500 } as const;
const retention = "1m";
const sampleMs = 15_000;
const minuteMs = 60_000;
/** From then on sizes should be level: tasks are removed since a minute, and vacuum has come round. */
const levelFrom = 0.5;
const bytesPerMiB = 2 ** 20;

interface Size {
  readonly name: string;
  readonly tableMiB: number;
  readonly indexesMiB: number;
  readonly dead: number;
}

interface Sample {
  readonly atSeconds: number;
  readonly tasks: number;
  readonly ended: number;
  readonly latenessMs: Lateness;
  readonly sizes: readonly Size[];
}

export async function measureSteady({
  minutes,
  ratePerSecond,
}: {
  minutes: number;
  ratePerSecond: number;
}): Promise<Figure> {
  const servers = await startBenchServers();
  const receiver = await Receiver.start();
  try {
    const store = await servers.open("steady", 1);
    const service = await Service.start({ ...storeSettings(store), LAPSE_RETENTION: retention });
    const reader = new pg.Client({ connectionString: store.databaseUrl });
    await reader.connect();
    let isOver = false;
    const sampling = sampleUntil(() => isOver, { reader, receiver });
    await openLoop(ratePerSecond, minutes * minuteMs, (n) =>
      service.accept({ url: receiver.url, delay: "1s", key: `order-${n}:payment-timeout`, payload: { orderId: n } }),
    );
    isOver = true;
    const samples = await sampling;
    const audit = await service.get("/v1/audit");
    await reader.end();
    await service.stop();
    await store.drop();
    return {
      minutes,
      ratePerSecond,
      retention,
      ...levelOf(samples),
      balanced: (audit as { balanced: boolean }).balanced,
      samples,
    };
  } finally {
    receiver.stop();
    await servers.stop();
  }
}

async function sampleUntil(
  isOver: () => boolean,
  { reader, receiver }: { reader: pg.Client; receiver: Receiver },
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  const startedMs = performance.now();
  while (!isOver()) {
    await sleep(sampleMs);
    const [counts] = (await reader.query<{ tasks: number; ended: number }>(readCounts)).rows;
    const sizes = (await reader.query<Size>(readSizes, [bytesPerMiB])).rows;
    const sample = {
      atSeconds: Math.round((performance.now() - startedMs) / 1_000),
      tasks: counts?.tasks ?? 0,
      ended: counts?.ended ?? 0,
      latenessMs: latenessOf(await receiver.taken()),
      sizes,
    };
    console.error(lineOf(sample));
    samples.push(sample);
  }
  return samples;
}

const readCounts = `
  select count(*)::int as tasks, count(*) filter (where finished_at is not null)::int as ended from lapse.tasks`;

const readSizes = `
  select relname as name, round(pg_relation_size(relid) / $1::numeric, 1)::float8 as "tableMiB",
    round(pg_indexes_size(relid) / $1::numeric, 1)::float8 as "indexesMiB", n_dead_tup::int as dead
  from pg_stat_user_tables where schemaname = 'lapse' and pg_total_relation_size(relid) > $1 / 2
  order by pg_total_relation_size(relid) desc`;

function lineOf({ atSeconds, tasks, latenessMs, sizes }: Sample): string {
  const tables = sizes.map(
    ({ name, tableMiB, indexesMiB, dead }) => `${name} ${tableMiB}+${indexesMiB} MiB, ${dead} dead`,
  );
  return `${atSeconds} s: ${tasks} tasks; late ${latenessMs.p50}/${latenessMs.p99} ms; ${tables.join("; ")}`;
}

/** What the second half grew by, of tables and indexes together, and its lateness beside the first half's. */
function levelOf(samples: readonly Sample[]): Figure {
  const half = Math.floor(samples.length * levelFrom);
  const mib = (sample: Sample | undefined): number =>
    sample === undefined ? Number.NaN : sample.sizes.reduce((sum, size) => sum + size.tableMiB + size.indexesMiB, 0);
  const worst = (part: readonly Sample[]): number => Math.max(...part.map(({ latenessMs }) => latenessMs.p99));
  return {
    halfwayMiB: Math.round(mib(samples[half])),
    endMiB: Math.round(mib(samples.at(-1))),
    worstLatenessP99: { firstHalf: worst(samples.slice(0, half)), secondHalf: worst(samples.slice(half)) },
  };
}
