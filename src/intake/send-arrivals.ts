// Owns sending new tasks to Postgres until it is known what became of them.

import { type Clock, monotonicMs, sleep } from "../runtime/clock.ts";
import { findStored, insertArrivals } from "../store/accept.ts";
import type { Arrival } from "../store/arrivals.ts";
import { type Database, hotCallMsMax } from "../store/database.ts";
import { LockTimeoutError, StoreUnavailableError } from "../store/errors.ts";

/** A flush whose answer was lost is sent again this often, so that a short break in the connection costs no caller an error. */
const resendsMax = 3;
const resendPauseMs = 100;
/** A server that is silent, where each send takes its whole timeout, is not waited for again. */
const resendMsMax = 2_000;

/**
 * Sends a flush, again as it is where its answer was lost: its ids make that harmless. While its outcome is unknown it is never split,
 * and a lock that it meets may be its own earlier send's. Resolves to the ids stored.
 */
export async function sendArrivals(
  { database, clock }: { readonly database: Database; readonly clock: Clock },
  arrivals: readonly Arrival[],
): Promise<Set<string>> {
  const resendUntilMs = monotonicMs() + resendMsMax;
  for (let resends = 0; ; resends += 1) {
    try {
      const sending = { notAfter: clock.now() + hotCallMsMax, isFirstSend: resends === 0 };
      const stored = await insertArrivals(database, arrivals, sending);
      return sending.isFirstSend ? stored : await database.query((connection) => findStored(connection, arrivals));
    } catch (error) {
      const isUnknown = error instanceof StoreUnavailableError || (resends > 0 && error instanceof LockTimeoutError);
      if (!isUnknown) throw error;
      if (resends >= resendsMax || monotonicMs() > resendUntilMs) throw new StoreUnavailableError(error);
      await sleep(resendPauseMs);
    }
  }
}
