// Owns which contenders there are, and what a reader has to know of each.

import type { Contender } from "./contender.ts";
import { versionOf } from "./peers/install.ts";

export interface ContenderEntry {
  readonly label: string;
  /** What holds waiting tasks: PostgreSQL on disk before it answers, Redis in memory. */
  readonly keeps: "PostgreSQL" | "Redis";
  readonly keepsOutcomes: boolean;
  /** For people: how it was set. */
  readonly settings: string;
  load(): Promise<Contender>;
}

/** The first is measured against the others; the limit is no peer. */
export const contenders = {
  lapse: {
    label: "Lapse",
    keeps: "PostgreSQL",
    keepsOutcomes: true,
    settings:
      "defaults but for the queue's `concurrency` of 300 (100), over HTTP, webhooks signed, each accepted task with a key that is unique",
    load: async () => (await import("./lapse.ts")).lapse,
  },
  "pg-boss": {
    label: `pg-boss ${versionOf("pg-boss")}`,
    keeps: "PostgreSQL",
    keepsOutcomes: true,
    settings:
      "`send`, `insert`, `work` with batches of 1,000 by 2 workers, `perJobResults`, `burstWhenBatchFull`, polling at its least, 0.5 s; LISTEN/NOTIFY does not serve tasks due later",
    load: async () => (await import("./peers/pg-boss.ts")).pgBoss,
  },
  "bullmq-redis": {
    label: `BullMQ ${versionOf("bullmq")} on Redis`,
    keeps: "Redis",
    keepsOutcomes: true,
    settings: "`add`, `addBulk`, a worker with concurrency 100; Redis without persistence, as fast as it goes",
    load: async () => (await import("./peers/bullmq.ts")).bullmqOnRedis,
  },
  "bullmq-postgres": {
    label: `BullMQ ${versionOf("bullmq")} on PostgreSQL`,
    keeps: "PostgreSQL",
    keepsOutcomes: true,
    settings: "the same with `createPostgresBackend`, a pool of 20",
    load: async () => (await import("./peers/bullmq.ts")).bullmqOnPostgres,
  },
  "graphile-worker": {
    label: `graphile-worker ${versionOf("graphile-worker")}`,
    keeps: "PostgreSQL",
    keepsOutcomes: false,
    settings:
      "`addJob`, `addJobs`, 100 concurrent jobs, a local queue of 500 and `completeJobBatchDelay` 0 as in its own benchmark, `pollInterval` 10 ms (default 2 s)",
    load: async () => (await import("./peers/graphile-worker.ts")).graphileWorker,
  },
  /** Another checkout of Lapse (`--beside`), for those who compare before with after. */
  beside: {
    label: "Lapse beside",
    keeps: "PostgreSQL",
    keepsOutcomes: true,
    settings: "the checkout of `--beside`",
    load: async () => (await import("./lapse.ts")).lapse,
  },
  limit: {
    label: "the limit",
    keeps: "PostgreSQL",
    keepsOutcomes: true,
    settings:
      "node:http and one statement a flush on a table like Lapse's; a claim, undici and one statement for outcomes; each with nothing between. Lateness without a store: a timer and undici",
    load: async () => (await import("./limit.ts")).limit,
  },
} as const satisfies Readonly<Record<string, ContenderEntry>>;

export type ContenderName = keyof typeof contenders;

export const contenderNames = Object.keys(contenders) as readonly ContenderName[];

export function isContenderName(name: string): name is ContenderName {
  return Object.hasOwn(contenders, name);
}

/** This checkout, or another. */
export function isLapse(name: ContenderName): boolean {
  return name === "lapse" || name === "beside";
}

/** Those of other makers. */
export function isPeer(name: ContenderName): boolean {
  return !isLapse(name) && name !== "limit";
}
