// Owns what a benchmark asks of its receiver: which tasks were called, in which order, and how late.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Call, Taken } from "./receiver-process.ts";
import { percentile } from "./statistics.ts";

export interface Arrivals {
  /** Different tasks. */
  readonly count: number;
  /** Calls of a task that had been called before. */
  readonly repeats: number;
  /** Arrival minus due time in ms, sorted. */
  readonly latenessMs: readonly number[];
  /** Of the first and the last arrival, in ms since the epoch. */
  readonly firstAt: number;
  readonly lastAt: number;
}

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
    const child = fork(new URL("./receiver-process.ts", import.meta.url));
    const [port] = (await once(child, "message")) as [number];
    return new Receiver(child, port);
  }

  /** The calls since the last time, in the order in which they came: the first of each task. */
  async taken(): Promise<readonly Call[]> {
    return (await this.#take("")).calls;
  }

  /** The same, once so many have come; throws, saying how many did, after `timeoutMs`. */
  async calls(count: number, timeoutMs: number): Promise<readonly Call[]> {
    return (await this.#takeAll(count, timeoutMs)).calls;
  }

  /** What they come to. */
  async arrivals(count: number, timeoutMs: number): Promise<Arrivals> {
    const { calls, repeats } = await this.#takeAll(count, timeoutMs);
    const [first, last] = [calls.at(0)?.at ?? Number.NaN, calls.at(-1)?.at ?? Number.NaN];
    return { count: calls.length, repeats, latenessMs: sortedLateness(calls), firstAt: first, lastAt: last };
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }

  async #takeAll(count: number, timeoutMs: number): Promise<Taken> {
    try {
      return await this.#take(`?count=${count}`, AbortSignal.timeout(timeoutMs));
    } catch (cause) {
      const arrived = await this.taken();
      throw new Error(`${arrived.length} of ${count} tasks arrived within ${timeoutMs} ms`, { cause });
    }
  }

  async #take(query: string, signal: AbortSignal | null = null): Promise<Taken> {
    return (await (await fetch(this.url + query, { signal })).json()) as Taken;
  }
}

export function latenessOf(calls: readonly Call[]): Lateness {
  return latenessAmong(sortedLateness(calls));
}

export function latenessAmong(sortedMs: readonly number[]): Lateness {
  return { p50: percentile(sortedMs, 0.5), p99: percentile(sortedMs, 0.99), max: percentile(sortedMs, 1) };
}

function sortedLateness(calls: readonly Call[]): readonly number[] {
  return calls.map(({ dueAt, at }) => at - dueAt).toSorted((a, b) => a - b);
}
