// Owns one PostgreSQL on loopback: making its data folder, running a server on it until it is ready, and stopping it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { chown, mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { monotonicMs, sleep } from "../runtime/clock.ts";
import { type Child, startChild } from "./child.ts";
import { findFreePort } from "./free-port.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import type { ServerUser } from "./server-user.ts";

/** Recovery after a crash reads at most max_wal_size (1 GB) of log: well below this on any disk. */
const startMsMax = 300_000;
/** After a kill -9, the processes of the old server may need a moment to see that it is gone. */
const retryMsMax = 20_000;
const pollMs = 10;
/** A fast shutdown writes what is in memory; past this the server is stopped without, and recovers at its next start. */
const stopMsMax = 15_000;
const logTailBytesMax = 2_000;

/** What a server that starts says when trying again helps: a port just taken, or its predecessor not quite gone. */
const passingFaults = [
  "Address already in use",
  "could not create any TCP/IP sockets",
  "pre-existing shared memory block",
  'lock file "postmaster.pid" already exists',
];

const superuser = "lapse";
const env = { LC_ALL: "C", PATH: "/usr/local/bin:/usr/bin:/bin" };

export interface ClusterOptions {
  readonly binaries: PostgresBinaries;
  readonly user: ServerUser | null;
  /** The data folder; the folder above it exists and can be entered by `user`. */
  readonly folder: string;
  readonly password: string;
  readonly logPath: string;
  /** Settings beside those that make it a private server of ours, such as `max_connections`. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface RunningCluster {
  readonly child: Child;
  readonly port: number;
  /** Of the database `postgres`, as superuser. */
  readonly url: string;
  /** A fast shutdown; resolves once the process has gone. */
  stop(): Promise<void>;
}

/** Makes the data folder, beside and renamed, so that one that was cut short is never taken for whole. */
export async function initCluster(options: ClusterOptions): Promise<void> {
  const { user, folder } = options;
  const unfinished = `${folder}.new`;
  const passwordFile = `${folder}.pw`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  await writeFile(passwordFile, `${options.password}\n`, { mode: 0o600 });
  if (user !== null) await Promise.all([unfinished, passwordFile].map((path) => chown(path, user.uid, user.gid)));
  try {
    // The collation "C" needs no locale of the system and does not change with its upgrades, which would break indexes.
    await run(options.binaries.initdb, ["--pgdata", unfinished, "--pwfile", passwordFile, ...initFlags], user);
    await rename(unfinished, folder);
  } finally {
    await rm(passwordFile, { force: true });
    await rm(unfinished, { recursive: true, force: true });
  }
}

const initFlags = ["--username", superuser, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"];

/**
 * Runs a server on a data folder and resolves once it takes connections. It listens on 127.0.0.1, on `port` or else a free one.
 * Rejects with the end of its log where it does not start.
 */
export async function runCluster(options: ClusterOptions, port?: number): Promise<RunningCluster> {
  const deadlineMs = monotonicMs() + retryMsMax;
  for (;;) {
    const usedPort = port ?? (await findFreePort());
    const child = await spawnServer(options, usedPort);
    if (await isReady(options.folder, child)) {
      const url = `postgres://${superuser}:${options.password}@127.0.0.1:${usedPort}/postgres`;
      return { child, port: usedPort, url, stop: () => stopServer(child) };
    }
    const tail = await readLogTail(options.logPath);
    const passing = passingFaults.some((fault) => tail.includes(fault));
    if (!passing || monotonicMs() > deadlineMs) throw new Error(`the embedded PostgreSQL did not start: ${tail}`);
    await sleep(pollMs * 10);
  }
}

async function spawnServer(options: ClusterOptions, port: number): Promise<Child> {
  const settings = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: "",
    timezone: "UTC",
    log_timezone: "UTC",
    ...options.settings,
  };
  const logFd = openSync(options.logPath, "w", 0o600);
  try {
    return await startChild({
      program: options.binaries.postgres,
      args: ["-D", options.folder, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
      env,
      cwd: "/",
      user: options.user,
      logFd,
      guardSignal: "INT",
    });
  } finally {
    closeSync(logFd);
  }
}

/** Whether the server takes connections, by the last line of its postmaster.pid, as pg_ctl does; false once it has ended. */
async function isReady(folder: string, child: Child): Promise<boolean> {
  const deadlineMs = monotonicMs() + startMsMax;
  while (!child.hasExited()) {
    const lines = await readFile(join(folder, "postmaster.pid"), "utf8").then(
      (text) => text.split("\n"),
      () => [],
    );
    if (lines[0] === String(child.pid) && lines[7]?.startsWith("ready")) return true;
    if (monotonicMs() > deadlineMs) await stopServer(child);
    await sleep(pollMs);
  }
  return false;
}

/** A fast shutdown; resolves once the process has gone. */
export async function stopServer(child: Child): Promise<void> {
  if (child.hasExited()) return;
  child.kill("SIGINT"); // Fast shutdown: sessions are ended, nothing committed is lost.
  const waited = new AbortController();
  await Promise.race([child.exited, sleep(stopMsMax, waited.signal)]);
  waited.abort();
  if (!child.hasExited()) child.kill("SIGQUIT");
  await child.exited;
}

async function readLogTail(path: string): Promise<string> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const length = Math.min(size, logTailBytesMax);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString("utf8").trim();
  } finally {
    await file.close();
  }
}

async function run(program: string, args: readonly string[], user: ServerUser | null): Promise<void> {
  const credentials = user === null ? {} : { uid: user.uid, gid: user.gid };
  const child = spawn(program, args, {
    cwd: dirname(program),
    env,
    stdio: ["ignore", "ignore", "pipe"],
    ...credentials,
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${program} failed: ${errors.trim()}`);
}
