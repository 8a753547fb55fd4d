// Owns waiting in fault tests: for a condition, with a limit, and until a moment at which something is to be broken.

import { setTimeout as sleep } from "node:timers/promises";

const pollMs = 50;

/** Waits until the condition holds; fails after `msMax`. A condition that throws (a server that is away) does not hold. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  msMax: number,
  what = String(condition),
): Promise<void> {
  const deadline = performance.now() + msMax;
  const holds = async (): Promise<boolean> => condition();
  while (!(await holds().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`not within ${msMax} ms: ${what}`);
    await sleep(pollMs);
  }
}

/** Waits until the instant, in ms since the epoch; at once where it is past. */
export async function sleepUntil(at: number): Promise<void> {
  await sleep(Math.max(0, at - Date.now()));
}
