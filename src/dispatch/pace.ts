// Owns what a lane knows of its queue's rate limit: how many starts to try, and when. Postgres decides; this only keeps a lane from taking
// tasks that it could not start.

import type { Rate } from "../store/rated-claims.ts";

/** What was learned holds for this long: the limit may have been raised, and the word of it lost. */
const trustMsMax = 5_000;

export class Pace {
  /** Null: no limit is known of. */
  #rate: { readonly left: number; readonly limit: number; readonly nextAt: number } | null = null;

  /** The queue has a limit: its tasks are claimed within it. */
  get isRated(): boolean {
    return this.#rate !== null;
  }

  /** How many starts may be tried now. */
  room(now: number): number {
    if (this.#rate === null) return Number.POSITIVE_INFINITY;
    return now < this.#rate.nextAt ? this.#rate.left : this.#rate.limit;
  }

  /** When more may be tried than now. */
  nextAt(now: number): number {
    return this.#rate === null ? now : Math.max(now, this.#rate.nextAt);
  }

  /** A claim was refused because the queue has a limit, or word came that it changed: the next claim tells. */
  forget(): void {
    this.#rate = { left: Number.POSITIVE_INFINITY, limit: Number.POSITIVE_INFINITY, nextAt: 0 };
  }

  /** What a claim found left; null: there is no limit any more. */
  learn(rate: Rate | null, now: number): void {
    if (rate === null) this.#rate = null;
    else
      this.#rate = {
        left: rate.left,
        limit: rate.limit,
        nextAt: Math.min(rate.nextAt ?? now + trustMsMax, now + trustMsMax),
      };
  }
}
