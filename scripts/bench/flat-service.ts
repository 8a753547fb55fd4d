// Owns what the benchmarks of backlog, past and bursts run on: a Lapse on servers that are given, its callers, and receivers that say in
// which order and how late they were called.

import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import type { Store } from "./bench-servers.ts";
import type { Call } from "./call-receiver.ts";
import { readAddress } from "./ready.ts";
import { percentile } from "./statistics.ts";

const connections = 50;
const tailLength = 1_000;
const jsonType = { "content-type": "application/json" };

/** None outlives the benchmark, however it ends. */
const children = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

type Task = Readonly<Record<string, unknown>>;

export interface Lateness {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** A receiver in a process of its own. */
export class Receiver {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}/`;
  }

  static async start(): Promise<Receiver> {
    const child = fork(new URL("./call-receiver.ts", import.meta.url));
    const [port] = (await once(child, "message")) as [number];
    return new Receiver(child, port);
  }

  /** The calls since the last time, in the order in which they came. */
  async taken(): Promise<readonly Call[]> {
    return (await (await fetch(this.url)).json()) as readonly Call[];
  }

  /** The same, once so many have come; throws after `timeoutMs`. */
  async calls(count: number, timeoutMs: number): Promise<readonly Call[]> {
    const response = await fetch(`${this.url}?count=${count}`, { signal: AbortSignal.timeout(timeoutMs) });
    return (await response.json()) as readonly Call[];
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}

export function latenessOf(calls: readonly Call[]): Lateness {
  const sorted = calls.map(({ dueAt, at }) => at - dueAt).toSorted((a, b) => a - b);
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), max: percentile(sorted, 1) };
}

interface Started {
  readonly child: ChildProcess;
  readonly address: string;
  readonly api: Pool;
}

/** A Lapse in a process of its own. */
export class FlatService {
  readonly #store: Store;
  readonly #settings: Readonly<Record<string, string>>;
  #running: Started;

  private constructor(store: Store, settings: Readonly<Record<string, string>>, running: Started) {
    this.#store = store;
    this.#settings = settings;
    this.#running = running;
  }

  static async start(store: Store, settings: Readonly<Record<string, string>> = {}): Promise<FlatService> {
    return new FlatService(store, settings, await startProcess(store, settings));
  }

  /** Ends it as an operator does, and starts another; resolves to the ms from that start until it is ready. */
  async restart(): Promise<number> {
    await this.stop();
    const startedMs = performance.now();
    this.#running = await startProcess(this.#store, this.#settings);
    await this.get("/readyz");
    return performance.now() - startedMs;
  }

  async stop(): Promise<void> {
    const { child, api } = this.#running;
    await api.destroy();
    child.kill("SIGTERM");
    if (child.exitCode === null) await once(child, "exit");
  }

  async get(path: string): Promise<unknown> {
    return JSON.parse(await this.#send(200, { path, method: "GET" }));
  }

  async put(path: string, body: unknown): Promise<void> {
    await this.#send(200, { path, method: "PUT", headers: jsonType, body: JSON.stringify(body) });
  }

  async accept(task: Task): Promise<void> {
    await this.#send(201, { path: "/v1/tasks", method: "POST", headers: jsonType, body: JSON.stringify(task) });
  }

  async acceptBatch(tasks: readonly Task[]): Promise<void> {
    const body = JSON.stringify({ tasks });
    await this.#send(200, { path: "/v1/tasks/batch", method: "POST", headers: jsonType, body });
  }

  async cancel(key: string): Promise<void> {
    await this.#send(200, { path: `/v1/tasks/by-key/${encodeURIComponent(key)}`, method: "DELETE" });
  }

  /** Resolves to how many were accepted; throws where one was refused. */
  async import(lines: AsyncIterable<Uint8Array>): Promise<number> {
    const response = await fetch(new URL("/v1/tasks/import", this.#running.address), {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body: lines,
      duplex: "half",
    });
    let tail = "";
    const decoder = new TextDecoder();
    for await (const bytes of response.body ?? [])
      tail = (tail + decoder.decode(bytes, { stream: true })).slice(-tailLength);
    const end = JSON.parse(tail.trim().split("\n").at(-1) ?? "") as { accepted: number; refused: number; done?: true };
    if (end.done !== true || end.refused > 0) throw new Error(`the import ended with ${tail}`);
    return end.accepted;
  }

  /** Resolves to the answer's text; throws where it is another than it should be. */
  async #send(expected: number, request: Parameters<Pool["request"]>[0]): Promise<string> {
    const { statusCode, body } = await this.#running.api.request(request);
    const text = await body.text();
    if (statusCode !== expected) throw new Error(`${request.method} ${request.path}: ${statusCode} ${text}`);
    return text;
  }
}

async function startProcess(store: Store, settings: Readonly<Record<string, string>>): Promise<Started> {
  const child = spawn(process.execPath, ["src/main.ts"], {
    env: {
      PATH: process.env["PATH"] ?? "",
      PORT: "0",
      DATABASE_URL: store.databaseUrl,
      REDIS_URL: store.redisUrl,
      LAPSE_ALLOW_PRIVATE_TARGETS: "true",
      ...settings,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  const address = await readAddress(child);
  return { child, address, api: new Pool(address, { connections }) };
}

/** Calls `work` by turns of `width` until `endMs` of the monotonic clock; resolves to how many a second ended. */
export async function closedLoop(width: number, forMs: number, work: (n: number) => Promise<void>): Promise<number> {
  let count = 0;
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (performance.now() < startedMs + forMs) await work(count++);
    }),
  );
  return Math.round((count * 1_000) / (performance.now() - startedMs));
}

/** Calls `work` at a rate, whatever its answers do (no coordinated omission). Rejects once a call did. */
export async function openLoop(perSecond: number, forMs: number, work: (n: number) => Promise<void>): Promise<number> {
  const calls: Promise<void>[] = [];
  const failures: unknown[] = [];
  const startedMs = performance.now();
  const total = Math.round((perSecond * forMs) / 1_000);
  for (let n = 0; n < total && failures.length === 0; n += 1) {
    const waitMs = startedMs + (n * 1_000) / perSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    calls.push(work(n).catch((error: unknown) => void failures.push(error)));
  }
  await Promise.all(calls);
  if (failures.length > 0) throw failures[0];
  return total;
}
