// Owns how often a look that may have become dear is taken whole: the dearer, the rarer. In between its caller looks at the latest part alone.
//
// The rows that a queue of work has left behind stand in its index until vacuum has passed, and vacuum cannot pass while anybody's snapshot
// is older (a report, a dump): each look from the index's beginning goes through all of them.

import { monotonicMs } from "./clock.ts";

/** How far back a look at what falls due goes that does not go back to the beginning. */
export const latestMs = 10_000;
/** A whole look that takes less is taken each time. */
const dearMs = 250;
/** After a dear one there is a rest so many times as long. */
const restPerCost = 10;
const restMsMax = 30_000;

export class DeepLooks {
  readonly #nowMs: () => number;
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor(nowMs = monotonicMs) {
    this.#nowMs = nowMs;
  }

  /** Takes a look, a whole one unless the last such was dear. One that fails says nothing of what it costs. */
  async look<T>(take: (isWhole: boolean) => Promise<T>): Promise<T> {
    const startedMs = this.#nowMs();
    const isWhole = startedMs >= this.#nextMs;
    const found = await take(isWhole);
    if (isWhole) {
      const endedMs = this.#nowMs();
      const costMs = endedMs - startedMs;
      this.#nextMs = endedMs + (costMs < dearMs ? 0 : Math.min(restMsMax, restPerCost * costMs));
    }
    return found;
  }
}
