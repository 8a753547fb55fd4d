// Owns what the demo judges by: the shop's books, what came to the shop, and what Lapse says about each task.

import { setTimeout as sleep } from "node:timers/promises";
import type { Visit } from "./customers.ts";
import type { LapseClient, Task } from "./lapse-client.ts";
import type { Call, Network } from "./network.ts";
import type { Order, OrderBook } from "./orders.ts";

/** How long orders and tasks may stay undecided after the last customer has left, before that counts as a fault. */
const patienceMs = 10_000;
const lookMs = 50;
const tasksAPage = 500;
const liveStates = new Set(["scheduled", "paused", "running"]);

export interface Evidence {
  readonly orders: readonly Order[];
  readonly visits: readonly Visit[];
  /** What came to the shop's receiver, the forgery too. */
  readonly calls: readonly Call[];
  readonly forgeryStatus: number;
  /** By id. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** Of each task that fired, from the row of its first attempt. */
  readonly latenessMs: readonly number[];
  readonly audit: Audit;
}

interface Audit {
  readonly balanced: boolean;
  readonly overdueCount: number;
}

interface Sources {
  readonly orders: OrderBook;
  readonly visits: readonly Visit[];
  readonly network: Network;
  readonly forgeryStatus: number;
  readonly lapse: LapseClient;
  readonly signal: AbortSignal;
}

/** Waits until nothing is undecided, but not for ever, and gathers what everybody says. */
export async function collectEvidence(sources: Sources): Promise<Evidence> {
  const { orders, visits, network, forgeryStatus, lapse, signal } = sources;
  const giveUpAt = Date.now() + patienceMs;
  let tasks = await readTasks(lapse);
  while (!isDecided(orders, tasks) && Date.now() < giveUpAt) {
    await sleep(lookMs, undefined, { signal });
    if (orders.count().waiting === 0) tasks = await readTasks(lapse);
  }
  return {
    orders: orders.all(),
    visits,
    calls: network.calls,
    forgeryStatus,
    tasks: new Map(tasks.map((task) => [task.id, task])),
    latenessMs: await readLateness(lapse, tasks),
    audit: await lapse.read<Audit>("/v1/audit"),
  };
}

function isDecided(orders: OrderBook, tasks: readonly Task[]): boolean {
  return orders.count().waiting === 0 && !tasks.some(({ state }) => liveStates.has(state));
}

async function readTasks(lapse: LapseClient): Promise<Task[]> {
  const tasks: Task[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const from: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page: { items: Task[]; nextCursor: string | null } = await lapse.read(
      `/v1/tasks?keyPrefix=order-&limit=${tasksAPage}${from}`,
    );
    tasks.push(...page.items);
    cursor = page.nextCursor;
  }
  return tasks;
}

async function readLateness(lapse: LapseClient, tasks: readonly Task[]): Promise<number[]> {
  const lateness: number[] = [];
  for (const { id, attempts } of tasks) {
    if (attempts === 0) continue;
    const { items } = await lapse.read<{ items: { latenessMs: number }[] }>(`/v1/tasks/${id}/attempts`);
    const [first] = items;
    if (first !== undefined) lateness.push(first.latenessMs);
  }
  return lateness;
}
