// Owns random cron triggers: each as the text that Lapse reads, and taken apart for the oracle.

import fc from "fast-check";
import type { CronTrigger } from "../../src/trigger/cron.ts";
import type { DayItem, Field, Item, Pattern } from "./oracle.ts";

export interface RandomCron {
  readonly written: Pick<CronTrigger, "dialect" | "expression" | "fields" | "gap" | "overlap">;
  readonly pattern: Pattern;
}

interface FieldText<T = Field> {
  readonly text: string;
  readonly field: T;
}

interface Range {
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/** A number, or sometimes its name, in any case. */
function numberText({ min, names }: Range, value: number) {
  const name = names?.[value - min];
  return name === undefined
    ? fc.constantFrom(String(value), String(value).padStart(2, "0"))
    : fc.constantFrom(String(value), name, name.toUpperCase());
}

function item(range: Range): fc.Arbitrary<{ text: string; item: Item }> {
  const { min, max } = range;
  const value = fc.integer({ min, max });
  const step = fc.integer({ min: 1, max });
  const pair = fc.tuple(value, value).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
  const rangeText = pair.chain(([from, to]) =>
    fc.tuple(numberText(range, from), numberText(range, to)).map(([a, b]) => ({ text: `${a}-${b}`, from, to })),
  );
  return fc.oneof(
    value.chain((from) => numberText(range, from).map((text) => ({ text, item: { from, to: from, step: 1 } }))),
    rangeText.map(({ text, from, to }) => ({ text, item: { from, to, step: 1 } })),
    fc.tuple(rangeText, step).map(([{ text, from, to }, n]) => ({ text: `${text}/${n}`, item: { from, to, step: n } })),
    fc.tuple(value, step).map(([from, n]) => ({ text: `${from}/${n}`, item: { from, to: null, step: n } })),
    step.map((n) => ({ text: `*/${n}`, item: { from: null, to: null, step: n } })),
  );
}

const star = fc.constant({ text: "*", field: null });

function field(range: Range, starWeight: number): fc.Arbitrary<FieldText> {
  const list = fc.array(item(range), { minLength: 1, maxLength: 3 }).map((items) => ({
    text: items.map(({ text }) => text).join(","),
    field: items.map((each) => each.item),
  }));
  return fc.oneof({ weight: starWeight, arbitrary: star }, { weight: 2, arbitrary: list });
}

const dayOfMonth = { min: 1, max: 31 };
const ordinals = ["1st", "2nd", "3rd", "4th", "5th"];

/** APScheduler's field `day`. */
const apschedulerDay: fc.Arbitrary<FieldText<Pattern["day"]>> = fc.oneof(
  { weight: 5, arbitrary: star },
  {
    weight: 3,
    arbitrary: fc
      .array(
        fc.oneof(
          item(dayOfMonth).map((each): { text: string; item: DayItem } => each),
          fc.constant<{ text: string; item: DayItem }>({ text: "last", item: "last" }),
          fc
            .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 6 }))
            .map(([nth, weekday]): { text: string; item: DayItem } => ({
              text: `${ordinals[nth - 1] ?? "last"} ${weekdays[weekday]}`,
              item: { nth: nth === 6 ? "last" : nth, weekday },
            })),
        ),
        { minLength: 1, maxLength: 3 },
      )
      .map((items) => ({ text: items.map(({ text }) => text).join(","), field: items.map((each) => each.item) })),
  },
);

const choices = fc.record(
  {
    gap: fc.constantFrom("skip" as const, "shift" as const),
    overlap: fc.constantFrom("first" as const, "both" as const),
  },
  { requiredKeys: [] },
);

const monthRange = { min: 1, max: 12, names: months };
const hourRange = { min: 0, max: 23 };
const sixty = { min: 0, max: 59 };

/** crontab counts from Sunday = 0, and its 7 is Sunday too: values stay below 7 here, and are moved to the oracle's counting. */
const crontabWeekday = field({ min: 0, max: 6, names: ["sun", ...weekdays.slice(0, 6)] }, 3).filter(
  // A range that ends on the name of Sunday ends on 7.
  ({ text }) => !/-sun/i.test(text),
);

export const randomCrontab: fc.Arbitrary<RandomCron> = fc
  .record({
    second: fc.option(field(sixty, 1)),
    minute: field(sixty, 2),
    hour: field(hourRange, 2),
    day: field(dayOfMonth, 4),
    month: field(monthRange, 12),
    weekday: crontabWeekday,
    choices,
  })
  .map(({ second, minute, hour, day, month, weekday, choices: chosen }) => {
    const texts = [minute, hour, day, month, weekday].map(({ text }) => text);
    const expression = (second === null ? texts : [second.text, ...texts]).join(" ");
    const fixed = !hour.text.includes("*") && !hour.text.includes("/");
    return {
      written: { dialect: "crontab", expression, ...chosen },
      pattern: {
        year: null,
        month: month.field,
        day: day.field,
        week: null,
        dayOfWeek: weekday.field === null ? null : fromSundays(weekday.field),
        hour: hour.field,
        minute: minute.field,
        second: second === null ? exactly(0) : second.field,
        either: true,
        gap: fixed ? "shift" : "skip",
        overlap: fixed ? "first" : "both",
        ...chosen,
      },
    };
  });

function fromSundays(items: readonly Item[]): Field {
  const sundayFirst = [0, 1, 2, 3, 4, 5, 6].filter((value) =>
    items.some(
      ({ from, to, step }) => value >= (from ?? 0) && value <= (to ?? 6) && (value - (from ?? 0)) % step === 0,
    ),
  );
  return sundayFirst.flatMap((value) => exactly(value === 0 ? 6 : value - 1) ?? []);
}

function exactly(value: number): Field {
  return [{ from: value, to: value, step: 1 }];
}

const names = ["year", "month", "day", "week", "dayOfWeek", "hour", "minute", "second"] as const;
const leasts = { year: 1970, month: 1, day: 1, week: 1, dayOfWeek: 0, hour: 0, minute: 0, second: 0 };

export const randomApscheduler: fc.Arbitrary<RandomCron> = fc
  .tuple(
    fc.record(
      {
        year: field({ min: 1970, max: 2060 }, 12),
        month: field(monthRange, 12),
        day: apschedulerDay,
        week: field({ min: 1, max: 53 }, 12),
        dayOfWeek: field({ min: 0, max: 6, names: weekdays }, 4),
        hour: field(hourRange, 2),
        minute: field(sixty, 2),
        second: field(sixty, 1),
      },
      { requiredKeys: [] },
    ),
    choices,
  )
  .filter(([fields]) => Object.keys(fields).length > 0)
  .map(([fields, chosen]) => {
    const finest = Math.max(...names.map((name, index) => (fields[name] === undefined ? -1 : index)));
    const pattern = { either: false, gap: "skip", overlap: "both", ...chosen } as Record<string, unknown>;
    for (const [index, name] of names.entries()) {
      const free = index < finest || name === "week" || name === "dayOfWeek";
      pattern[name] = fields[name] === undefined ? (free ? null : exactly(leasts[name])) : fields[name].field;
    }
    const texts = Object.fromEntries(
      names.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name].text]])),
    );
    return { written: { dialect: "apscheduler", fields: texts, ...chosen }, pattern: pattern as unknown as Pattern };
  });
