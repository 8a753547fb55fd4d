// Owns the connections to Postgres: one pool for the hot statements, pipelined, and one for the rest, under kysely.

import { CompiledQuery, Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import type { Log } from "../runtime/log.ts";
import { isTransient, StoreUnavailableError, storeError } from "./errors.ts";
import type { Tables } from "./tables.ts";

/** How long a flush waits for a locked row or key before its neighbours go on without it. */
const flushLockTimeoutMs = 100;
/** How long a single request waits for a lock before it is answered with 503. */
const singleLockTimeoutMs = 2_000;
const hotStatementTimeoutMs = 5_000;
const statementTimeoutMs = 15_000;
/** Beyond the server's own timeout, for a server that vanished without a word (packets dropped). */
const silenceTimeoutMs = 2_000;
const connectTimeoutMs = 3_000;
const hotConnectionsMax = 6;
const connectionsMax = 12;
/** A deadlock or serialization failure is sent again this often. */
const transientRetriesMax = 5;

/** One statement, prepared once a connection under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

export interface BoundStatement extends Statement {
  readonly values: readonly unknown[];
}

export function bind(statement: Statement, values: readonly unknown[]): BoundStatement {
  return { ...statement, values };
}

export type Rows = readonly Readonly<Record<string, unknown>>[];

export class Database {
  /** For all but the hot statements. */
  readonly kysely: Kysely<Tables>;
  readonly #hot: pg.Pool;
  readonly #rest: pg.Pool;

  constructor(url: string, log: Log) {
    this.#hot = makePool(url, {
      max: hotConnectionsMax,
      lockTimeoutMs: flushLockTimeoutMs,
      timeoutMs: hotStatementTimeoutMs,
      pipeline: true,
    });
    this.#rest = makePool(url, {
      max: connectionsMax,
      lockTimeoutMs: singleLockTimeoutMs,
      timeoutMs: statementTimeoutMs,
      pipeline: false,
    });
    for (const pool of [this.#hot, this.#rest])
      pool.on("error", (error) => log.warn({ err: error }, "postgres.connection_lost"));
    this.kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: this.#rest }) });
  }

  /** Runs one hot statement in a transaction of its own. */
  async run(statement: BoundStatement): Promise<Rows> {
    return this.#retrying(async (client) => (await client.query(query(statement))).rows as Rows);
  }

  /** Runs the statements in one transaction and one round trip: none may depend on an answer. Resolves to each one's rows once committed. */
  async runTogether(statements: readonly BoundStatement[]): Promise<readonly Rows[]> {
    return this.#retrying(async (client) => {
      const sent = [
        client.query("begin"),
        ...statements.map((statement) => client.query(query(statement))),
        client.query("commit"),
      ];
      const settled = await Promise.allSettled(sent);
      const failure = settled.find((result) => result.status === "rejected");
      if (failure !== undefined) throw failure.reason;
      return settled.slice(1, -1).map((result) => (result.status === "fulfilled" ? (result.value.rows as Rows) : []));
    });
  }

  /** Runs `work` in a transaction for which each lock is waited for by 2 s. */
  async transaction<T>(work: (trx: Connection) => Promise<T>): Promise<T> {
    for (let retries = 0; ; retries += 1) {
      try {
        return await this.kysely.transaction().execute(work);
      } catch (error) {
        if (!isTransient(error) || retries >= transientRetriesMax) throw storeError(error);
      }
    }
  }

  /** Runs reads or a single write; failures come out as the store's errors. */
  async query<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    for (let retries = 0; ; retries += 1) {
      try {
        return await work(this.kysely);
      } catch (error) {
        if (!isTransient(error) || retries >= transientRetriesMax) throw storeError(error);
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#hot.end(), this.kysely.destroy()]);
  }

  async #retrying<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    for (let retries = 0; ; retries += 1) {
      let client: pg.PoolClient | null = null;
      try {
        client = await this.#hot.connect();
        const result = await work(client);
        client.release();
        return result;
      } catch (error) {
        const meaning = storeError(error);
        // A connection that failed otherwise than by the server's word may still carry answers: it is thrown away.
        client?.release(meaning instanceof StoreUnavailableError);
        if (!isTransient(error) || retries >= transientRetriesMax) throw meaning;
      }
    }
  }
}

export type Connection = Kysely<Tables>;

/** Runs a hot statement's text within a transaction under way. */
export async function execute(connection: Connection, statement: BoundStatement): Promise<Rows> {
  const result = await connection.executeQuery<Readonly<Record<string, unknown>>>(
    CompiledQuery.raw(statement.text, statement.values as unknown[]),
  );
  return result.rows;
}

function query(statement: BoundStatement): pg.QueryConfig {
  return { name: statement.name, text: statement.text, values: statement.values as unknown[] };
}

interface PoolSettings {
  readonly max: number;
  readonly lockTimeoutMs: number;
  readonly timeoutMs: number;
  readonly pipeline: boolean;
}

function makePool(url: string, settings: PoolSettings): pg.Pool {
  const config: pg.PoolConfig & { pipeline: boolean } = {
    connectionString: url,
    application_name: "lapse",
    max: settings.max,
    pipeline: settings.pipeline,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: settings.timeoutMs + silenceTimeoutMs,
    keepAlive: true,
    types: makeTypes(),
    options: sessionOptions({
      synchronous_commit: "on",
      lock_timeout: String(settings.lockTimeoutMs),
      statement_timeout: String(settings.timeoutMs),
      idle_in_transaction_session_timeout: String(settings.timeoutMs),
      timezone: "UTC",
      datestyle: "ISO",
    }),
  };
  return new pg.Pool(config);
}

export function sessionOptions(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(" ");
}

/** Instants come as ms since the epoch, cut to the ms; counts as numbers (all are far below 2^53). */
function makeTypes(): pg.TypeOverrides {
  const types = new pg.TypeOverrides();
  types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, parseInstant);
  types.setTypeParser(pg.types.builtins.INT8, Number);
  return types;
}

/** `2026-11-21 02:30:00.123456+00`, as ISO style in UTC writes it. */
export function parseInstant(text: string): number {
  return Date.parse(`${text.slice(0, 10)}T${text.slice(11, -3)}Z`);
}
