// Owns ending what a killed Lapse left running on its data folder. The caller holds the folder's lock, so nobody else's server is there.

import { readdir, readFile, readlink, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { monotonicMs, sleep } from "../runtime/clock.ts";

/** A fast shutdown writes what is in memory; past this it is killed, and recovers from its log. */
const stopMsMax = 15_000;
const pollMs = 20;

/**
 * Ends every PostgreSQL process that works in the folder, and clears a postmaster.pid that belongs to none: Postgres would refuse
 * to start where its number was given to another process since, or to one that has died and was never reaped.
 * Stopped rather than adopted: the next server is then always a child of ours with the settings of this version, for some 100 ms.
 * Does nothing where there is no /proc (macOS): Postgres judges the file by itself there.
 */
export async function endOrphans(folder: string): Promise<number> {
  const found = await findProcesses(folder);
  if (found === null) return 0;
  if (found.length > 0) {
    const postmaster = await readPostmaster(folder);
    for (const pid of found) if (pid === postmaster) kill(pid, "SIGINT");
    await waitUntilGone(folder, postmaster !== null && found.includes(postmaster) ? stopMsMax : 0);
  }
  await rm(join(folder, "postmaster.pid"), { force: true });
  return found.length;
}

async function waitUntilGone(folder: string, patienceMs: number): Promise<void> {
  const deadlineMs = monotonicMs() + patienceMs;
  for (;;) {
    const left = (await findProcesses(folder)) ?? [];
    if (left.length === 0) return;
    if (monotonicMs() > deadlineMs) for (const pid of left) kill(pid, "SIGKILL");
    await sleep(pollMs);
  }
}

/** Every process of a PostgreSQL has its data folder as its working folder. Null where processes cannot be listed. */
async function findProcesses(folder: string): Promise<number[] | null> {
  const names = await readdir("/proc").catch(() => null);
  if (names === null) return null;
  const real = await realpath(folder);
  const pids = names.filter((name) => /^\d+$/.test(name));
  const folders = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => null)));
  return pids.filter((_, index) => folders[index] === real).map(Number);
}

async function readPostmaster(folder: string): Promise<number | null> {
  const text = await readFile(join(folder, "postmaster.pid"), "utf8").catch(() => "");
  const pid = Number.parseInt(text, 10);
  return Number.isNaN(pid) ? null : pid;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone in the meantime.
  }
}
