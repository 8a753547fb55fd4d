// Owns how connections to Postgres are opened, and how its values become ours.

import pg from "pg";
import type { Log } from "../runtime/log.ts";
import type { SilenceWatch } from "./silence.ts";

/** Beyond the server's own timeout, for a server that vanished without a word and cannot be reached anew either. */
export const silenceTimeoutMs = 2_000;
/**
 * Between the statements of a transaction nothing is waited for but this process's own event loop. One that is stopped there, or cut off,
 * must not hold its locks for long: others take over within 15 s.
 */
const idleInTransactionMs = 1_000;

/** What a Date can hold (ECMA-262, section 21.4.1.1). */
const instantMsMax = 8_640_000_000_000_000;

export interface PoolSettings {
  readonly max: number;
  readonly lockTimeoutMs: number;
  readonly timeoutMs: number;
  readonly connectMs: number;
  /** More settings of its sessions. */
  readonly session: Readonly<Record<string, string>>;
  readonly log: Log;
  /** Finds its connections that are dead although both ends are open. */
  readonly silence: SilenceWatch;
}

/** A pool whose sessions have what Lapse relies on: durable commits, and a limit to every wait. */
export function makePool(url: string, settings: PoolSettings): pg.Pool {
  const config: pg.PoolConfig & { pipeline: boolean } = {
    connectionString: url,
    application_name: "lapse",
    max: settings.max,
    // Also where nothing is sent ahead: only so does a call that times out end its connection, and a half-open one is not used again.
    pipeline: true,
    connectionTimeoutMillis: settings.connectMs,
    query_timeout: settings.timeoutMs + silenceTimeoutMs,
    keepAlive: true,
    types: makeTypes(),
    options: sessionOptions({
      synchronous_commit: "on",
      lock_timeout: String(settings.lockTimeoutMs),
      statement_timeout: String(settings.timeoutMs),
      idle_in_transaction_session_timeout: String(idleInTransactionMs),
      timezone: "UTC",
      datestyle: "ISO",
      ...settings.session,
    }),
  };
  const pool = new pg.Pool(config);
  // A connection in use has no listener of the pool's, and whoever waits for its answer is told by a rejection: without this one, a
  // connection that breaks would end the process.
  pool.on("connect", (client) => {
    client.on("error", () => undefined);
    prepareNamed(client);
    settings.silence.follow(client);
  });
  pool.on("error", (error) => settings.log.debug({ err: error }, "postgres.connection_lost"));
  return pool;
}

/** Where a URL leads as pg reads it, with its `host` and `port` parameters and PGHOST; null for a socket in the file system. */
export function serverOf(url: string): { readonly host: string; readonly port: number } | null {
  const { host, port } = new pg.Client({ connectionString: url });
  return host.startsWith("/") ? null : { host, port };
}

const portMax = 65_535;
/** As pg knows them: it takes any other for `verify-full`. */
const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full", "no-verify"];

/** Why pg cannot connect by a URL whatever the server says, as the end of a sentence; or null. It shows no password. */
export function urlFault(url: string): string | null {
  const query = new URLSearchParams(/\?([^#]*)/.exec(url)?.[1]);
  if (!query.getAll("sslmode").every((mode) => sslModes.includes(mode)))
    return `sslmode is none of ${sslModes.join(", ")}`;
  try {
    const { port } = new pg.Client({ connectionString: url });
    return port >= 1 && port <= portMax ? null : `the port is none from 1 to ${portMax}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The text of a statement as kysely takes it, which knows no names: it opens with the statement's own, in a comment. */
export function namedText({ name, text }: { readonly name: string; readonly text: string }): string {
  return `/*${name}*/ ${text}`;
}

const namedForm = /^\/\*(\w+)\*\//;

/** Sends such a text as the prepared statement that it names: to read and plan the accept anew takes Postgres longer than to run it. */
function prepareNamed(client: pg.PoolClient): void {
  const send = client.query.bind(client) as (...words: unknown[]) => unknown;
  client.query = ((text: unknown, values: unknown, ...rest: unknown[]) => {
    const name = typeof text === "string" ? namedForm.exec(text)?.[1] : undefined;
    return name === undefined ? send(text, values, ...rest) : send({ name, text, values });
  }) as typeof client.query;
}

function sessionOptions(settings: Readonly<Record<string, string>>): string {
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

/**
 * `2026-11-21 02:30:00.123456+00`, as ISO style in UTC writes it. What is beyond four digits of years (infinity, too), as only SQL can have
 * put it, counts as the first or last instant that there is: whoever reckons with it must get a number.
 */
function parseInstant(text: string): number {
  const at = Date.parse(`${text.slice(0, 10)}T${text.slice(11, -3)}Z`);
  if (!Number.isNaN(at)) return at;
  return text.startsWith("-") || text.endsWith("BC") ? -instantMsMax : instantMsMax;
}
