// Owns APScheduler's dialect of cron (APScheduler 3, user guide, cron trigger): eight fields of which all must match.

import { type FieldRule, monthNames, readField, weekdayNames } from "./cron-field.ts";
import type { CalendarDay, CronFields, CronPattern } from "./cron-pattern.ts";

export const yearMin = 1970;
export const yearMax = 9999;

/** From the coarsest to the finest. */
export const cronFieldNames = ["year", "month", "day", "week", "dayOfWeek", "hour", "minute", "second"] as const;
type FieldName = (typeof cronFieldNames)[number];

const rules: Readonly<Record<FieldName, FieldRule>> = {
  year: { min: yearMin, max: yearMax },
  month: { min: 1, max: 12, names: monthNames },
  day: { min: 1, max: 31 },
  week: { min: 1, max: 53 },
  dayOfWeek: { min: 0, max: 6, names: weekdayNames },
  hour: { min: 0, max: 23 },
  minute: { min: 0, max: 59 },
  second: { min: 0, max: 59 },
};

/** One fault of `fields`. The message is a sentence's end. */
export interface FieldFault {
  readonly field: FieldName;
  readonly message: string;
}

/** Reads fields, or finds all that is wrong with them. Those left out are filled in by the finest one given. */
export function readApschedulerFields(fields: CronFields): CronPattern | FieldFault[] {
  const finest = cronFieldNames.findLastIndex((name) => fields[name] !== undefined);
  const faults: FieldFault[] = [];
  const texts = cronFieldNames.map((name, index) => fields[name] ?? defaultOf(name, index < finest));
  const read = (name: FieldName, text: string) => {
    const { values, faults: messages } = readField(text, rules[name]);
    faults.push(...messages.map((message) => ({ field: name, message })));
    return values;
  };
  const [yearText = "*", monthText = "*", dayText = "*", ...others] = texts;
  const years = yearText === "*" ? null : read("year", yearText);
  const months = read("month", monthText);
  const days = readDays(dayText);
  faults.push(...days.faults.map((message): FieldFault => ({ field: "day", message })));
  const [weeks = [], weekdays = [], hours = [], minutes = [], seconds = []] = cronFieldNames
    .slice(3)
    .map((name, index) => read(name, others[index] ?? "*"));
  if (faults.length > 0) return faults;
  const anyWeek = others[0] === "*";
  return {
    years,
    months,
    matchesDay: (date) =>
      weekdays.includes(date.weekday) && days.matches(date) && (anyWeek || weeks.includes(date.week())),
    hours,
    minutes,
    seconds,
    gap: "skip",
    overlap: "both",
  };
}

/** Reads the five fields of APScheduler's `CronTrigger.from_crontab`, or says all that is wrong with them. */
export function readApschedulerExpression(expression: string): CronPattern | string[] {
  const texts = expression.trim().split(/\s+/);
  if (texts.length !== expressionOrder.length) return ["must have five fields: minute, hour, day, month, day of week"];
  const fields: CronFields = Object.fromEntries(expressionOrder.map((name, index) => [name, texts[index]]));
  const read = readApschedulerFields(fields);
  return Array.isArray(read) ? read.map(({ field, message }) => `${field}: ${message}`) : read;
}

const expressionOrder = ["minute", "hour", "day", "month", "dayOfWeek"] as const;

function defaultOf(name: FieldName, isCoarser: boolean): string {
  return isCoarser || name === "week" || name === "dayOfWeek" ? "*" : String(rules[name].min);
}

const ordinals = ["1st", "2nd", "3rd", "4th", "5th"] as const;
const weekdayOfMonth = /^(1st|2nd|3rd|4th|5th|last)\s+([a-z]+)$/i;

/** The field `day` also takes `last`, `2nd fri` and `last fri`. */
function readDays(text: string): { matches: (date: CalendarDay) => boolean; faults: readonly string[] } {
  const tests: ((date: CalendarDay) => boolean)[] = [];
  const faults: string[] = [];
  const numeric: string[] = [];
  for (const part of text.split(",").map((item) => item.trim())) {
    const match = weekdayOfMonth.exec(part);
    if (part.toLowerCase() === "last") tests.push(({ day, daysInMonth }) => day === daysInMonth);
    else if (match === null) numeric.push(part);
    else {
      const weekday = (weekdayNames as readonly string[]).indexOf((match[2] ?? "").toLowerCase());
      if (weekday < 0) faults.push(`${JSON.stringify(match[2])} is none of ${weekdayNames.join(", ")}`);
      const week = (ordinals as readonly string[]).indexOf((match[1] ?? "").toLowerCase());
      tests.push((date) => date.weekday === weekday && (week < 0 ? isLastSeven(date) : weekOfMonth(date) === week));
    }
  }
  if (numeric.length > 0) {
    const read = readField(numeric.join(","), rules.day);
    faults.push(...read.faults);
    tests.push(({ day }) => read.values.includes(day));
  }
  return { matches: (date) => tests.some((test) => test(date)), faults };
}

function isLastSeven({ day, daysInMonth }: CalendarDay): boolean {
  return day + 7 > daysInMonth;
}

function weekOfMonth({ day }: CalendarDay): number {
  return Math.floor((day - 1) / 7);
}
