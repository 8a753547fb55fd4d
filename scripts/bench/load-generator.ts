// Owns the load: what callers do, the same for each contender.

import { setTimeout as sleep } from "node:timers/promises";
import { type BenchTask, callers, type PreparedCall, type Producer } from "./contender.ts";

export interface Work {
  readonly count: number;
  readonly elapsedMs: number;
}

const farMs = 30 * 86_400_000;
/** Callers of the bulk way at once, each with so many tasks a call. */
const bulkCallers = 4;
const bulkTasks = 1_000;
/** Tasks held ready at once: of a million the calls and their answers would fill the memory. */
const preparedMax = 50_000;
const pollMs = 10;

/** So many tasks, due at one instant; null: in a month. */
interface Filling {
  readonly count: number;
  readonly dueAt: number | null;
}

export class LoadGenerator {
  readonly #producer: Producer;
  readonly #url: string;
  #numbers = 0;
  #prepared: PreparedCall[] = [];
  /** Tasks of them. */
  #preparedCount = 0;
  /** What `fill` made last. */
  #filled: readonly string[] = [];

  constructor(producer: Producer, url: string) {
    this.#producer = producer;
    this.#url = url;
  }

  /** Closed loop: 50 callers add one task after another, due in a month, for a time; what is answered after it counts, and so does its time. */
  async accept({ ms }: { readonly ms: number }): Promise<Work> {
    const startedMs = performance.now();
    let count = 0;
    await Promise.all(
      Array.from({ length: callers }, async () => {
        while (performance.now() - startedMs < ms) {
          await this.#producer.add(this.#task(Date.now() + farMs));
          count += 1;
        }
      }),
    );
    return { count, elapsedMs: performance.now() - startedMs };
  }

  /** Holds the bulk calls ready that add so many tasks, due at one instant, or in a month. */
  prepare({ count, dueAt }: Filling): void {
    const due = dueAt ?? Date.now() + farMs;
    this.#prepared = [];
    this.#preparedCount = count;
    for (let left = count; left > 0; left -= bulkTasks) {
      const tasks = Array.from({ length: Math.min(bulkTasks, left) }, () => this.#task(due));
      this.#prepared.push(this.#producer.prepareMany(tasks));
    }
  }

  /** Makes them, each caller one after another. */
  async sendPrepared(): Promise<Work> {
    const calls = this.#prepared;
    const startedMs = performance.now();
    let next = 0;
    await Promise.all(
      Array.from({ length: bulkCallers }, async () => {
        for (let call = calls[next++]; call !== undefined; call = calls[next++]) await call.send();
      }),
    );
    return { count: this.#preparedCount, elapsedMs: performance.now() - startedMs };
  }

  /** Reads their answers; throws unless all of it was accepted. */
  readAnswers(): void {
    this.#filled = this.#prepared.flatMap((call) => call.readIds());
    this.#prepared = [];
    const different = new Set(this.#filled).size;
    if (different !== this.#preparedCount) throw new Error(`${different} of ${this.#preparedCount} ids are there`);
  }

  /** Adds so many tasks by the bulk way; those that are due at an instant all before it. */
  async fill({ count, dueAt }: Filling): Promise<Work> {
    let ids: readonly string[] = [];
    let elapsedMs = 0;
    while (ids.length < count) {
      this.prepare({ count: Math.min(count - ids.length, preparedMax), dueAt });
      elapsedMs += (await this.sendPrepared()).elapsedMs;
      this.readAnswers();
      ids = ids.concat(this.#filled);
    }
    this.#filled = ids;
    if (new Set(ids).size !== count) throw new Error(`${new Set(ids).size} of ${count} ids are there`);
    if (dueAt !== null && Date.now() > dueAt)
      throw new Error(`the ${count} tasks were due before all were accepted: it took ${Math.round(elapsedMs)} ms`);
    return { count, elapsedMs };
  }

  /**
   * Open loop: a task each `1 / ratePerSecond`, whatever the answers do. It is due so long after the moment at which it was to be added,
   * not after that at which it was, so that a caller that is held up counts as late. `addedLate`: answered after they were due.
   */
  async spread(plan: {
    readonly ratePerSecond: number;
    readonly count: number;
    readonly leadMs: number;
  }): Promise<{ readonly count: number; readonly addedLate: number }> {
    const startAt = Date.now() + 50;
    const clockMs = performance.now() + (startAt - Date.now());
    const added: Promise<boolean>[] = [];
    for (let n = 0; n < plan.count; n += 1) {
      const atMs = (n * 1_000) / plan.ratePerSecond;
      const waitMs = clockMs + atMs - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      const dueAt = Math.round(startAt + atMs + plan.leadMs);
      added.push(this.#producer.add(this.#task(dueAt)).then(() => Date.now() > dueAt));
    }
    const late = (await Promise.all(added)).filter(Boolean).length;
    return { count: added.length, addedLate: late };
  }

  /** 50 callers cancel what `fill` made last, one after another. */
  async cancelAll(): Promise<Work> {
    const ids = this.#filled;
    const startedMs = performance.now();
    let next = 0;
    await Promise.all(
      Array.from({ length: callers }, async () => {
        for (let id = ids[next++]; id !== undefined; id = ids[next++]) await this.#producer.cancel(id);
      }),
    );
    return { count: ids.length, elapsedMs: performance.now() - startedMs };
  }

  /** Resolves to the instant at which the store was seen to have no more than `live` tasks that wait or run. */
  async recorded({ live, timeoutMs }: { readonly live: number; readonly timeoutMs: number }): Promise<number> {
    for (const until = Date.now() + timeoutMs; ; await sleep(pollMs)) {
      const asked = Date.now();
      const counts = await this.#producer.counts();
      if (counts.live <= live) return asked;
      if (Date.now() > until) throw new Error(`${counts.live - live} tasks have no outcome after ${timeoutMs} ms`);
    }
  }

  #task(dueAt: number): BenchTask {
    this.#numbers += 1;
    return { number: this.#numbers, dueAt, url: this.#url };
  }
}
