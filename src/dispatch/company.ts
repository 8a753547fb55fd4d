// Owns for how long a lane lets tasks wait for company: the fewer takes and claims, the less each task costs.

const takeCompanyMs = 3;
/** With fewer slots there is nothing to gain. */
const companySlotsMin = 20;
const slowClaimMs = 5;

/**
 * In how many ms a lane with more due than slots takes again: at once where half of the slots are free, else when those that are free have
 * waited long enough, `sinceMs` by now. They wait since the last take or, where that had left none, since the first came free: counted from
 * the take alone, whatever came free a little later was taken one by one, and a drain with 300 slots was a tenth slower.
 */
export function nextTakeInMs(slots: number, free: number, sinceMs: number): number {
  return slots >= companySlotsMin && 2 * free < slots ? takeCompanyMs - sinceMs : 0;
}

/**
 * In how many ms a claim that began `claimingAt` counts as slow. Until then what falls due one by one waits for it and shares the next: at
 * 1,000 a second the p99 of lateness was 16 to 33 ms so, and 15 to 45 without. A slower one may hang: others go beside it.
 */
export function slowInMs(claimingAt: number, now: number): number {
  return Math.max(0, claimingAt + slowClaimMs - now);
}
