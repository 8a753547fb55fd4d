// Owns what the benchmarks run on: the service as users start it, a receiver, and the figures' form.

import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { makeDataFolder } from "./data-folder.ts";
import { readAddress } from "./ready.ts";
import type { Arrivals } from "./receiver.ts";

export interface Rig {
  /** Connections to the API. */
  readonly api: Pool;
  readonly receiverUrl: string;
  /** What arrived since the last call, once `count` did; throws after `timeoutMs`. */
  arrivals(count: number, timeoutMs: number): Promise<Omit<Arrivals, "repeats">>;
  stop(): Promise<void>;
}

const connections = 50;
const pollMs = 100;

/** Starts Lapse with nothing set but a data folder of its own, unless it is said, and a receiver in a process of its own. */
export async function startRig(settings: Readonly<Record<string, string>> = {}): Promise<Rig> {
  const dataDir = await makeDataFolder();
  const receiver = fork(new URL("./receiver.ts", import.meta.url));
  const [port] = (await once(receiver, "message")) as [number];
  const service = spawn(process.execPath, ["src/main.ts"], {
    env: { ...process.env, PORT: "0", LAPSE_DATA_DIR: dataDir, ...settings },
    stdio: ["ignore", "pipe", "inherit"],
  });
  // One more, for a stream.
  const api = new Pool(await readAddress(service), { connections: connections + 1 });
  const receiverUrl = `http://127.0.0.1:${port}/`;
  return {
    api,
    receiverUrl,
    arrivals: (count, timeoutMs) => collect(receiverUrl, count, timeoutMs),
    async stop() {
      await api.destroy();
      service.kill("SIGTERM");
      await once(service, "exit");
      receiver.kill();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function collect(receiverUrl: string, count: number, timeoutMs: number): Promise<Omit<Arrivals, "repeats">> {
  const found: number[] = [];
  let firstAt = Number.POSITIVE_INFINITY;
  let lastAt = 0;
  for (const until = Date.now() + timeoutMs; Date.now() < until; await sleep(pollMs)) {
    const arrivals = (await (await fetch(receiverUrl)).json()) as Arrivals;
    found.push(...arrivals.latenessMs);
    if (arrivals.count > 0) firstAt = Math.min(firstAt, arrivals.firstAt);
    lastAt = Math.max(lastAt, arrivals.lastAt);
    if (found.length >= count)
      return { count: found.length, latenessMs: found.toSorted((a, b) => a - b), firstAt, lastAt };
  }
  throw new Error(`${found.length} of ${count} tasks arrived within ${timeoutMs} ms`);
}

/** Posts a task; throws unless it was accepted. */
export async function post(rig: Rig, task: Readonly<Record<string, unknown>>): Promise<void> {
  const { statusCode, body } = await rig.api.request({
    path: "/v1/tasks",
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(task),
  });
  const answer = await body.text();
  if (statusCode !== 201) throw new Error(`POST /v1/tasks: ${statusCode} ${answer}`);
}

/** A measurement on a service just started. */
export function onRig<Figure>(measure: (rig: Rig) => Promise<Figure>): () => Promise<Figure> {
  return async () => {
    const rig = await startRig();
    try {
      return await measure(rig);
    } finally {
      await rig.stop();
    }
  };
}

/** The machine, for people. */
export function machineLine(): string {
  const [cpu] = cpus();
  const memoryGiB = Math.round(totalmem() / 2 ** 30);
  return `${cpu?.model}, ${cpus().length} cores, ${memoryGiB} GiB, Node ${process.version}; load, receiver and servers share it`;
}

/** Where the figures come from. */
export function machine(): Readonly<Record<string, unknown>> {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    settings:
      "npm start: embedded PostgreSQL 18, fsync and synchronous_commit on; one process; load, receiver and stores on the same machine",
  };
}
