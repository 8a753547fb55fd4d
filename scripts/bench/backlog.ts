// Owns the figures of a backlog: two databases on the same servers, one almost empty and one with millions of tasks that wait, and the same
// work on both by turns, so that what else the machine does falls on both.

import { backlogKeys, backlogLines, backlogTask } from "./backlog-tasks.ts";
import { type BenchServers, startBenchServers, type Store } from "./bench-servers.ts";
import { latenessOf, Receiver } from "./receiver.ts";
import { closedLoop, openLoop, Service, storeSettings } from "./service.ts";
import { summarize } from "./statistics.ts";

type Figure = Readonly<Record<string, unknown>>;

export const backlogTasksDefault = 1_000_000;
const rounds = 3;
const acceptWidth = 50;
const acceptMs = 4_000;
const drainTasks = 10_000;
const batchTasks = 1_000;
const drainLeadMs = 5_000;
const ratePerSecond = 200;
const latenessForMs = 6_000;
const arrivalTimeoutMs = 60_000;
const cancelsPerRound = 2_000;
const pagesPerRound = 10;
/** Of the empty side: enough to be cancelled. */
const emptyTasks = 10_000;

const listings = {
  byDueTime: "",
  byAge: "?order=-createdAt",
  ofAState: "?state=failed&order=-createdAt",
  ofAKeyPrefix: "?keyPrefix=order-77",
  ofALabel: "?label.shop=eu",
} as const;
const measures = ["acceptedPerSecond", "drainedPerSecond", "latenessP50", "latenessP99", "cancelledPerSecond"] as const;
type Round = Readonly<Record<(typeof measures)[number] | keyof typeof listings, number>>;

interface Side {
  readonly store: Store;
  readonly service: Service;
  readonly keys: Generator<string, never>;
  readonly rounds: Round[];
}

/** Ratios are of full to empty, round by round: above 1 is more a second, or later. */
export async function measureBacklog(tasks: number): Promise<Figure> {
  const servers = await startBenchServers();
  const receiver = await Receiver.start();
  try {
    const empty = await openSide(servers, { name: "few_wait", redisNumber: 1, tasks: emptyTasks });
    for (let n = 0; n < emptyTasks; n += batchTasks)
      await empty.service.acceptBatch(Array.from({ length: batchTasks }, (_, i) => backlogTask(n + i, Date.now())));
    const full = await openSide(servers, { name: "many_wait", redisNumber: 2, tasks });
    const startedMs = performance.now();
    const imported = await full.service.import(backlogLines(tasks));
    const importedPerSecond = Math.round((imported * 1_000) / (performance.now() - startedMs));
    if (imported !== tasks) throw new Error(`${imported} of ${tasks} tasks were imported`);
    for (const { store } of [empty, full]) await store.settle();
    for (let round = 0; round < rounds; round += 1)
      for (const side of round % 2 === 0 ? [empty, full] : [full, empty]) await measureRound(side, receiver);
    const figure = {
      tasks,
      importedPerSecond,
      ...compared(empty.rounds, full.rounds),
      restartToReadyMs: { empty: await restart(empty), full: await restart(full) },
      redisBytes: await full.store.redisBytes(),
      postgresBytesPerTask: Math.round((await full.store.databaseBytes()) / tasks),
    };
    for (const { service, store } of [empty, full]) {
      await service.stop();
      await store.drop();
    }
    return figure;
  } finally {
    receiver.stop();
    await servers.stop();
  }
}

async function openSide(
  servers: BenchServers,
  { name, redisNumber, tasks }: { name: string; redisNumber: number; tasks: number },
): Promise<Side> {
  const store = await servers.open(name, redisNumber);
  return { store, service: await Service.start(storeSettings(store)), keys: backlogKeys(tasks), rounds: [] };
}

async function measureRound(side: Side, receiver: Receiver): Promise<void> {
  const { service, keys } = side;
  const acceptedPerSecond = await accept(service, `round-${side.rounds.length}`);
  const drainedPerSecond = await drain(service, receiver);
  const { p50, p99 } = await lateness(service, receiver);
  const round = {
    acceptedPerSecond,
    drainedPerSecond,
    latenessP50: p50,
    latenessP99: p99,
    cancelledPerSecond: await cancel(service, keys),
    byDueTime: await readPages(service, listings.byDueTime),
    byAge: await readPages(service, listings.byAge),
    ofAState: await readPages(service, listings.ofAState),
    ofAKeyPrefix: await readPages(service, listings.ofAKeyPrefix),
    ofALabel: await readPages(service, listings.ofALabel),
  };
  side.rounds.push(round);
}

function accept(service: Service, round: string): Promise<number> {
  const url = "http://127.0.0.1:9/hooks/cancel-order";
  return closedLoop(acceptWidth, acceptMs, (n) =>
    service.accept({ url, delay: "30d", key: `${round}-${n}`, payload: { orderId: n } }),
  );
}

/** All due at one instant, from the first arrival to the last. */
async function drain(service: Service, receiver: Receiver): Promise<number> {
  const dueAt = new Date(Date.now() + drainLeadMs).toISOString();
  for (let made = 0; made < drainTasks; made += batchTasks)
    await service.acceptBatch(
      Array.from({ length: batchTasks }, (_, i) => ({ url: receiver.url, dueAt, payload: { orderId: made + i } })),
    );
  const calls = await receiver.calls(drainTasks, arrivalTimeoutMs);
  const [first, last] = [calls[0]?.at ?? Number.NaN, calls.at(-1)?.at ?? Number.NaN];
  return Math.round((calls.length * 1_000) / (last - first));
}

async function lateness(service: Service, receiver: Receiver) {
  const tasks = await openLoop(ratePerSecond, latenessForMs, (n) =>
    service.accept({ url: receiver.url, delay: "1s", payload: { orderId: n } }),
  );
  return latenessOf(await receiver.calls(tasks, arrivalTimeoutMs));
}

async function cancel(service: Service, keys: Side["keys"]): Promise<number> {
  const startedMs = performance.now();
  const chosen = Array.from({ length: cancelsPerRound }, () => keys.next().value);
  const each = chosen.values();
  await Promise.all(
    Array.from({ length: acceptWidth }, async () => {
      for (const key of each) await service.cancel(key);
    }),
  );
  return Math.round((cancelsPerRound * 1_000) / (performance.now() - startedMs));
}

/** The median ms of a page of 50. */
async function readPages(service: Service, query: string): Promise<number> {
  const times: number[] = [];
  for (let page = 0; page < pagesPerRound; page += 1) {
    const startedMs = performance.now();
    await service.get(`/v1/tasks${query}`);
    times.push(performance.now() - startedMs);
  }
  return Math.round(summarize(times).median * 100) / 100;
}

/** A stop and a start on the same servers. */
async function restart({ service }: Side): Promise<number> {
  return Math.round(await service.restart());
}

function compared(empty: readonly Round[], full: readonly Round[]): Figure {
  const names = [...measures, ...(Object.keys(listings) as (keyof typeof listings)[])];
  return Object.fromEntries(
    names.map((name) => {
      const ratios = full.map((round, i) => round[name] / (empty[i]?.[name] ?? Number.NaN));
      const median = (side: readonly Round[]): number => summarize(side.map((round) => round[name])).median;
      return [name, { empty: median(empty), full: median(full), ratio: rounded(summarize(ratios).median) }];
    }),
  );
}

function rounded(ratio: number): number {
  return Math.round(ratio * 100) / 100;
}
