// Owns a cron trigger: reading its pattern in its dialect, and finding the instants at which its zone's clocks show a matching time.

import { readApschedulerExpression, readApschedulerFields } from "./apscheduler.ts";
import { type CronFields, type CronPattern, nextMatch } from "./cron-pattern.ts";
import { readCrontab } from "./crontab.ts";
import { offsetDistanceMaxMs, offsetSpanAt, repeatedUntil } from "./zone-offsets.ts";

export const cronDialects = ["crontab", "apscheduler"] as const;
export const gapRules = ["skip", "shift"] as const;
export const overlapRules = ["first", "both"] as const;

/** Exactly one of `expression` and `fields` is there. `gap` and `overlap` are there where the caller chose them. */
export interface CronTrigger {
  readonly type: "cron";
  readonly dialect: (typeof cronDialects)[number];
  readonly expression?: string;
  readonly fields?: CronFields;
  readonly gap?: (typeof gapRules)[number];
  readonly overlap?: (typeof overlapRules)[number];
  readonly timezone: string;
  readonly startAt: number | null;
  readonly endAt: number | null;
}

/** One fault of a pattern: in a field of `fields`, or in the expression (null). The message is a sentence's end. */
export interface PatternFault {
  readonly field: keyof CronFields | null;
  readonly message: string;
}

type PatternSource = Pick<CronTrigger, "dialect" | "expression" | "fields">;

/** Reads the pattern, or finds all that is wrong with it. */
export function readPattern(source: PatternSource): { pattern: CronPattern } | { faults: readonly PatternFault[] } {
  const { dialect, expression = "", fields } = source;
  if (fields !== undefined) {
    const read = readApschedulerFields(fields);
    return Array.isArray(read) ? { faults: read } : { pattern: read };
  }
  const read = dialect === "crontab" ? readCrontab(expression) : readApschedulerExpression(expression);
  return Array.isArray(read) ? { faults: read.map((message) => ({ field: null, message })) } : { pattern: read };
}

/** What finds the next occurrence in (after, until]. A stored trigger was checked: one that cannot be read throws. */
export function compileCron(trigger: CronTrigger): (after: number, until?: number) => number | null {
  const read = readPattern(trigger);
  if ("faults" in read) throw new Error(`a stored pattern cannot be read: ${read.faults[0]?.message}`);
  const { pattern } = read;
  const { timezone, startAt, endAt } = trigger;
  const rules = { gap: trigger.gap ?? pattern.gap, overlap: trigger.overlap ?? pattern.overlap };
  return (after, until = after + searchedMs) => {
    const span = { after: Math.max(after, (startAt ?? after) - 1), until: Math.min(until, endAt ?? until) };
    const at = nextInZone(pattern, { timezone, ...rules }, span);
    return at !== null && at <= span.until ? at : null;
  };
}

/**
 * The rarest pattern that comes again, a leap day on a given weekday, comes at least once in 40 years, also across 2100, which has none.
 * What does not occur in so long is taken to have ended.
 */
const searchedMs = 40 * 366 * 24 * 3_600_000;

/** Where an occurrence is looked for: later than `after`; beyond `until` the search may end. */
interface Sought {
  readonly after: number;
  readonly until: number;
}

type ZoneRules = Required<Pick<CronTrigger, "timezone" | "gap" | "overlap">>;

/**
 * Walks the spans in which the zone's offset stays the same: in each, matching local times are looked for by date and time of day, and
 * moved to instants by its offset. Spans far from any match are jumped over.
 */
function nextInZone(pattern: CronPattern, { timezone, gap, overlap }: ZoneRules, sought: Sought): number | null {
  let from = Math.floor(sought.after) + 1;
  let span = offsetSpanAt(timezone, sought.after);
  // Whatever offset holds at `until`, what is at it or before is found.
  const match = (fromLocal: number) =>
    nextMatch(pattern, fromLocal, sought.until + span.offsetMs + offsetDistanceMaxMs);
  for (;;) {
    const endLocal = span.until + span.offsetMs;
    const local = match(from + span.offsetMs);
    if (local !== null && local < endLocal) {
      const repeated = overlap === "first" ? repeatedUntil(timezone, span, local) : null;
      if (repeated === null) return local - span.offsetMs;
      from = repeated - span.offsetMs;
      continue;
    }
    // Clocks that are set back show again what is before `endLocal`, but never from farther back than this.
    const near = match(endLocal - offsetDistanceMaxMs);
    if (near === null) return null;
    const next = offsetSpanAt(timezone, span.until);
    if (gap === "shift" && local !== null && local < next.from + next.offsetMs) return next.from;
    from = Math.max(next.from, near - span.offsetMs - offsetDistanceMaxMs);
    span = offsetSpanAt(timezone, from);
  }
}
