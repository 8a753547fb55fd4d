// Owns the brute-force oracle for cron triggers: it walks every minute that a zone's clocks show, and asks a pattern whether it matches. It
// takes patterns apart, not as text, and shares no code with src/trigger: offsets come from Intl's own texts, weeks from counting days.

const minuteMs = 60_000;
const dayMs = 86_400_000;

/** One item of a field's list. `null` stands for the field's end: its least or greatest value. */
export interface Item {
  readonly from: number | null;
  readonly to: number | null;
  readonly step: number;
}

/** A field: a bare `*` is null. */
export type Field = readonly Item[] | null;

/** Of day-of-month fields: `last`, `2nd fri` (nth 2) and `last fri` (nth "last"); weekdays from Monday = 0. */
export type DayItem = Item | "last" | { readonly nth: number | "last"; readonly weekday: number };

/** What to match, in APScheduler's counting of weekdays. */
export interface Pattern {
  readonly year: Field;
  readonly month: Field;
  readonly day: readonly DayItem[] | null;
  readonly week: Field;
  readonly dayOfWeek: Field;
  readonly hour: Field;
  readonly minute: Field;
  readonly second: Field;
  /** Whether a day matches by either of `day` and `dayOfWeek`, where both are given. */
  readonly either: boolean;
  readonly gap: "skip" | "shift";
  readonly overlap: "first" | "both";
}

/** A minute that clocks show; `skipped` ones stand between those shown before and after a gap, at the gap's end. */
interface Shown {
  readonly at: number;
  /** Ms as if the clocks showed UTC. */
  readonly local: number;
  readonly kind: "first" | "again" | "skipped";
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Of a zone at an instant, from texts such as `GMT+05:45` or `GMT-04:56:02`. */
export function offsetMsAt(zone: string, at: number): number {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" });
    formats.set(zone, format);
  }
  const [, sign, hours = "0", minutes = "0", seconds = "0"] =
    /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(format.format(at)) ?? [];
  const size = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds);
  return (sign === "-" ? -size : size) * 1_000;
}

/** The instants in (from, to] at which the offset changes, found by asking every `stepMs`. */
export function changesOf(zone: string, { from, to, stepMs }: { from: number; to: number; stepMs: number }): number[] {
  const changes: number[] = [];
  let after = offsetMsAt(zone, from);
  for (let at = from; at < to; at += stepMs) {
    const before = after;
    after = offsetMsAt(zone, at + stepMs);
    if (after === before) continue;
    let [low, high] = [at, at + stepMs];
    while (high - low > 1_000) {
      const middle = low + Math.floor((high - low) / 2_000) * 1_000;
      if (offsetMsAt(zone, middle) === before) low = middle;
      else high = middle;
    }
    if (high <= to) changes.push(high);
  }
  return changes;
}

/** Every minute shown in [from, to), by instant. */
export function walk(zone: string, from: number, to: number): Shown[] {
  const shown: Shown[] = [];
  const seen = new Set<number>();
  // No zone ever changed twice within an hour; a day back shows what repeats.
  const edges = [from - dayMs, ...changesOf(zone, { from: from - dayMs, to, stepMs: 60 * minuteMs }), to];
  for (const [index, start] of edges.slice(0, -1).entries()) {
    const offset = offsetMsAt(zone, start);
    const end = edges[index + 1] ?? to;
    const before = index === 0 ? offset : offsetMsAt(zone, start - 1_000);
    for (let local = wholeMinute(start + before); local < start + offset; local += minuteMs) {
      if (start >= from) shown.push({ at: start, local, kind: "skipped" });
    }
    for (let local = wholeMinute(start + offset); local < end + offset; local += minuteMs) {
      const kind = seen.has(local) ? "again" : "first";
      if (kind === "first") seen.add(local);
      if (local - offset >= from) shown.push({ at: local - offset, local, kind });
    }
  }
  return shown;
}

function wholeMinute(ms: number): number {
  return Math.ceil(ms / minuteMs) * minuteMs;
}

/** The pattern's occurrences among the minutes, up to `max`, each once. */
export function occurrencesIn(minutes: readonly Shown[], pattern: Pattern, max: number): number[] {
  const found = new Set<number>();
  const matchesDay = onceADay((local) => dayMatches(pattern, local));
  for (const { at, local, kind } of minutes) {
    if (found.size >= max) break;
    if (kind === "skipped" ? pattern.gap === "skip" : kind === "again" && pattern.overlap === "first") continue;
    const minuteOfDay = Math.floor((((local % dayMs) + dayMs) % dayMs) / minuteMs);
    if (
      !holds(pattern.minute, minuteOfDay % 60, [0, 59]) ||
      !holds(pattern.hour, Math.floor(minuteOfDay / 60), [0, 23])
    )
      continue;
    if (!matchesDay(local)) continue;
    const seconds = kind === "skipped" ? [0] : sixty.filter((second) => holds(pattern.second, second, [0, 59]));
    for (const second of seconds) found.add(at + second * 1_000);
  }
  return [...found].slice(0, max);
}

const sixty = Array.from({ length: 60 }, (_, second) => second);

function onceADay(test: (local: number) => boolean): (local: number) => boolean {
  let [day, answer] = [Number.NaN, false];
  return (local) => {
    if (Math.floor(local / dayMs) !== day) [day, answer] = [Math.floor(local / dayMs), test(local)];
    return answer;
  };
}

function holds(field: Field, value: number, [min, max]: [number, number]): boolean {
  return field === null || field.some((item) => itemHolds(item, value, [min, max]));
}

function itemHolds({ from, to, step }: Item, value: number, [min, max]: [number, number]): boolean {
  const first = from ?? min;
  return value >= first && value <= (to ?? max) && (value - first) % step === 0;
}

function dayMatches(pattern: Pattern, local: number): boolean {
  const date = new Date(local);
  const weekday = (date.getUTCDay() + 6) % 7;
  const byDay = pattern.day === null || pattern.day.some((item) => dayHolds(item, local, weekday));
  const byWeekday = holds(pattern.dayOfWeek, weekday, [0, 6]);
  const both = pattern.day !== null && pattern.dayOfWeek !== null;
  return (
    (pattern.either && both ? byDay || byWeekday : byDay && byWeekday) &&
    holds(pattern.year, date.getUTCFullYear(), [1970, 9999]) &&
    holds(pattern.month, date.getUTCMonth() + 1, [1, 12]) &&
    (pattern.week === null || holds(pattern.week, isoWeekOf(local), [1, 53]))
  );
}

function dayHolds(item: DayItem, local: number, weekday: number): boolean {
  const monthOf = (ms: number) => new Date(ms).getUTCMonth();
  const day = new Date(local).getUTCDate();
  if (item === "last") return monthOf(local + dayMs) !== monthOf(local);
  if (!("nth" in item)) return itemHolds(item, day, [1, 31]);
  if (weekday !== item.weekday) return false;
  if (item.nth === "last") return monthOf(local + 7 * dayMs) !== monthOf(local);
  // The nth of its weekday: n - 1 of them came before it in its month.
  let before = 0;
  while (day - 7 * (before + 1) >= 1) before += 1;
  return before === item.nth - 1;
}

/** Counts weeks back to the one with January the 4th, which is week 1 (ISO 8601). */
function isoWeekOf(local: number): number {
  const monday = (ms: number) => Math.floor(ms / dayMs) - ((new Date(ms).getUTCDay() + 6) % 7);
  const year = new Date(local).getUTCFullYear();
  const firstMonday = [year + 1, year, year - 1].map((each) => monday(Date.UTC(each, 0, 4)));
  const start = firstMonday.find((each) => each <= monday(local)) ?? 0;
  return (monday(local) - start) / 7 + 1;
}
