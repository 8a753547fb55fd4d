// Owns crontab's dialect of cron (crontab(5)): five fields, or six with seconds first, and the @ names.

import { type FieldRule, monthNames, readField } from "./cron-field.ts";
import type { CronPattern } from "./cron-pattern.ts";

/** What the @ names stand for. */
const nicknames: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

const rules = {
  second: { min: 0, max: 59 },
  minute: { min: 0, max: 59 },
  hour: { min: 0, max: 23 },
  dayOfMonth: { min: 1, max: 31 },
  month: { min: 1, max: 12, names: monthNames },
  dayOfWeek: {
    min: 0,
    max: 7,
    openMax: 6,
    names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    rangeEnds: { sun: 7 },
  },
} satisfies Record<string, FieldRule>;
const fieldOrder = ["second", "minute", "hour", "dayOfMonth", "month", "dayOfWeek"] as const;

/** Reads an expression, or says all that is wrong with it. */
export function readCrontab(expression: string): CronPattern | string[] {
  const text = expression.trim();
  if (text.startsWith("@")) {
    const meaning = nicknames[text.toLowerCase()];
    return meaning === undefined
      ? [`${JSON.stringify(text)} is none of ${Object.keys(nicknames).join(", ")}`]
      : readCrontab(meaning);
  }
  const texts = text.split(/\s+/);
  if (text === "" || texts.length < 5 || texts.length > 6)
    return ["must have five fields (minute, hour, day of month, month, day of week), or six with the seconds first"];
  if (texts.length === 5) texts.unshift("0");
  const faults: string[] = [];
  const [seconds = [], minutes = [], hours = [], daysOfMonth = [], months = [], daysOfWeek = []] = fieldOrder.map(
    (name, index) => {
      const read = readField(texts[index] ?? "", rules[name]);
      faults.push(...read.faults.map((fault) => `${fieldWords[name]}: ${fault}`));
      return read.values;
    },
  );
  if (faults.length > 0) return faults;
  const weekdays = new Set(daysOfWeek.map((sundayIsZero) => (sundayIsZero + 6) % 7));
  // crontab(5): days match if either field does, where both are restricted.
  const either = texts[3] !== "*" && texts[5] !== "*";
  // cron(8) of Vixie: only jobs of a fixed hour are moved out of a gap, and kept from running twice in an overlap.
  const hourIsFixed = !/[*/]/.test(texts[2] ?? "");
  return {
    years: null,
    months,
    matchesDay: ({ day, weekday }) =>
      either ? daysOfMonth.includes(day) || weekdays.has(weekday) : daysOfMonth.includes(day) && weekdays.has(weekday),
    hours,
    minutes,
    seconds,
    gap: hourIsFixed ? "shift" : "skip",
    overlap: hourIsFixed ? "first" : "both",
  };
}

const fieldWords: Readonly<Record<(typeof fieldOrder)[number], string>> = {
  second: "second",
  minute: "minute",
  hour: "hour",
  dayOfMonth: "day of month",
  month: "month",
  dayOfWeek: "day of week",
};
