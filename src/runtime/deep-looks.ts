// Owns how often a look that may have become dear is taken whole: the dearer, the rarer. In between its caller looks at the latest part alone.
//
// The rows that a queue of work has left behind stand in its index until vacuum has passed, and vacuum cannot pass while anybody's snapshot
// is older (a report, a dump): each look from the index's beginning goes through all of them.

/** A whole look that takes less is taken each time. */
const dearMs = 250;
/** After a dear one there is a rest so many times as long. */
const restPerCost = 10;
const restMsMax = 30_000;

export class DeepLooks {
  #nextMs = Number.NEGATIVE_INFINITY;

  isDue(nowMs: number): boolean {
    return nowMs >= this.#nextMs;
  }

  /** A whole look began and ended at these times of the monotonic clock. */
  taken(startedMs: number, endedMs: number): void {
    const costMs = endedMs - startedMs;
    this.#nextMs = endedMs + (costMs < dearMs ? 0 : Math.min(restMsMax, restPerCost * costMs));
  }
}
