// Owns the one shape in which the benchmark sees Lapse, its peers and the limit.

export interface Servers {
  readonly databaseUrl: string;
  /** With a database of its own in it. */
  readonly redisUrl: string;
  /** The checkout of Lapse to run. */
  readonly lapseFolder: string;
}

/** A call to be made when its time has come. */
export interface BenchTask {
  /** Counts the tasks of a run. */
  readonly number: number;
  /** In ms since the epoch. */
  readonly dueAt: number;
  readonly url: string;
}

export interface Counts {
  /** Tasks of which the store does not yet say that they ended. */
  readonly live: number;
  /** Tasks that the store says ended well; null where it forgets them. */
  readonly succeeded: number | null;
}

/** A bulk call as its caller holds it ready: what it says is written before its clock starts, and its answer is read once it has stopped. */
export interface PreparedCall {
  /** Resolves once the tasks are accepted. */
  send(): Promise<void>;
  /** The tasks' ids, in order, of a call that was sent. Throws unless all were accepted. */
  readIds(): readonly string[];
}

/** What callers do, in a process of its own. Each call rejects unless the work was accepted. */
export interface Producer {
  add(task: BenchTask): Promise<void>;
  prepareMany(tasks: readonly BenchTask[]): PreparedCall;
  /** Rejects unless the task was cancelled. */
  cancel(id: string): Promise<void>;
  counts(): Promise<Counts>;
  close(): Promise<void>;
}

/** What fires tasks, in a process of its own. */
export interface Worker {
  /** Where callers reach it over HTTP; null where they use the store. */
  readonly address: string | null;
  stop(): Promise<void>;
}

export interface Contender {
  /** Sets an empty database up, and fires what falls due until it is stopped. */
  startWorker(servers: Servers): Promise<Worker>;
  openProducer(servers: Servers, address: string | null): Promise<Producer>;
}

/** Calls in flight at once, for all: Lapse's default for a queue. */
export const concurrency = 100;
/** Callers at once, for all. */
export const callers = 50;

/** What a job of a peer holds. */
export interface JobData {
  readonly url: string;
  readonly dueAt: number;
  readonly payload: unknown;
}

export function jobDataOf(task: BenchTask): JobData {
  return { url: task.url, dueAt: task.dueAt, payload: payloadOf(task) };
}

/** What every task carries. */
export function payloadOf(task: BenchTask): { readonly orderId: number } {
  return { orderId: task.number };
}

/** A peer's bulk call, which answers the ids itself. */
export function preparedCall(count: number, call: () => Promise<readonly string[] | null>): PreparedCall {
  let ids: readonly string[] | null = null;
  return {
    async send() {
      ids = await call();
    },
    readIds() {
      if (ids?.length !== count) throw new Error(`${ids?.length} of ${count} tasks were accepted`);
      return ids;
    },
  };
}
