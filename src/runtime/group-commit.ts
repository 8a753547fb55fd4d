// Owns group commit: items that wait together are written by one call, and the next call starts when the last one returned. There is no
// linger where callers wait for each answer: waiting for company cost half the throughput at 50 connections.

import { startTimer, type Timer } from "./clock.ts";

/** Whoever added items, and is told of each. */
interface Adder<Outcome> {
  readonly resolve: (outcome: Outcome, place: number) => void;
  readonly reject: (error: unknown) => void;
}

interface Waiting<Item, Outcome> {
  readonly item: Item;
  /** Kept: an item is asked for it once, though many batches may pass it over. */
  readonly name: string | null;
  readonly adder: Adder<Outcome>;
  /** Among the items that were added together. */
  readonly place: number;
}

export interface GroupCommitOptions<Item, Outcome> {
  /** Writes a batch and answers one outcome an item, in order. A rejection is every item's. */
  readonly write: (batch: readonly Item[]) => Promise<readonly Outcome[]>;
  readonly batchMax: number;
  /** How many writes may be under way at once. */
  readonly writersMax: number;
  /** Where it is given: how long a write waits until `companyMin` items do, in ms; asked each time. */
  readonly lingerMs?: (isAnotherUnderWay: boolean) => number;
  readonly companyMin?: number;
  /** Items with the same name never share a batch: the second waits for the next. */
  readonly conflictName?: (item: Item) => string | null;
}

export class GroupCommit<Item, Outcome> {
  readonly #options: GroupCommitOptions<Item, Outcome>;
  #waiting: Waiting<Item, Outcome>[] = [];
  #writers = 0;
  #namesInFlight = new Set<string>();
  #scheduled = false;
  #linger: Timer | null = null;
  #idle: (() => void)[] = [];

  constructor(options: GroupCommitOptions<Item, Outcome>) {
    this.#options = options;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Resolves to the item's outcome once it is written. */
  add(item: Item): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#push(item, { resolve, reject }, 0);
      this.#schedule();
    });
  }

  /** The same for many, with one promise for all. They may be written apart; rejects with the first failure. */
  addAll(items: readonly Item[]): Promise<Outcome[]> {
    if (items.length === 0) return Promise.resolve([]);
    return new Promise((resolveAll, reject) => {
      const outcomes: Outcome[] = [];
      let left = items.length;
      const resolve = (outcome: Outcome, place: number): void => {
        outcomes[place] = outcome;
        left -= 1;
        if (left === 0) resolveAll(outcomes);
      };
      const adder = { resolve, reject };
      for (const [place, item] of items.entries()) this.#push(item, adder, place);
      this.#schedule();
    });
  }

  #push(item: Item, adder: Adder<Outcome>, place: number): void {
    this.#waiting.push({ item, name: this.#options.conflictName?.(item) ?? null, adder, place });
  }

  /** Resolves when nothing waits and nothing is being written. */
  async drained(): Promise<void> {
    while (this.#waiting.length > 0 || this.#writers > 0)
      await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** The batch is cut at the end of this turn of the event loop, so that what arrived in one turn is written together. */
  #schedule(): void {
    const { writersMax, companyMin = 1, lingerMs } = this.#options;
    if (this.#scheduled || this.#waiting.length === 0 || this.#writers >= writersMax) return;
    const waitMs = this.#waiting.length >= companyMin ? 0 : (lingerMs?.(this.#writers > 0) ?? 0);
    if (waitMs > 0) {
      this.#linger ??= startTimer(waitMs, () => this.#begin());
      return;
    }
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#begin();
    });
  }

  #begin(): void {
    this.#endLinger();
    if (this.#writers >= this.#options.writersMax) return;
    const batch = this.#cut();
    if (batch.length > 0) void this.#write(batch);
  }

  #endLinger(): void {
    this.#linger?.cancel();
    this.#linger = null;
  }

  #cut(): Waiting<Item, Outcome>[] {
    const { batchMax, conflictName } = this.#options;
    if (conflictName === undefined) return this.#waiting.splice(0, batchMax);
    const batch: Waiting<Item, Outcome>[] = [];
    const left: Waiting<Item, Outcome>[] = [];
    for (const waiting of this.#waiting) {
      const { name } = waiting;
      if (batch.length >= batchMax || (name !== null && this.#namesInFlight.has(name))) {
        left.push(waiting);
        continue;
      }
      if (name !== null) this.#namesInFlight.add(name);
      batch.push(waiting);
    }
    this.#waiting = left;
    return batch;
  }

  async #write(batch: readonly Waiting<Item, Outcome>[]): Promise<void> {
    this.#writers += 1;
    this.#schedule();
    try {
      const outcomes = await this.#options.write(batch.map((waiting) => waiting.item));
      for (const [i, waiting] of batch.entries()) waiting.adder.resolve(outcomes[i] as Outcome, waiting.place);
    } catch (error) {
      for (const waiting of batch) waiting.adder.reject(error);
    } finally {
      this.#writers -= 1;
      this.#release(batch);
      this.#endLinger();
      this.#schedule();
      if (this.#writers === 0 && this.#waiting.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  #release(batch: readonly Waiting<Item, Outcome>[]): void {
    for (const { name } of batch) if (name !== null) this.#namesInFlight.delete(name);
  }
}
