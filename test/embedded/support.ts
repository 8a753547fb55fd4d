// Owns what the tests of the embedded servers share: a data folder, a process to kill, and a look at what is left of it.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { onTestFinished } from "vitest";
import { systemHome } from "../../src/embedded/data-home.ts";
import { makeFolder } from "../support/servers.ts";

const waitMsMax = 15_000;

/** What hold.ts says: where its servers are, or why there are none. */
interface Held {
  readonly postgresUrl?: string;
  readonly redisUrl?: string;
  readonly fault?: string;
}

/** A folder made as `mktemp -d` does, mode 0700: as root, the server's user cannot enter it. */
export function makeDataDir(): string {
  const folder = makeFolder();
  onTestFinished(async () => {
    // A guard may still be stopping the server of a process that was killed.
    const clusters = [folder, systemHome(folder)]
      .map((home) => join(home, "postgres"))
      .filter((path) => existsSync(path));
    await until(() => clusters.every((cluster) => postgresProcesses(cluster).length === 0));
    rmSync(systemHome(folder), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** Runs hold.ts on the folder until it has said something. It is killed when the test ends. */
export async function hold(dataDir: string): Promise<{ child: ChildProcess; said: Held }> {
  const script = new URL("hold.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, dataDir], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(async () => kill(child));
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  return { child, said: JSON.parse(line) as Held };
}

/** kill -9, and waits until it is gone. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** The processes of the PostgreSQL on that database folder, guards not among them. Needs /proc. */
export function postgresProcesses(clusterFolder: string): number[] {
  const real = realpathSync(clusterFolder);
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => linkOf(pid) === real).map(Number);
}

/** The guards (src/embedded/child.ts) of that process. */
export function guardsOf(pid: number): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((guard) => commandOf(guard).includes(`lapse-guard\0${pid}\0`)).map(Number);
}

/** Waits until the condition holds; fails after 15 s. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + waitMsMax;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${waitMsMax} ms: ${String(condition)}`);
    await sleep(20);
  }
}

/** Runs statements on one connection; answers the rows of the last one. */
export async function query(url: string, ...statements: string[]): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    let rows: unknown[] = [];
    for (const statement of statements) rows = (await client.query<Record<string, unknown>>(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

function linkOf(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}
