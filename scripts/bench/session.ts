// Owns one contender's turn: its two processes and a receiver, all just started, on a store that nobody else uses.

import type { Store } from "./bench-servers.ts";
import type { Counts, Servers } from "./contender.ts";
import type { ContenderName } from "./contenders.ts";
import { type CpuTimes, readCpu, subtractCpu } from "./cpu.ts";
import type { LoadGenerator } from "./load-generator.ts";
import { type Arrivals, Receiver } from "./receiver.ts";
import { Remote } from "./remote.ts";

const hostFile = new URL("./host.ts", import.meta.url);

export class Session {
  readonly name: ContenderName;
  readonly store: Store;
  readonly #receiver: Receiver;
  readonly #worker: Remote;
  readonly #producer: Remote;

  private constructor(
    { name, store }: { name: ContenderName; store: Store },
    receiver: Receiver,
    sides: { worker: Remote; producer: Remote },
  ) {
    this.name = name;
    this.store = store;
    this.#receiver = receiver;
    this.#worker = sides.worker;
    this.#producer = sides.producer;
  }

  static async start(name: ContenderName, store: Store, lapseFolder: string): Promise<Session> {
    const receiver = await Receiver.start();
    const sides = {
      worker: new Remote(hostFile, ["worker", name]),
      producer: new Remote(hostFile, ["producer", name]),
    };
    const session = new Session({ name, store }, receiver, sides);
    try {
      const servers: Servers = { databaseUrl: store.databaseUrl, redisUrl: store.redisUrl, lapseFolder };
      const address = await sides.worker.call<string | null>("start", servers);
      await sides.producer.call("start", { servers, address, url: receiver.url });
      return session;
    } catch (error) {
      await session.end();
      throw error;
    }
  }

  /** Does the work; `cpu` is what it cost the processors, null where that cannot be known. */
  async metered<Value>(work: () => Promise<Value>): Promise<{ readonly value: Value; readonly cpu: CpuTimes | null }> {
    const roots = { worker: this.#worker.pid, callers: this.#producer.pid, ...this.store.pids };
    const before = readCpu(roots);
    const value = await work();
    const after = readCpu(roots);
    return { value, cpu: before === null || after === null ? null : subtractCpu(after, before) };
  }

  /** Calls the producer's load generator. */
  load<Method extends "accept" | "prepare" | "fill" | "spread" | "recorded">(
    method: Method,
    options: Parameters<LoadGenerator[Method]>[0],
  ): Promise<Awaited<ReturnType<LoadGenerator[Method]>>> {
    return this.#producer.call(method, options);
  }

  sendPrepared(): ReturnType<LoadGenerator["sendPrepared"]> {
    return this.#producer.call("sendPrepared");
  }

  readAnswers(): Promise<void> {
    return this.#producer.call("readAnswers");
  }

  cancelAll(): ReturnType<LoadGenerator["cancelAll"]> {
    return this.#producer.call("cancelAll");
  }

  counts(): Promise<Counts> {
    return this.#producer.call("counts");
  }

  /** Resolves once so many different tasks were called since the last time; throws, saying how many were, after `timeoutMs`. */
  async arrivals(count: number, timeoutMs: number): Promise<Arrivals> {
    try {
      return await this.#receiver.arrivals(count, timeoutMs);
    } catch (cause) {
      throw new Error(`${this.name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }

  async end(): Promise<void> {
    await this.#producer.end();
    await this.#worker.end();
    this.#receiver.stop();
  }
}
