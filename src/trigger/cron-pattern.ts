// Owns what a cron pattern means on a calendar without zones: which dates and times of day it matches, and the next of them. Local times are
// ms as if they were UTC; days are counted from 1970-01-01, weekdays from Monday = 0.

/** As APScheduler names them; each a text of its dialect. */
export interface CronFields {
  readonly year?: string;
  readonly month?: string;
  readonly day?: string;
  readonly week?: string;
  readonly dayOfWeek?: string;
  readonly hour?: string;
  readonly minute?: string;
  readonly second?: string;
}

export interface CalendarDay {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly weekday: number;
  readonly daysInMonth: number;
  /** Of ISO 8601: week 1 has the year's first Thursday. */
  readonly week: () => number;
}

/** Each list of numbers ascends and is not empty; `years` null means all. */
export interface CronPattern {
  readonly years: readonly number[] | null;
  readonly months: readonly number[];
  readonly matchesDay: (day: CalendarDay) => boolean;
  readonly hours: readonly number[];
  readonly minutes: readonly number[];
  readonly seconds: readonly number[];
  /** What the dialect does with times that clocks skip and repeat, where the caller did not choose. */
  readonly gap: "skip" | "shift";
  readonly overlap: "first" | "both";
}

const secondMs = 1_000;
const daySeconds = 86_400;

/** The first matching local time in [from, until), or null. */
export function nextMatch(pattern: CronPattern, from: number, until: number): number | null {
  const fromSecond = Math.ceil(from / secondMs);
  const fromDay = Math.floor(fromSecond / daySeconds);
  const time = nextTime(pattern, fromSecond - fromDay * daySeconds);
  const lastDay = Math.floor(until / secondMs / daySeconds);
  const day = nextDay(pattern, time === null ? fromDay + 1 : fromDay, lastDay);
  if (day === null) return null;
  const second = time !== null && day === fromDay ? time : nextTime(pattern, 0);
  if (second === null) return null;
  const match = (day * daySeconds + second) * secondMs;
  return match < until ? match : null;
}

/** The first matching second of a day from `second` on, or null. */
function nextTime({ hours, minutes, seconds }: CronPattern, second: number): number | null {
  for (const hour of hours) {
    if ((hour + 1) * 3_600 <= second) continue;
    for (const minute of minutes) {
      const start = (hour * 60 + minute) * 60;
      const found = start + 60 <= second ? undefined : seconds.find((candidate) => start + candidate >= second);
      if (found !== undefined) return start + found;
    }
  }
  return null;
}

/** The first matching day in [from, last], or null. Months that match nothing are passed over whole. */
function nextDay({ years, months, matchesDay }: CronPattern, from: number, last: number): number | null {
  for (let month = monthAround(from); month.firstDay <= last; month = monthAround(month.firstDay + month.daysInMonth)) {
    if (!months.includes(month.month) || (years !== null && !years.includes(month.year))) continue;
    for (let day = Math.max(from - month.firstDay, 0) + 1; day <= month.daysInMonth; day += 1) {
      if (matchesDay(calendarDay(month, day))) return month.firstDay + day - 1;
    }
  }
  return null;
}

interface CalendarMonth {
  readonly year: number;
  readonly month: number;
  readonly firstDay: number;
  readonly daysInMonth: number;
}

function monthAround(dayNumber: number): CalendarMonth {
  const date = new Date(dayNumber * daySeconds * secondMs);
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth() + 1;
  const firstDay = firstDayOf(year, month);
  return { year, month, firstDay, daysInMonth: firstDayOf(year, month + 1) - firstDay };
}

function calendarDay({ year, month, firstDay, daysInMonth }: CalendarMonth, day: number): CalendarDay {
  const number = firstDay + day - 1;
  // Day 0, 1970-01-01, was a Thursday.
  const weekday = (((number + 3) % 7) + 7) % 7;
  return { year, month, day, weekday, daysInMonth, week: () => isoWeek(number - weekday + 3) };
}

/** A week belongs to the year of its Thursday (ISO 8601). */
function isoWeek(thursday: number): number {
  const { year } = monthAround(thursday);
  return Math.floor((thursday - firstDayOf(year, 1)) / 7) + 1;
}

/** Month 13 is the next January. */
function firstDayOf(year: number, month: number): number {
  // Date.UTC would take the years 0 to 99 for 1900 to 1999.
  return new Date(0).setUTCFullYear(year, month - 1, 1) / (daySeconds * secondMs);
}
