// Owns what a schedule's trigger is, as it is stored, and which instants it names. Pure: no clock, no I/O; instants are ms since the epoch.

import { formatDuration } from "../task/duration.ts";
import { type CronTrigger, compileCron } from "./cron.ts";
import { unreachable } from "../task/unreachable.ts";

/** One instant. `timezone` is the one that a local `at` was written in. */
export interface DateTrigger {
  readonly type: "date";
  readonly at: number;
  readonly timezone: string;
}

/** Every `everyMs` of elapsed time from `startAt`, whatever the clocks do; `endAt` is included. */
export interface IntervalTrigger {
  readonly type: "interval";
  readonly everyMs: number;
  readonly startAt: number;
  readonly endAt: number | null;
  readonly timezone: string;
}

/** As checked and stored (jsonb): patterns as they were written, times resolved to instants. */
export type Trigger = DateTrigger | IntervalTrigger | CronTrigger;

/** The next occurrence strictly later than `afterMs`, or null where there is none in the next 40 years. */
export function nextOccurrence(trigger: Trigger, afterMs: number): number | null {
  return finder(trigger)(afterMs);
}

/** The occurrences strictly later than `afterMs`, ascending, as many as are asked for. */
export function* occurrencesAfter(trigger: Trigger, afterMs: number): Generator<number, undefined> {
  const next = finder(trigger);
  for (let at = next(afterMs); at !== null; at = next(at)) yield at;
}

export interface Span {
  /** Not included. */
  readonly after: number;
  /** Included. */
  readonly until: number;
  readonly max: number;
}

/** The latest `max` occurrences of a span, ascending. What lies before them costs nothing. */
export function lastOccurrences(trigger: Trigger, { after, until, max }: Span): number[] {
  const next = finder(trigger);
  const found: number[] = [];
  let before = until + 1;
  while (found.length < max) {
    const at = lastBefore(next, before, after);
    if (at === null) break;
    found.push(at);
    before = at;
  }
  return found.toReversed();
}

/** The trigger as the API writes it out: durations in ISO 8601, times in UTC. */
export function writeTrigger(trigger: Trigger): Record<string, unknown> {
  const { timezone } = trigger;
  switch (trigger.type) {
    case "date":
      return { type: "date", at: writeInstant(trigger.at), timezone };
    case "interval":
      return { type: "interval", every: formatDuration(trigger.everyMs), ...writeBounds(trigger), timezone };
    case "cron": {
      const { type, dialect, expression, fields, gap, overlap } = trigger;
      const pattern = expression === undefined ? { fields } : { expression };
      const choices = { dialect, ...(gap === undefined ? {} : { gap }), ...(overlap === undefined ? {} : { overlap }) };
      return { type, ...pattern, ...choices, timezone, ...writeBounds(trigger) };
    }
    default:
      return unreachable(trigger);
  }
}

/** Finds the first occurrence later than `after`; one later than `until` need not be found. */
type Finder = (after: number, until?: number) => number | null;

/** A pattern is read only once for a whole walk. */
function finder(trigger: Trigger): Finder {
  switch (trigger.type) {
    case "date":
      return (after) => (trigger.at > after ? trigger.at : null);
    case "interval":
      return (after) => nextOfInterval(trigger, after);
    case "cron":
      return compileCron(trigger);
    default:
      return unreachable(trigger);
  }
}

function nextOfInterval({ everyMs, startAt, endAt }: IntervalTrigger, after: number): number | null {
  const steps = after < startAt ? 0 : Math.floor((after - startAt) / everyMs) + 1;
  const at = startAt + steps * everyMs;
  return endAt !== null && at > endAt ? null : at;
}

/** No trigger names two instants that are closer: intervals last at least this, and patterns name whole seconds. */
const occurrenceDistanceMinMs = 1_000;

/**
 * The last occurrence in (after, before), or null. "Is there one in [at, before)?" is asked further and further back, then between the
 * last two answers: some 2 log2(s) questions for a distance of s seconds.
 */
function lastBefore(next: Finder, before: number, after: number): number | null {
  /** The earliest occurrence from `at` on, if it comes before `before`. */
  const from = (at: number) => {
    const found = next(Math.max(at - 1, after), before);
    return found !== null && found < before ? found : null;
  };
  /** From here to `before` there is none. */
  let none = before;
  let reachMs = occurrenceDistanceMinMs;
  let last = from(before - reachMs);
  for (; last === null && before - reachMs > after; last = from(before - reachMs)) {
    none = before - reachMs;
    reachMs *= 2;
  }
  while (last !== null && none - last > occurrenceDistanceMinMs) {
    const middle: number = last + Math.ceil((none - last) / 2);
    const later: number | null = from(middle);
    if (later === null) none = middle;
    else last = later;
  }
  return last;
}

function writeBounds({ startAt, endAt }: { startAt: number | null; endAt: number | null }) {
  return {
    startAt: startAt === null ? null : writeInstant(startAt),
    endAt: endAt === null ? null : writeInstant(endAt),
  };
}

function writeInstant(at: number): string {
  return new Date(at).toISOString();
}
