// Owns the rate limit of the API: so many requests a second for each key, counted in Redis for all processes together, and by each for
// itself where Redis is away.

import { readFileSync } from "node:fs";
import { type Bucket, type TokenTaken, takeToken } from "./token-bucket.ts";

/** Runs the script on one key; rejects where Redis is away or silent. */
export type RunScript = (script: string, key: string, args: readonly string[]) => Promise<unknown>;

/** After a failure Redis is asked once in this time, by a single request: none of the others waits for its timeout. */
const probeMs = 1_000;

const script = readFileSync(new URL("./take-token.lua", import.meta.url), "utf8");

export interface RateLimiterParts {
  /** Requests that each name may make a second, and at one instant. */
  readonly perSecond: number;
  /** Null: this process counts for itself. */
  readonly redis: { readonly run: RunScript; readonly prefix: string } | null;
  /** In ms, the same in all processes. */
  readonly now: () => number;
}

/** Whether a request may go on, and how its caller stands then. */
export interface RateVerdict {
  readonly isWithin: boolean;
  readonly perSecond: number;
  /** Whole requests that may follow at once. */
  readonly left: number;
}

export class RateLimiter {
  readonly #parts: RateLimiterParts;
  /** One a name, of which there are no more than keys. */
  readonly #own = new Map<string, Bucket>();
  #redisFrom = 0;

  constructor(parts: RateLimiterParts) {
    this.#parts = parts;
  }

  /** Counts one request of the name. */
  async take(name: string): Promise<RateVerdict> {
    const { perSecond } = this.#parts;
    const { isTaken, tokens } = (await this.#takeShared(name)) ?? this.#takeOwn(name);
    return { isWithin: isTaken, perSecond, left: Math.floor(tokens) };
  }

  /** Null where Redis is away. */
  async #takeShared(name: string): Promise<Taken | null> {
    const { perSecond, redis, now } = this.#parts;
    const at = now();
    if (redis === null || at < this.#redisFrom) return null;
    const isProbe = this.#redisFrom > 0;
    if (isProbe) this.#redisFrom = at + probeMs;
    try {
      // The braces are Redis Cluster's hash tag.
      const key = `${redis.prefix}{rate:${name}}`;
      const [isTaken, tokens] = (await redis.run(script, key, [String(perSecond), String(at)])) as [number, string];
      this.#redisFrom = 0;
      return { isTaken: isTaken === 1, tokens: Number(tokens) };
    } catch {
      this.#redisFrom = now() + probeMs;
      return null;
    }
  }

  #takeOwn(name: string): Taken {
    const { isTaken, bucket } = takeToken(this.#own.get(name) ?? null, this.#parts.perSecond, this.#parts.now());
    this.#own.set(name, bucket);
    return { isTaken, tokens: bucket.tokens };
  }
}

type Taken = Pick<TokenTaken, "isTaken"> & { readonly tokens: number };
