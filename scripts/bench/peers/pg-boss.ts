// Owns pg-boss as the benchmark runs it.

import { openCaller } from "../caller.ts";
import { type Contender, jobDataOf, type JobData, preparedCall, type Servers } from "../contender.ts";
import { openPool } from "../pg-pool.ts";
import { loadPeer } from "./load-peer.ts";

interface Job {
  readonly id: string;
  readonly data: JobData;
}
interface Boss {
  on(event: "error", listener: (error: Error) => void): void;
  start(): Promise<unknown>;
  stop(options: object): Promise<void>;
  createQueue(name: string): Promise<void>;
  send(name: string, data: JobData, options: object): Promise<string | null>;
  insert(name: string, jobs: readonly object[], options: object): Promise<readonly string[] | null>;
  cancel(name: string, id: string): Promise<object>;
  work(name: string, options: object, handler: (jobs: readonly Job[]) => Promise<unknown>): Promise<string>;
}
interface Package {
  readonly PgBoss: new (options: object) => Boss;
}

const queue = "calls";
/** Of 10, 20 and 50 the fastest on 2 cores. */
const producerConnections = 20;
/** The fastest on 2 cores of batches of 100 to 2,000 by 1 to 4 workers: a batch is one claim and one record of its outcomes. */
const workerOptions = {
  batchSize: 1_000,
  localConcurrency: 2,
  pollingIntervalSeconds: 0.5,
  burstWhenBatchFull: true,
  perJobResults: true,
};

async function open({ databaseUrl }: Servers, options: object): Promise<Boss> {
  const { PgBoss } = await loadPeer<Package>("pg-boss");
  const boss = new PgBoss({ connectionString: databaseUrl, ...options });
  boss.on("error", (error) => {
    throw error;
  });
  await boss.start();
  return boss;
}

export const pgBoss: Contender = {
  async startWorker(servers) {
    const boss = await open(servers, { max: 10 });
    await boss.createQueue(queue);
    const caller = openCaller();
    await boss.work(queue, workerOptions, async (jobs) =>
      Promise.all(
        jobs.map(async ({ id, data }) => {
          await caller.call({ id, ...data });
          return { id, status: "completed" };
        }),
      ),
    );
    return {
      address: null,
      async stop() {
        await boss.stop({ graceful: true, timeout: 5_000 });
        await caller.close();
      },
    };
  },
  async openProducer(servers) {
    const boss = await open(servers, { max: producerConnections, supervise: false, schedule: false });
    const pool = openPool(servers.databaseUrl, 1);
    return {
      async add(task) {
        const id = await boss.send(queue, jobDataOf(task), { startAfter: new Date(task.dueAt) });
        if (id === null) throw new Error("pg-boss did not take a job");
      },
      prepareMany(tasks) {
        const jobs = tasks.map((task) => ({ data: jobDataOf(task), startAfter: new Date(task.dueAt) }));
        return preparedCall(tasks.length, () => boss.insert(queue, jobs, { returnId: true }));
      },
      async cancel(id) {
        await boss.cancel(queue, id);
      },
      async counts() {
        const { rows } = await pool.query<{ live: number; succeeded: number }>(
          `select count(*) filter (where state < 'completed')::int as live,
             count(*) filter (where state = 'completed')::int as succeeded from pgboss.job where name = $1`,
          [queue],
        );
        return rows[0] ?? { live: 0, succeeded: 0 };
      },
      async close() {
        await pool.end();
        await boss.stop({ graceful: false });
      },
    };
  },
};
