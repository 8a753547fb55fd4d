// Owns a Lapse of Lapse's own benchmarks as its callers see it, and the loops in which they call it.

import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import type { Store } from "./bench-servers.ts";
import { type LapseProcess, startLapse } from "./lapse-process.ts";

/** One is for a stream. */
const connections = 51;
const tailLength = 1_000;
const jsonType = { "content-type": "application/json" };

type Task = Readonly<Record<string, unknown>>;
type Settings = Readonly<Record<string, string>>;

interface Started {
  readonly lapse: LapseProcess;
  readonly api: Pool;
}

/** What makes it use a store. */
export function storeSettings({ databaseUrl, redisUrl }: Pick<Store, "databaseUrl" | "redisUrl">): Settings {
  return { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, LAPSE_ALLOW_PRIVATE_TARGETS: "true" };
}

/** A Lapse in a process of its own. */
export class Service {
  readonly #settings: Settings;
  #running: Started;

  private constructor(settings: Settings, running: Started) {
    this.#settings = settings;
    this.#running = running;
  }

  static async start(settings: Settings): Promise<Service> {
    return new Service(settings, await startProcess(settings));
  }

  /** Ends it as an operator does, and starts another; resolves to the ms from that start until it is ready. */
  async restart(): Promise<number> {
    await this.stop();
    const startedMs = performance.now();
    this.#running = await startProcess(this.#settings);
    await this.get("/readyz");
    return performance.now() - startedMs;
  }

  async stop(): Promise<void> {
    const { lapse, api } = this.#running;
    await api.destroy();
    await lapse.stop();
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

  /** Reads all events; resolves to what ends it. */
  async listen(): Promise<() => void> {
    const { body } = await this.#running.api.request({ path: "/v1/events", method: "GET", bodyTimeout: 0 });
    body.on("error", () => undefined).resume();
    return () => void body.destroy();
  }

  /** Resolves to how many were accepted; throws where one was refused. */
  async import(lines: AsyncIterable<Uint8Array>): Promise<number> {
    const response = await fetch(new URL("/v1/tasks/import", this.#running.lapse.address), {
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

async function startProcess(settings: Settings): Promise<Started> {
  const lapse = await startLapse(settings);
  return { lapse, api: new Pool(lapse.address, { connections }) };
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
