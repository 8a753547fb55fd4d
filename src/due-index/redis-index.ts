// Owns the due index in Redis: one sorted set a queue, one script a movement. Keys carry the queue as hash tag, so that a script touches
// one slot of a cluster.

import { type DueEntry, type DueIndex, idsPerTakeMax, type Taken, type TakeRequest } from "./due-index.ts";
import type { RedisConnection } from "./redis-connection.ts";

/** Entries a script call: bounded, so that no script holds Redis for more than a few ms. */
export const entriesPerCallMax = 500;

export class RedisIndex implements DueIndex {
  readonly #connection: RedisConnection;
  readonly #prefix: string;

  /** `prefix` tells installations apart that share a Redis; its wake-up channel is `wakeChannel(prefix)`. */
  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection;
    this.#prefix = prefix;
  }

  async put(entries: readonly DueEntry[]): Promise<void> {
    await this.#each(entries, (queue, part) => {
      const args = part.flatMap((entry) => [String(entry.at), entry.id]);
      return this.#connection.call((client) =>
        client.putDue(this.#key(queue), [wakeChannel(this.#prefix), queue, ...args]),
      );
    });
  }

  async take({ queue, now, leaseUntil, limit }: TakeRequest): Promise<Taken> {
    const args = [Math.floor(now), Math.ceil(leaseUntil), Math.min(limit, idsPerTakeMax)].map(String);
    const [nextAt, ids] = await this.#connection.call((client) => client.takeDue(this.#key(queue), args));
    return { ids, nextAt: nextAt === "" ? null : Number(nextAt) };
  }

  async move(entries: readonly DueEntry[]): Promise<void> {
    await this.#each(entries, (queue, part) => {
      const members = part.map((entry) => ({ score: Math.ceil(entry.at), value: entry.id }));
      return this.#connection.call((client) => client.zAdd(this.#key(queue), members));
    });
  }

  async remove(entries: readonly Omit<DueEntry, "at">[]): Promise<void> {
    await this.#each(entries, (queue, part) => {
      const ids = part.map((entry) => entry.id);
      return this.#connection.call((client) => client.zRem(this.#key(queue), ids));
    });
  }

  async reset(queue: string): Promise<void> {
    await this.#connection.call((client) => client.resetDue(this.#key(queue), [wakeChannel(this.#prefix), queue]));
  }

  /** Begins a filling of the queue's set; resolves to the instant up to which it is filled, 0 where it is not. */
  async beginFill(queue: string, token: string): Promise<number> {
    return Number(await this.#connection.call((client) => client.beginFill(this.#key(queue), [token])));
  }

  /** Ends a filling and moves the mark to `filledUntil` (0: leaves it). False where entries may have been lost since it began. */
  async endFill(queue: string, token: string, filledUntil: number): Promise<boolean> {
    const args = [token, String(Math.floor(filledUntil))];
    return (await this.#connection.call((client) => client.endFill(this.#key(queue), args))) === 1;
  }

  async #each<Entry extends { queue: string }>(
    entries: readonly Entry[],
    call: (queue: string, part: readonly Entry[]) => Promise<unknown>,
  ): Promise<void> {
    const calls: Promise<unknown>[] = [];
    for (const [queue, ofQueue] of Map.groupBy(entries, (entry) => entry.queue)) {
      for (let i = 0; i < ofQueue.length; i += entriesPerCallMax)
        calls.push(call(queue, ofQueue.slice(i, i + entriesPerCallMax)));
    }
    await Promise.all(calls);
  }

  #key(queue: string): string {
    return `${this.#prefix}{${queue}}:due`;
  }
}

export function wakeChannel(prefix: string): string {
  return `${prefix}wake`;
}
