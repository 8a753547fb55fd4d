// Owns BullMQ as the benchmark runs it, on each of its two stores.

import type pg from "pg";
import { openCaller } from "../caller.ts";
import {
  type BenchTask,
  type Contender,
  concurrency,
  jobDataOf,
  type JobData,
  preparedCall,
  type Servers,
} from "../contender.ts";
import { openPool } from "../pg-pool.ts";
import { loadPeer } from "./load-peer.ts";

interface Job {
  readonly id: string;
  readonly data: JobData;
}
interface Queue {
  add(name: string, data: JobData, options: object): Promise<Job>;
  addBulk(jobs: readonly object[]): Promise<readonly Job[]>;
  remove(id: string): Promise<number>;
  getJobCounts(...states: string[]): Promise<Readonly<Record<string, number>>>;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}
interface JobWorker {
  on(event: "error" | "failed", listener: (...about: readonly unknown[]) => void): void;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}
interface Package {
  readonly Queue: new (name: string, options: object, backend?: unknown) => Queue;
  readonly Worker: new (
    name: string,
    handler: (job: Job) => Promise<unknown>,
    options: object,
    backend?: unknown,
  ) => JobWorker;
  readonly createPostgresBackend: unknown;
  readonly runMigrations: (client: pg.PoolClient) => Promise<number>;
}

/** Where jobs are kept: the options' connection, and the backend that takes it. */
interface Store {
  readonly connection: unknown;
  readonly backend: readonly unknown[];
  close(): Promise<void>;
}

const queueName = "calls";
const poolConnections = 20;
const liveStates = ["waiting", "delayed", "active", "prioritized"] as const;

const onRedis = async ({ redisUrl }: Servers): Promise<Store> => ({
  connection: { url: redisUrl, maxRetriesPerRequest: null },
  backend: [],
  close: () => Promise.resolve(),
});

async function onPostgres({ databaseUrl }: Servers): Promise<Store> {
  const { createPostgresBackend, runMigrations } = await loadPeer<Package>("bullmq");
  const pool = openPool(databaseUrl, poolConnections, "-c search_path=bullmq");
  const client = await pool.connect();
  await runMigrations(client);
  client.release();
  return { connection: pool, backend: [createPostgresBackend], close: () => pool.end() };
}

function jobOf(task: BenchTask): { name: string; data: JobData; opts: { delay: number } } {
  return {
    name: "call",
    data: jobDataOf(task),
    opts: { delay: Math.max(task.dueAt - Date.now(), 0) },
  };
}

function bullmq(openStore: (servers: Servers) => Promise<Store>): Contender {
  return {
    async startWorker(servers) {
      const { Worker } = await loadPeer<Package>("bullmq");
      const store = await openStore(servers);
      const caller = openCaller();
      const worker = new Worker(
        queueName,
        async ({ id, data }) => caller.call({ id, ...data }),
        { connection: store.connection, concurrency },
        ...store.backend,
      );
      worker.on("error", (error) => console.error("bullmq:", error));
      worker.on("failed", (_, error) => console.error("bullmq: a job failed:", error));
      await worker.waitUntilReady();
      return {
        address: null,
        async stop() {
          await worker.close();
          await store.close();
          await caller.close();
        },
      };
    },
    async openProducer(servers) {
      const { Queue } = await loadPeer<Package>("bullmq");
      const store = await openStore(servers);
      const queue = new Queue(queueName, { connection: store.connection }, ...store.backend);
      await queue.waitUntilReady();
      return {
        async add(task) {
          const { name, data, opts } = jobOf(task);
          await queue.add(name, data, opts);
        },
        prepareMany(tasks) {
          const jobs = tasks.map(jobOf);
          return preparedCall(tasks.length, async () => (await queue.addBulk(jobs)).map(({ id }) => id));
        },
        async cancel(id) {
          if ((await queue.remove(id)) !== 1) throw new Error(`BullMQ did not remove job ${id}`);
        },
        async counts() {
          const counts = await queue.getJobCounts(...liveStates, "completed");
          const live = liveStates.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
          return { live, succeeded: counts["completed"] ?? 0 };
        },
        async close() {
          await queue.close();
          await store.close();
        },
      };
    },
  };
}

export const bullmqOnRedis = bullmq(onRedis);
export const bullmqOnPostgres = bullmq(onPostgres);
