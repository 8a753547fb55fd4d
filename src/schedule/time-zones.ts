// Owns taking up a change of the time-zone database: what an older one reckoned is reckoned again, and only where it differs changed.

import type { Connection, Database } from "../store/database.ts";
import { type Reckoned, lockReckonedBefore, readAhead, reckonAnew } from "../store/time-zones.ts";
import type { ScheduleRow } from "../store/schedule-rows.ts";
import { nextOccurrence, occurrencesAfter } from "../trigger/trigger.ts";

const schedulesPerBatchMax = 200;

interface TimeZoneParts {
  readonly database: Database;
  /** Of this process. */
  readonly tzVersion: string;
}

/** Reckons anew what a process with an older time-zone database did. What a newer one reckoned is left alone. */
export async function takeUpTimeZones({ database, tzVersion }: TimeZoneParts): Promise<void> {
  for (let count = schedulesPerBatchMax; count >= schedulesPerBatchMax; )
    count = await database.transaction((trx) => takeUpBatch(trx, tzVersion));
}

async function takeUpBatch(trx: Connection, tzVersion: string): Promise<number> {
  const rows = await lockReckonedBefore(trx, tzVersion, schedulesPerBatchMax);
  if (rows.length === 0) return 0;
  const ahead = await readAhead(trx, rows);
  const reckoned = rows.map((row) => reckon(row, ahead.get(row.id) ?? []));
  await reckonAnew(trx, reckoned, tzVersion);
  return rows.length;
}

/** `ahead` are the occurrences made and not begun, ascending. One that was missed already stays: it was an occurrence when its time came. */
function reckon(row: ScheduleRow, ahead: readonly number[]): Reckoned {
  const { id, now, trigger, next_occurrence_at: nextAt } = row;
  const same = { id, nextAt, cancelAfter: null };
  if (nextAt !== null && nextAt <= now) return same;
  try {
    const expected = occurrencesAfter(trigger, now);
    const standing = [...ahead, nextAt];
    const isSame = standing.every((at) => (expected.next().value ?? null) === at);
    return isSame ? same : { id, nextAt: nextOccurrence(trigger, now), cancelAfter: now };
  } catch {
    // Damaged: set aside once it is looked at.
    return same;
  }
}
