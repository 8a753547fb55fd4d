// Owns the statements that follow a change of the time-zone database.

import { sql } from "kysely";
import type { Connection } from "./database.ts";
import { cancelAhead } from "./schedules.ts";
import { readColumns, type ScheduleRow } from "./schedule-rows.ts";
import { lookAheadMs } from "./schedule.ts";
import { instant } from "./task-rows.ts";

/** Locks schedules that were reckoned with an older database than this one. */
export async function lockReckonedBefore(trx: Connection, tzVersion: string, limit: number): Promise<ScheduleRow[]> {
  const locked = await sql<ScheduleRow>`
    select s.*, ${readColumns} from lapse.schedules s where s.state = 'active' and s.tz_version < ${tzVersion}
    order by s.tz_version, s.id limit ${limit} for update of s skip locked`.execute(trx);
  return locked.rows;
}

/** The occurrences to come, by schedule, whose tasks were made and not begun. */
export async function readAhead(trx: Connection, rows: readonly ScheduleRow[]): Promise<Map<string, number[]>> {
  const found = await sql<{ scheduleId: string; at: number }>`
    select schedule_id as "scheduleId", occurrence_at as at from lapse.tasks
    join unnest(${rows.map(({ id }) => id)}::uuid[], ${rows.map(({ now }) => instant(now))}::timestamptz[]) as s (id, now)
      on schedule_id = s.id and occurrence_at > s.now
    where occurrence_at is not null and attempts = 0 and state in ('scheduled', 'paused')
    order by schedule_id, occurrence_at`.execute(trx);
  const ahead = Map.groupBy(found.rows, ({ scheduleId }) => scheduleId);
  return new Map([...ahead].map(([id, tasks]) => [id, tasks.map(({ at }) => at)]));
}

export interface Reckoned {
  readonly id: string;
  readonly nextAt: number | null;
  /** Not null: what was made ahead of this is cancelled. */
  readonly cancelAfter: number | null;
}

export async function reckonAnew(trx: Connection, reckoned: readonly Reckoned[], tzVersion: string): Promise<void> {
  for (const { id, cancelAfter } of reckoned) if (cancelAfter !== null) await cancelAhead(trx, id, cancelAfter);
  const nextAts = reckoned.map(({ nextAt }) => (nextAt === null ? null : instant(nextAt)));
  await sql`
    update lapse.schedules s set tz_version = ${tzVersion}, next_occurrence_at = m.next_at,
      look_at = case when m.next_at is not null then m.next_at - ${lookAheadMs} * interval '1 millisecond'
        when m.is_new then clock_timestamp() else s.look_at end
    from unnest(${reckoned.map(({ id }) => id)}::uuid[], ${nextAts}::timestamptz[],
      ${reckoned.map(({ cancelAfter }) => cancelAfter !== null)}::boolean[]) as m (id, next_at, is_new)
    where s.id = m.id and s.state = 'active'`.execute(trx);
}
