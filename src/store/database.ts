// Owns the connections to Postgres: a pipelined pool for the hot statements, one for writes that may wait for locks, one for the rest.

import { CompiledQuery, Kysely, PostgresDialect } from "kysely";
import type pg from "pg";
import { startTimer } from "../runtime/clock.ts";
import { type Failpoint, failpoint } from "../runtime/failpoint.ts";
import type { Log } from "../runtime/log.ts";
import { isStalePlan, isTransient, StoreUnavailableError, storeError } from "./errors.ts";
import { makePool, namedText, type PoolSettings, silenceTimeoutMs } from "./pool.ts";
import { Availability } from "./availability.ts";
import { SilenceWatch } from "./silence.ts";
import type { Tables } from "./tables.ts";

/** How long a flush waits for a locked row or key before its neighbours go on without it. */
const flushLockTimeoutMs = 100;
/** How long a single request waits for a lock before it is answered with 503. */
const singleLockTimeoutMs = 2_000;
const hotStatementTimeoutMs = 5_000;
/** A hot call's answer is waited for this long. What reaches the server later was given up by its caller. */
export const hotCallMsMax = hotStatementTimeoutMs + silenceTimeoutMs;
const statementTimeoutMs = 15_000;
const connectTimeoutMs = 3_000;
const hotConnectionsMax = 6;
const connectionsMax = 10;
const patientConnectionsMax = 8;
/** How long a write waits for one of them; with the lock's own wait, a caller has its answer within 3 s. */
const patientConnectMs = 1_000;
const closeMsMax = 1_000;
/** A deadlock or serialization failure is sent again this often. */
const transientRetriesMax = 5;

/** No plan may scan a whole table. (JIT off: before PostgreSQL 18 a scan without an alternative counts as so dear that it would be compiled.) */
const session = { enable_seqscan: "off", jit: "off" };
/**
 * Prepared statements keep their plan: one made while a table is nearly empty stays as tasks pour in. A claim of 30,000 due tasks on a
 * fresh database took 26.8 s so, and 7.6 s with a plan made for each call.
 */
const hotSession = { ...session, plan_cache_mode: "force_custom_plan" };
/**
 * Where no plan can be wrong (kept-plan.ts), making one at each call took 0.2 ms for a flush of 25 tasks, 0.3 for a claim and 0.45 for a
 * settle: more than all else for a single task, and a fifth of PostgreSQL's time while thousands a second are fired.
 */
const keptPlanSession = {
  ...hotSession,
  plan_cache_mode: "force_generic_plan",
  enable_nestloop: "off",
  enable_mergejoin: "off",
};
/** Two each for claims, settles and flushes, and three for imports. */
const keptPlanConnectionsMax = 9;
/** What counts millions of rows may take a while, but not every core: tasks fall due meanwhile. */
const restSession = { ...session, max_parallel_workers_per_gather: "0" };

/** One statement, prepared once a connection under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  /** Its first plan is as good as any (kept-plan.ts): `run` sends it on connections where plans are kept. */
  readonly keepsPlan?: true;
}

export interface BoundStatement extends Statement {
  readonly values: readonly unknown[];
}

export function bind(statement: Statement, values: readonly unknown[]): BoundStatement {
  return { ...statement, values };
}

export type Rows = readonly Readonly<Record<string, unknown>>[];

/** Connections under kysely, for statements that need no speed of their own. */
export class KyselyPool {
  readonly kysely: Kysely<Tables>;
  protected readonly availability: Availability;

  constructor(pool: pg.Pool, availability: Availability) {
    this.availability = availability;
    this.kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  }

  /** Runs reads or a single write; failures come out as the store's errors. */
  query<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return this.#retrying(() => work(this.kysely));
  }

  /** Runs `work` in a transaction. */
  transaction<T>(work: (trx: Connection) => Promise<T>): Promise<T> {
    return this.#retrying(() => this.kysely.transaction().execute(work));
  }

  close(): Promise<void> {
    return this.kysely.destroy();
  }

  async #retrying<T>(work: () => Promise<T>): Promise<T> {
    for (let retries = 0; ; retries += 1) {
      try {
        const result = await work();
        this.availability.noteSuccess();
        return result;
      } catch (error) {
        if (isTransient(error) && retries < transientRetriesMax) continue;
        const meaning = storeError(error);
        this.availability.noteFailure(meaning);
        throw meaning;
      }
    }
  }
}

export class Database extends KyselyPool {
  /** For writes that may wait for a lock which a stranger's transaction holds: those that wait use up nobody else's connections. */
  readonly patient: KyselyPool;
  readonly #hot: pg.Pool;
  readonly #keptPlans: pg.Pool;
  readonly #silence: SilenceWatch;

  constructor(url: string, log: Log) {
    const silence = new SilenceWatch(url, log);
    const pool = (settings: Omit<PoolSettings, "log" | "silence">): pg.Pool =>
      makePool(url, { ...settings, log, silence });
    const availability = new Availability(log);
    const rest = { lockTimeoutMs: singleLockTimeoutMs, timeoutMs: statementTimeoutMs, session: restSession };
    super(pool({ ...rest, max: connectionsMax, connectMs: connectTimeoutMs }), availability);
    this.#silence = silence;
    this.patient = new KyselyPool(
      pool({ ...rest, max: patientConnectionsMax, connectMs: patientConnectMs }),
      availability,
    );
    const hot = {
      connectMs: connectTimeoutMs,
      lockTimeoutMs: flushLockTimeoutMs,
      timeoutMs: hotStatementTimeoutMs,
    };
    this.#hot = pool({ ...hot, max: hotConnectionsMax, session: hotSession });
    this.#keptPlans = pool({ ...hot, max: keptPlanConnectionsMax, session: keptPlanSession });
  }

  /** Runs one hot statement in a transaction of its own. `sent` is passed before its answer. */
  async run(statement: BoundStatement, sent?: Failpoint): Promise<Rows> {
    return this.#hotRetrying(statement.keepsPlan ? this.#keptPlans : this.#hot, async (client) => {
      const answer = client.query(query(statement));
      if (sent !== undefined) failpoint(sent);
      return (await answer).rows as Rows;
    });
  }

  /** Runs the statements in one transaction and one round trip: none may depend on an answer. Resolves to each one's rows once committed. */
  async runTogether(statements: readonly BoundStatement[]): Promise<readonly Rows[]> {
    return this.#hotRetrying(this.#hot, async (client) => {
      const sent = [
        client.query("begin"),
        ...statements.map((statement) => {
          failpoint("flush.begun");
          return client.query(query(statement));
        }),
        client.query("commit"),
      ];
      failpoint("flush.sent");
      const settled = await Promise.allSettled(sent);
      const failure = settled.find((result) => result.status === "rejected");
      if (failure !== undefined) throw failure.reason;
      return settled.slice(1, -1).map((result) => (result.status === "fulfilled" ? (result.value.rows as Rows) : []));
    });
  }

  /** Lets statements under way end, for a while. (A half-open connection never answers a polite goodbye.) */
  override async close(): Promise<void> {
    const timer = startTimer(closeMsMax, () => this.#silence.cutAll());
    await Promise.all([this.#hot.end(), this.#keptPlans.end(), this.patient.close(), super.close()]);
    timer.cancel();
  }

  async #hotRetrying<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    for (let retries = 0; ; retries += 1) {
      let client: pg.PoolClient | null = null;
      try {
        client = await pool.connect();
        const result = await work(client);
        client.release();
        this.availability.noteSuccess();
        return result;
      } catch (error) {
        const meaning = storeError(error);
        // A connection that failed otherwise than by the server's word may still carry answers: it is thrown away.
        client?.release(meaning instanceof StoreUnavailableError || isStalePlan(error));
        this.availability.noteFailure(meaning);
        const isWorthAnother = isTransient(error) || isStalePlan(error);
        if (!isWorthAnother || retries >= transientRetriesMax) throw meaning;
      }
    }
  }
}

export type Connection = Kysely<Tables>;

/** Runs a hot statement's text within a transaction under way. */
export async function execute(connection: Connection, statement: BoundStatement): Promise<Rows> {
  const result = await connection.executeQuery<Readonly<Record<string, unknown>>>(
    CompiledQuery.raw(namedText(statement), statement.values as unknown[]),
  );
  return result.rows;
}

function query(statement: BoundStatement): pg.QueryConfig {
  return { name: statement.name, text: statement.text, values: statement.values as unknown[] };
}
