// Owns where a schedule stands: which of its occurrences is next, and whether it has ended.

import type { ScheduleRow } from "../store/schedule-rows.ts";
import type { Standing } from "../store/schedules.ts";
import { nextOccurrence, type Trigger } from "../trigger/trigger.ts";

/** A request may have been checked this long before it is stored: an occurrence that came meanwhile counts. */
const requestMsMax = 5_000;

export const ended: Standing = { state: "ended", nextAt: null };

export function standingOf({ state }: ScheduleRow): Standing {
  return { state, nextAt: null };
}

/** Of one that stands with a trigger: an occurrence that was missed under it is still to come. */
export function nextStanding(
  { now, next_occurrence_at: standingAt }: ScheduleRow,
  trigger: Trigger,
  isNew: boolean,
): Standing {
  const wasMissed = !isNew && standingAt !== null && standingAt <= now;
  const nextAt = wasMissed ? standingAt : isNew ? firstOccurrence(trigger, now) : nextOccurrence(trigger, now);
  return nextAt === null ? ended : { state: "active", nextAt };
}

/** Of one whose trigger has just come in. */
export function firstStanding(trigger: Trigger, now: number): Standing {
  const nextAt = firstOccurrence(trigger, now);
  return nextAt === null ? ended : { state: "active", nextAt };
}

/** Of a trigger that has just come in: an occurrence that came since it was checked is its last chance. */
function firstOccurrence(trigger: Trigger, now: number): number | null {
  return nextOccurrence(trigger, now) ?? nextOccurrence(trigger, now - requestMsMax);
}
