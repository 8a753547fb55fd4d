// Owns which occurrences of a schedule become tasks now, and which one is next: pure, the instant and the dice are given.

import { madeAheadMsMax, type ScheduleDefinition } from "../store/schedule.ts";
import { lastOccurrences, nextOccurrence, occurrencesAfter } from "../trigger/trigger.ts";

/** An occurrence found later than this was missed: nobody dispatched. One that is less late is merely late. */
export const missedAfterMs = 2_000;
/** Of the occurrences missed, the latest that become tasks where they are not coalesced. */
export const missedCountMax = 1_000;

/** No trigger has two occurrences within a second; one that has was damaged. */
const aheadCountMax = madeAheadMsMax / 1_000 + missedAfterMs / 1_000 + 1;

export interface Plan {
  /** Ascending; each becomes a task. */
  readonly occurrences: readonly number[];
  /** The first one after them; null: none follows. */
  readonly nextAt: number | null;
}

/**
 * `nextAt` is the first occurrence whose task is not made yet. Those up to 30 s ahead become tasks. Of those missed, the latest does, or
 * with `coalesce` off each; their misfire grace then decides. Throws for a trigger that makes no sense.
 */
export function planOccurrences(
  { trigger, coalesce, nextAt }: Pick<ScheduleDefinition, "trigger" | "coalesce"> & { readonly nextAt: number },
  now: number,
): Plan {
  const wasMissed = nextAt < now - missedAfterMs;
  // An instant before it, so that it is among those after that.
  const before = nextAt - 1;
  const missed = wasMissed
    ? lastOccurrences(trigger, { after: before, until: now, max: coalesce ? 1 : missedCountMax })
    : [];
  const ahead: number[] = [];
  for (const at of occurrencesAfter(trigger, wasMissed ? now : before)) {
    if (at > now + madeAheadMsMax) return { occurrences: [...missed, ...ahead], nextAt: at };
    if (!Number.isInteger(at) || ahead.length >= aheadCountMax) throw new Error("Occurrences must be a second apart");
    ahead.push(at);
  }
  return { occurrences: [...missed, ...ahead], nextAt: null };
}

/** When an occurrence's task is due: later by chance, by less than the jitter and the distance to the following occurrence. */
export function jitteredDueAt(
  { trigger, jitterMs }: Pick<ScheduleDefinition, "trigger" | "jitterMs">,
  occurrenceAt: number,
  random: () => number,
): number {
  if (jitterMs === null || jitterMs === 0) return occurrenceAt;
  const following = nextOccurrence(trigger, occurrenceAt);
  const belowMs = following === null ? jitterMs : Math.min(jitterMs, following - occurrenceAt);
  return occurrenceAt + Math.floor(random() * belowMs);
}
