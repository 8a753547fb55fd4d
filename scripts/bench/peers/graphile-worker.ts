// Owns graphile-worker as the benchmark runs it. It deletes a job that is done, so it keeps no outcomes.

import { openCaller } from "../caller.ts";
import { type Contender, concurrency, jobDataOf, type JobData, preparedCall } from "../contender.ts";
import { openPool } from "../pg-pool.ts";
import { loadPeer } from "./load-peer.ts";

interface Job {
  readonly id: string;
}
interface Utils {
  addJob(identifier: string, payload: JobData, spec: object): Promise<Job>;
  addJobs(specs: readonly object[]): Promise<readonly Job[]>;
  completeJobs(ids: readonly string[]): Promise<readonly Job[]>;
  migrate(): Promise<void>;
  release(): Promise<void>;
}
interface Package {
  readonly run: (options: object) => Promise<{ stop(): Promise<void> }>;
  readonly makeWorkerUtils: (options: object) => Promise<Utils>;
  readonly Logger: new (factory: () => (level: string, message: string) => void) => unknown;
}

const identifier = "call";
const producerConnections = 20;
/** As in its own benchmark, but for the concurrency, which is the same for all here, and the poll for what falls due. */
const workerOptions = {
  concurrentJobs: concurrency,
  maxPoolSize: 25,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
  pollInterval: 10,
};

async function quietLogger(): Promise<unknown> {
  const { Logger } = await loadPeer<Package>("graphile-worker");
  return new Logger(() => (level, message) => {
    if (level === "error") console.error("graphile-worker:", message);
  });
}

export const graphileWorker: Contender = {
  async startWorker({ databaseUrl }) {
    const { run } = await loadPeer<Package>("graphile-worker");
    const caller = openCaller();
    const logger = await quietLogger();
    const runner = await run({
      preset: { worker: { ...workerOptions, connectionString: databaseUrl, logger } },
      taskList: {
        [identifier]: async (data: JobData, { job }: { job: Job }) => caller.call({ id: job.id, ...data }),
      },
      noHandleSignals: true,
    });
    return {
      address: null,
      async stop() {
        await runner.stop();
        await caller.close();
      },
    };
  },
  async openProducer({ databaseUrl }) {
    const { makeWorkerUtils } = await loadPeer<Package>("graphile-worker");
    const pgPool = openPool(databaseUrl, producerConnections);
    const utils = await makeWorkerUtils({ pgPool, logger: await quietLogger() });
    await utils.migrate();
    return {
      async add(task) {
        await utils.addJob(identifier, jobDataOf(task), { runAt: new Date(task.dueAt) });
      },
      prepareMany(tasks) {
        const specs = tasks.map((task) => ({ identifier, payload: jobDataOf(task), runAt: new Date(task.dueAt) }));
        return preparedCall(tasks.length, async () => (await utils.addJobs(specs)).map(({ id }) => id));
      },
      async cancel(id) {
        if ((await utils.completeJobs([id])).length !== 1) throw new Error(`graphile-worker did not remove job ${id}`);
      },
      async counts() {
        const { rows } = await pgPool.query<{ live: number }>("select count(*)::int as live from graphile_worker.jobs");
        return { live: rows[0]?.live ?? 0, succeeded: null };
      },
      async close() {
        await utils.release();
        await pgPool.end();
      },
    };
  },
};
