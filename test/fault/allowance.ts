// Owns what a fault plan allows: when nothing could fire, who had died and by when that had to be made good. Pure.

import type { Death, Span } from "./history.ts";
import type { Absence } from "./member.ts";

/** A takeover: a lease of 10 s, the look each second, and the taking. */
const takeoverMsMax = 15_000;
/** A drain gives calls in flight 30 s, and records those that it aborts as lost. */
const drainMsMax = 40_000;

export interface Presence {
  /** Of each dispatcher, when it was away. */
  readonly absences: readonly (readonly Absence[])[];
  readonly postgresAway: readonly Span[];
  readonly until: number;
}

/** When no dispatcher could work, or Postgres was away. */
export function outagesOf({ absences, postgresAway }: Presence): Span[] {
  const [first = [], ...others] = absences.map((one) => merge(one));
  return merge([...others.reduce<readonly Span[]>(intersect, first), ...postgresAway]);
}

/**
 * Each death of a dispatcher. Others take over once they have worked for so long that they may judge it. An outage of Postgres, however
 * long, is nobody's death: each has the time of a lease to renew when it is over.
 */
export function deathsOf(presence: Presence): Death[] {
  const able = presence.absences.map((absences) =>
    complement(merge([...absences, ...presence.postgresAway]), presence.until),
  );
  return presence.absences.flat().map(({ from: at, to: until, how }) => ({
    at,
    until,
    how,
    takenOverBy: Math.max(
      how === "drained" ? at + drainMsMax : 0,
      Math.min(...able.map((spans) => steadyFrom(spans, at))),
    ),
  }));
}

/** When it had worked for as long as a takeover takes, without a break, after the instant. */
function steadyFrom(able: readonly Span[], at: number): number {
  const ends = able.map(({ from, to }) => ({ by: Math.max(from, at) + takeoverMsMax, to }));
  return Math.min(...ends.filter(({ by, to }) => by <= to).map(({ by }) => by));
}

/** For how much of the span the others, none of which touch, last. */
export function overlapMs(others: readonly Span[], { from, to }: Span): number {
  const overlaps = others.map((other) => Math.min(to, other.to) - Math.max(from, other.from));
  return overlaps.reduce((sum, ms) => sum + Math.max(0, ms), 0);
}

/** In order, and where they touch as one. */
export function merge(spans: readonly Span[]): Span[] {
  const merged: { from: number; to: number }[] = [];
  for (const { from, to } of spans.toSorted((one, other) => one.from - other.from)) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else merged.push({ from, to });
  }
  return merged;
}

function intersect(one: readonly Span[], other: readonly Span[]): Span[] {
  return one.flatMap((span) =>
    other
      .map(({ from, to }) => ({ from: Math.max(span.from, from), to: Math.min(span.to, to) }))
      .filter(({ from, to }) => from < to),
  );
}

/** What is left of all time before `until`. */
function complement(spans: readonly Span[], until: number): Span[] {
  const froms = [Number.NEGATIVE_INFINITY, ...spans.map(({ to }) => to)];
  const tos = [...spans.map(({ from }) => from), until];
  return froms.map((from, i) => ({ from, to: tos[i] ?? until })).filter(({ from, to }) => from < to);
}
