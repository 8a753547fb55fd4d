// Owns the world of a fault test: real servers, Lapse as processes of its own, a receiver and a caller; all of it ended with the test,
// and the histories read and compared.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFailed, onTestFinished } from "vitest";
import { systemHome } from "../../src/embedded/data-home.ts";
import { createDatabase, execute } from "../support/database.ts";
import { type LapseProcess, startLapse } from "../support/process.ts";
import { type Receiver, type ReceivedRequest, startReceiver } from "../support/receiver.ts";
import { sized } from "../support/size.ts";
import { startPostgres, startRedis, type TestPostgres, type TestRedis } from "../support/servers.ts";
import { barePath, makeBareCheckout } from "./bare-checkout.ts";
import { Caller } from "./caller.ts";
import { readHeld, untilSettled } from "./held.ts";
import { overlapMs } from "./allowance.ts";
import { type Bounds, brokenPromises, type Histories, type Seen } from "./history.ts";
import { Stalls } from "./stalls.ts";
import { until } from "./until.ts";

/** For a whole test, starting servers and all; far above what one takes. */
export const testMsMax = sized({ usual: 240_000, long: 600_000 });
/** After an outage of every kind tested, all that waits is fired and recorded within this. */
const settleMsMax = 60_000;
const shownLines = 15;

export interface World {
  readonly databaseUrl: string;
  readonly receiver: Receiver;
  /** Calls the first process that serves the API. */
  readonly caller: Caller;
  readonly processes: readonly LapseProcess[];
  /** Starts another process: `all`, `api` or `dispatcher`. */
  readonly start: (role: "all" | "api" | "dispatcher", env?: Readonly<Record<string, string>>) => Promise<LapseProcess>;
  /** Makes the caller call another process. */
  readonly callAt: (process: LapseProcess) => void;
  /** Waits until the receiver has seen that many requests. */
  readonly untilSeen: (count: number, msMax?: number) => Promise<void>;
  /** Waits until nothing is live, then reads the three histories. */
  readonly histories: () => Promise<Histories>;
  /** How long a span was, less what the machine stood still in it: for bounds of time. */
  readonly runningMs: (from: number, to: number) => number;
  /** Waits until nothing is live, and expects every promise to hold and the audit to balance. */
  readonly expectPromisesKept: (bounds: Bounds) => Promise<Histories>;
}

export interface WorldOptions {
  /** A PostgreSQL that the test kills; else a database of its own on the shared one. */
  readonly postgres?: TestPostgres;
  /** A database without Lapse's schema: the first process makes it. */
  readonly isEmpty?: boolean;
  /** The embedded servers instead, on this data folder. */
  readonly dataDir?: string;
  /** As in REDIS_URL; unset on a machine with redis-server, or on one without. Left out: a Redis of the test's own. */
  readonly redisUrl?: string | { readonly unset: "with redis-server" | "without redis-server" };
}

export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const servers = options.dataDir === undefined ? await givenServers(options) : embeddedServers(options.dataDir);
  const processes: LapseProcess[] = [];
  let api: LapseProcess | null = null;
  const receiver = await startReceiver();
  const caller = new Caller(() => api?.url ?? "http://127.0.0.1:1");
  const stalls = new Stalls(() => servers.databaseUrl()).start();
  onTestFailed(() => showLogs(processes));
  onTestFinished(async () => {
    await stalls.stop();
    await Promise.all(processes.map((process) => process.end()));
    await Promise.all([caller.close(), receiver.close()]);
  });

  const histories = async (): Promise<Histories> => {
    await untilSettled(servers.databaseUrl(), settleMsMax);
    return { told: caller.told, seen: receiver.requests.map(toSeen), ...(await readHeld(servers.databaseUrl())) };
  };
  return {
    get databaseUrl() {
      return servers.databaseUrl();
    },
    receiver,
    caller,
    processes,
    start: async (role, env = {}) => {
      const process = await startLapse({
        env: { ...servers.env, LAPSE_ROLE: role, LAPSE_ALLOW_PRIVATE_TARGETS: "true", ...env },
        ...(servers.folder === undefined ? {} : { folder: servers.folder }),
      });
      processes.push(process);
      if (role !== "dispatcher") api ??= process;
      return process;
    },
    callAt: (process) => {
      api = process;
    },
    untilSeen: (count, msMax = settleMsMax) =>
      until(() => receiver.requests.length >= count, msMax, `the receiver sees ${count} requests`),
    histories,
    runningMs: (from, to) => to - from - overlapMs(stalls.spans, { from, to }),
    expectPromisesKept: async (bounds) => {
      const all = await histories();
      expect(brokenPromises(all, { ...bounds, stalls: stalls.spans })).toEqual([]);
      const audit = JSON.parse((await caller.call("GET", "/v1/audit")).body) as Record<string, unknown>;
      expect(audit).toMatchObject({ balanced: true, overdueCount: 0 });
      return all;
    },
  };
}

interface Servers {
  readonly env: Readonly<Record<string, string>>;
  /** Another checkout to start Lapse from. */
  readonly folder?: string;
  databaseUrl(): string;
}

async function givenServers({ postgres, isEmpty = false, redisUrl }: WorldOptions): Promise<Servers> {
  const databaseUrl = postgres?.url ?? (await ownDatabase(isEmpty));
  const given = { databaseUrl: () => databaseUrl };
  const env = { DATABASE_URL: databaseUrl };
  if (typeof redisUrl !== "object") return { ...given, env: { ...env, REDIS_URL: redisUrl ?? (await ownRedis()).url } };
  const isBare = redisUrl.unset === "without redis-server";
  return isBare ? { ...given, env: { ...env, PATH: barePath }, folder: makeBareCheckout() } : { ...given, env };
}

/** The embedded PostgreSQL takes another port at each start. */
function embeddedServers(dataDir: string): Servers {
  const databaseUrl = (): string => {
    const home = existsSync(join(dataDir, "postgres")) ? dataDir : systemHome(dataDir);
    const password = readFileSync(join(home, "password"), "utf8").trim();
    const port = readFileSync(join(home, "postgres", "postmaster.pid"), "utf8").split("\n")[3];
    return `postgres://lapse:${password}@127.0.0.1:${port}/postgres`;
  };
  return { env: { LAPSE_DATA_DIR: dataDir }, databaseUrl };
}

/** A Redis that ends with the test. */
export async function ownRedis(): Promise<TestRedis> {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  return redis;
}

/** A PostgreSQL that ends with the test, to be killed. */
export async function ownPostgres(version: 14 | 18 = 18): Promise<TestPostgres> {
  const postgres = await startPostgres({ version });
  onTestFinished(() => postgres.stop());
  return postgres;
}

async function ownDatabase(isEmpty: boolean): Promise<string> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  if (isEmpty) await execute(database.url, "drop schema lapse cascade");
  return database.url;
}

function toSeen({ headers, arrivedAt }: ReceivedRequest): Seen {
  return {
    id: String(headers["webhook-id"]),
    attempt: Number(headers["lapse-attempt"]),
    dueAt: Date.parse(String(headers["lapse-due-at"])),
    timestamp: Number(headers["webhook-timestamp"]) * 1_000,
    arrivedAt,
  };
}

function showLogs(processes: readonly LapseProcess[]): void {
  for (const { pid, lines } of processes) {
    const told = lines.filter((line) => !line.includes('"level":30')).slice(-shownLines);
    if (told.length > 0) console.error(`Lapse ${pid}:\n${told.join("\n")}`);
  }
}
