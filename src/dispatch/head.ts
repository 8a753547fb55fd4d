// Owns what a lane knows of its head: when the next of its tasks is due, as far as it was told, and when to look.

import type { Taken } from "../due-index/due-index.ts";
import { type Clock, timerLateMs } from "../runtime/clock.ts";

/** What is due and was not taken, or not claimed, is a row held by a transaction of somebody else: it is looked at again after this. */
export const lockedLookMs = 50;

export interface HeadParts {
  readonly clock: Clock;
  /** It is taken from Redis, which returns what it is asked for; a take of Postgres returns nothing ahead of its time. */
  readonly mayTakeAhead: () => boolean;
}

export class Head {
  readonly #parts: HeadParts;
  #at = Number.POSITIVE_INFINITY;

  constructor(parts: HeadParts) {
    this.#parts = parts;
  }

  /** When it is due; infinite where nothing is known to come. */
  get at(): number {
    return this.#at;
  }

  /** In how many ms to look: so much ahead that a timer which is late is not too late. Below 0: it is time. */
  get lookInMs(): number {
    const { clock } = this.#parts;
    return this.#at + clock.uncertaintyMs - clock.now() - this.#aheadMs;
  }

  /** A task is due at `at`; false where that is no news. */
  tell(at: number): boolean {
    if (at >= this.#at) return false;
    this.#at = at;
    return true;
  }

  /** What was told until now is answered by a take, or needs no answer. */
  forget(): void {
    this.#at = Number.POSITIVE_INFINITY;
  }

  /** Up to which due time to take, if that is done at `now`: up to the head's where that is as good as here, else what is due for certain. */
  dueUntil(now: number): number {
    const dueNow = now - this.#parts.clock.uncertaintyMs;
    return this.#at <= dueNow + this.#aheadMs ? Math.max(dueNow, this.#at) : dueNow;
  }

  /** What a take that began at `now` says of the next. One well past its time that was not taken is locked; one just past it became due behind the take. */
  follows({ nextAt }: Taken, now: number): void {
    if (nextAt !== null) this.tell(nextAt <= now - lockedLookMs ? now + lockedLookMs : nextAt);
  }

  get #aheadMs(): number {
    return this.#parts.mayTakeAhead() ? timerLateMs : 0;
  }
}
