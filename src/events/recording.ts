// Owns the beginning of listening: recording is switched on, and nobody is told that it is before it holds for every change to come.

import { monotonicMs, sleep } from "../runtime/clock.ts";
import type { Database } from "../store/database.ts";
import { type EventPosition, keepRecording, readHorizon, readNow } from "../store/events.ts";

/** Lapse's own statements end within it. A stranger's transaction that stays open longer may have made changes that are no events. */
const olderTransactionsMsMax = 5_000;
const lookAgainMs = 20;
/** How often those who listen say so. */
export const keepRecordingEveryMs = 60_000;

/** Resolves to where to go on from: no event of a change that is committed from now on is before it. */
export async function beginListening(database: Database): Promise<EventPosition> {
  const { isNew, nextXid } = await database.query(keepRecording);
  const untilMs = monotonicMs() + olderTransactionsMsMax;
  // A statement that began before it was on saw that nobody listens, and its transaction may not have ended.
  if (isNew) while (monotonicMs() < untilMs && (await database.query(readHorizon)) < nextXid) await sleep(lookAgainMs);
  return database.query(readNow);
}
