// Owns the offsets of time zones: in which span of time a zone's clocks stay the same distance from UTC. Asking Intl costs some 5 us, so
// what it said is kept.

import { IANAZone } from "luxon";

/** The zone's local time is the instant plus `offsetMs`, from `from` up to but not at `until`. Neighbours may have the same offset. */
export interface OffsetSpan {
  readonly from: number;
  readonly until: number;
  readonly offsetMs: number;
}

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const dayMs = 24 * 60 * minuteMs;

/** No zone ever had two offsets farther apart: days were skipped or repeated whole (Apia, Manila, Juneau), give or take some hours. */
export const offsetDistanceMaxMs = 2 * dayMs;

/** Offsets are asked for this far apart. No zone changed twice within it: the closest were 4 days apart (Freetown, 1939). */
const probeMs = 2 * dayMs;
/** What is found out together: five questions, and some thirty for each change. */
const stretchMs = 4 * probeMs;
/** Some 40 years of each of ten zones; then all is forgotten. */
const stretchesMax = 20_000;

const stretches = new Map<string, readonly OffsetSpan[]>();

/** The span around an instant. */
export function offsetSpanAt(zoneName: string, at: number): OffsetSpan {
  const index = Math.floor(at / stretchMs);
  const key = `${index} ${zoneName}`;
  let spans = stretches.get(key);
  if (spans === undefined) {
    if (stretches.size >= stretchesMax) stretches.clear();
    spans = findSpans(zoneName, index * stretchMs);
    stretches.set(key, spans);
  }
  const span = spans.find(({ until }) => at < until);
  if (span === undefined) throw new RangeError(`no offset of ${zoneName} at ${at}`);
  return span;
}

/** Where the zone's clocks showed this local time of the span before: up to which local time they go on repeating. Else null. */
export function repeatedUntil(zoneName: string, span: OffsetSpan, local: number): number | null {
  const reach = local - span.offsetMs - offsetDistanceMaxMs;
  for (let { from } = span; from > reach; ) {
    const earlier = offsetSpanAt(zoneName, from - 1);
    const end = earlier.until + earlier.offsetMs;
    if (local < end) return end;
    from = earlier.from;
  }
  return null;
}

function findSpans(zoneName: string, start: number): OffsetSpan[] {
  const zone = IANAZone.create(zoneName);
  // Of minutes; before zones had standard times, offsets had seconds.
  const offsetAt = (at: number) => Math.round((zone.offset(at) * minuteMs) / secondMs) * secondMs;
  const spans: OffsetSpan[] = [];
  let from = start;
  let offsetMs = offsetAt(start);
  for (let at = start + probeMs; at <= start + stretchMs; at += probeMs) {
    const probed = offsetAt(at);
    if (probed === offsetMs) continue;
    const change = firstSecondOf(at - probeMs, at, (moment) => offsetAt(moment) !== offsetMs);
    spans.push({ from, until: change, offsetMs });
    from = change;
    offsetMs = probed;
  }
  if (from < start + stretchMs) spans.push({ from, until: start + stretchMs, offsetMs });
  return spans;
}

/** The first whole second in (low, high] for which the test holds, which goes on to hold; it holds at `high`. */
function firstSecondOf(low: number, high: number, test: (at: number) => boolean): number {
  let none = low / secondMs;
  let some = high / secondMs;
  while (some - none > 1) {
    const middle = Math.floor((none + some) / 2);
    if (test(middle * secondMs)) some = middle;
    else none = middle;
  }
  return some * secondMs;
}
