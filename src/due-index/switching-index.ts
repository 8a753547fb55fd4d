// Owns which due index is in use: Redis while it answers and a queue's set is filled, Postgres otherwise.

import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { DueEntry, DueIndex, Taken, TakeRequest } from "./due-index.ts";
import type { RedisIndex } from "./redis-index.ts";

export interface SwitchingIndexParts {
  readonly redis: RedisIndex;
  readonly postgres: DueIndex;
  readonly log: Log;
  readonly metrics: Metrics;
}

export class SwitchingIndex implements DueIndex {
  readonly #parts: SwitchingIndexParts;
  /** Up to when each queue's set is known to hold all that is due. Empty while Redis is away. */
  readonly #filledUntil = new Map<string, number>();
  #isRedisUp = false;

  constructor(parts: SwitchingIndexParts) {
    this.#parts = parts;
  }

  get isRedisUp(): boolean {
    return this.#isRedisUp;
  }

  async put(entries: readonly DueEntry[]): Promise<void> {
    await this.#parts.postgres.put(entries);
    await this.#onRedis((redis) => redis.put(entries));
  }

  /** Takes from Redis where the queue is filled beyond now, from Postgres where it is not or Redis fails. */
  async take(request: TakeRequest): Promise<Taken> {
    if (this.#isRedisUp && (this.#filledUntil.get(request.queue) ?? 0) > request.now) {
      try {
        return await this.#onRedis((redis) => redis.take(request));
      } catch {
        // Taken from Postgres below, and from now on until Redis answers again.
      }
    }
    return this.#parts.postgres.take(request);
  }

  async move(entries: readonly DueEntry[]): Promise<void> {
    await this.#parts.postgres.move(entries);
    if (this.#isRedisUp) await this.#onRedis((redis) => redis.move(entries));
  }

  async remove(entries: readonly Omit<DueEntry, "at">[]): Promise<void> {
    if (this.#isRedisUp) await this.#onRedis((redis) => redis.remove(entries));
  }

  /** Also where Redis is not known to answer: whoever counts on it must not miss this. */
  async reset(queue: string): Promise<void> {
    this.distrust(queue);
    await this.#parts.postgres.reset(queue);
    await this.#onRedis((redis) => redis.reset(queue));
  }

  /** Begins a filling; also the probe that finds Redis back: it writes, so that a full or read-only server does not count. */
  beginFill(queue: string, token: string): Promise<number> {
    return this.#onRedis((redis) => redis.beginFill(queue, token));
  }

  /** Ends a filling up to `filledUntil`. False where entries may have been lost meanwhile: it must begin anew. */
  async endFill(queue: string, token: string, filledUntil: number): Promise<boolean> {
    const isWhole = await this.#onRedis((redis) => redis.endFill(queue, token, filledUntil));
    if (isWhole) this.#filledUntil.set(queue, filledUntil);
    else this.#filledUntil.delete(queue);
    return isWhole;
  }

  /** The queue's set was found empty or stale: it is taken from Postgres until it is filled. */
  distrust(queue: string): void {
    this.#filledUntil.delete(queue);
  }

  async #onRedis<T>(work: (redis: RedisIndex) => Promise<T>): Promise<T> {
    try {
      const result = await work(this.#parts.redis);
      this.#set(true, null);
      return result;
    } catch (error) {
      this.#set(false, error);
      throw error;
    }
  }

  #set(isUp: boolean, error: unknown): void {
    if (this.#isRedisUp === isUp) return;
    this.#isRedisUp = isUp;
    if (!isUp) this.#filledUntil.clear();
    this.#parts.metrics.event("index.switched");
    this.#parts.metrics.setRedisInUse(isUp);
    if (isUp) this.#parts.log.info("index.redis_in_use");
    else this.#parts.log.warn({ err: error }, "index.postgres_in_use");
  }
}
