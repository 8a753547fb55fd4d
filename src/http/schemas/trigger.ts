// Owns how callers write triggers: the three forms, each checked whole, so that all faults are told at once, and read to what is stored.

import { z } from "zod";
import "zod-openapi";
import { cronFieldNames } from "../../trigger/apscheduler.ts";
import { type CronTrigger, cronDialects, gapRules, overlapRules, readPattern } from "../../trigger/cron.ts";
import type { CronFields } from "../../trigger/cron-pattern.ts";
import { nextOccurrence, type Trigger } from "../../trigger/trigger.ts";
import * as limits from "../limits.ts";
import { instantMax, resolveLocal, type WrittenTime } from "../times.ts";
import { durationField, evenWithFaults, timeField, timeRead, timezoneField } from "./fields.ts";
import type { TaskRules } from "./task-input.ts";

type TriggerRules = Pick<TaskRules, "clock">;

const zone = timezoneField.default("UTC").meta({
  description: "The IANA time zone of the pattern, and of times that are written without an offset.",
  example: "Asia/Shanghai",
});
const bound = (description: string) => timeField(description).nullable().default(null);
const bounds = {
  startAt: bound("The first instant that may be an occurrence; RFC 3339, or a local time of `timezone`."),
  endAt: bound("The last instant that may be an occurrence."),
  timezone: zone,
};

const pattern = z.string().max(limits.cronTextCharsMax);
const fieldPattern = z
  .union([pattern, z.number().transform(String)], { error: "must be a string, such as mon-fri" })
  .meta({ override: { type: "string", maxLength: limits.cronTextCharsMax } });

const cronForm = z
  .strictObject({
    type: z.literal("cron"),
    expression: pattern.optional().meta({
      description:
        "crontab's: five fields, or six with seconds first, or @hourly @daily @weekly @monthly @yearly. With dialect `apscheduler`, the five of its from_crontab.",
      example: "30 5 * * mon-fri",
    }),
    fields: z
      .strictObject(
        Object.fromEntries(cronFieldNames.map((name) => [name, fieldPattern.optional()])) as Record<
          (typeof cronFieldNames)[number],
          z.ZodOptional<typeof fieldPattern>
        >,
      )
      .optional()
      .meta({
        description: "APScheduler's, instead of `expression`; all must match.",
        example: { dayOfWeek: "mon-fri", hour: "5", minute: "30" },
      }),
    dialect: z.enum(cronDialects).optional().meta({
      description: "Of `expression`; `crontab` where it is left out. `fields` are always APScheduler's.",
    }),
    gap: z.enum(gapRules).optional().meta({
      description:
        "A time that the clocks skip: `skip` it, or `shift` it to the gap's end, once. Left out: crontab shifts where its hour is fixed, else skip.",
    }),
    overlap: z.enum(overlapRules).optional().meta({
      description:
        "A time that the clocks show twice: at its `first` pass or at `both`. Left out: crontab's first where its hour is fixed, else both.",
    }),
    ...bounds,
  })
  .superRefine((input, context) => {
    checkPattern(input, context);
    checkTimes(input, context);
  }, evenWithFaults);

const intervalForm = z
  .strictObject({
    type: z.literal("interval"),
    every: durationField(
      { minMs: limits.intervalMinMs, maxMs: limits.intervalMaxMs },
      "Of elapsed time, counted from `startAt`, or where that is left out from one interval after creation.",
    ),
    ...bounds,
  })
  .superRefine(checkTimes, evenWithFaults);

const dateForm = z
  .strictObject({
    type: z.literal("date"),
    at: timeField("The one occurrence: RFC 3339, or a local time of `timezone`."),
    timezone: zone,
  })
  .superRefine(checkTimes, evenWithFaults);

/** A trigger for a schedule: one with no occurrence in the 10 years from now is refused. */
export function createTriggerField(rules: TriggerRules) {
  return triggerForm(rules)
    .superRefine((trigger, context) => {
      const fault = reachFault(trigger, rules.clock.now());
      if (fault !== null) context.addIssue({ code: "custom", message: fault });
    })
    .meta({ id: "NewTrigger", description: "It must have an occurrence in the next 10 years." });
}

/** A trigger as such; whether it occurs soon enough, `reachFault` says. */
export function createPreviewTriggerField(rules: TriggerRules) {
  return triggerForm(rules).meta({ id: "Trigger" });
}

function triggerForm(rules: TriggerRules) {
  return z
    .discriminatedUnion("type", [cronForm, intervalForm, dateForm], {
      error: (issue) => (issue.code === "invalid_union" ? 'must be "cron" or "interval" or "date"' : undefined),
    })
    .transform((input): Trigger => read(input, Math.ceil(rules.clock.now())));
}

/** What is wrong with a trigger whose next occurrence is too far off, or null. */
export function reachFault(trigger: Trigger, afterMs: number): string | null {
  const next = nextOccurrence(trigger, afterMs);
  return next === null || next > Math.min(afterMs + limits.occurrenceAheadMaxMs, instantMax)
    ? `has no occurrence in the 10 years after ${new Date(afterMs).toISOString()}`
    : null;
}

type Form = z.output<typeof cronForm> | z.output<typeof intervalForm> | z.output<typeof dateForm>;

function read(input: Form, now: number): Trigger {
  const { timezone } = input;
  if (input.type === "date") return { type: "date", at: instantOf(input.at, timezone), timezone };
  const startAt = input.startAt === null ? null : instantOf(input.startAt, timezone);
  const endAt = input.endAt === null ? null : instantOf(input.endAt, timezone);
  if (input.type === "interval")
    return {
      type: "interval",
      everyMs: input.every,
      startAt: startAt ?? Math.ceil(now) + input.every,
      endAt,
      timezone,
    };
  const { gap, overlap } = input;
  const choices = { ...(gap === undefined ? {} : { gap }), ...(overlap === undefined ? {} : { overlap }) };
  return { type: "cron", ...sourceOf(input), ...choices, timezone, startAt, endAt };
}

type PatternInput = Pick<z.output<typeof cronForm>, "expression" | "fields" | "dialect">;

function sourceOf({
  expression,
  fields,
  dialect,
}: PatternInput): Pick<CronTrigger, "dialect" | "expression" | "fields"> {
  if (expression !== undefined) return { dialect: dialect ?? "crontab", expression };
  const given = Object.entries(fields ?? {}).filter(([, text]) => text !== undefined);
  return { dialect: "apscheduler", fields: Object.fromEntries(given) as CronFields };
}

function checkPattern(input: PatternInput, context: z.core.$RefinementCtx): void {
  const fault = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
  const { expression, fields, dialect } = input;
  if (expression === undefined && fields === undefined) return fault([], "must have an expression or fields");
  if (expression !== undefined && fields !== undefined) fault(["fields"], "must not be given together with expression");
  if (fields !== undefined && dialect === "crontab") fault(["dialect"], "must be apscheduler with fields");
  if (typeof expression === "string") checkSource({ expression, dialect }, ["expression"], fault);
  if (typeof fields !== "object" || fields === null) return;
  if (Object.keys(fields).length === 0) fault(["fields"], "must have at least one field");
  checkSource({ fields }, ["fields"], fault);
}

type AddFault = (path: string[], message: string) => void;

/** What has a fault of its own already is left out: it may be anything. */
function checkSource(source: Partial<PatternInput>, path: string[], fault: AddFault): void {
  const { expression, dialect } = source;
  if (expression !== undefined && expression.length > limits.cronTextCharsMax) return;
  const texts = Object.entries(source.fields ?? {}).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string" && entry[1].length <= limits.cronTextCharsMax,
  );
  const known = Object.fromEntries(texts.filter(([name]) => (cronFieldNames as readonly string[]).includes(name)));
  const readIn = readPattern(
    expression === undefined
      ? { dialect: "apscheduler", fields: known }
      : { dialect: dialect === "apscheduler" ? dialect : "crontab", expression },
  );
  if (!("faults" in readIn)) return;
  for (const { field, message } of readIn.faults) fault(field === null ? path : [...path, field], message);
}

interface TimesInput {
  readonly at?: WrittenTime;
  readonly startAt?: WrittenTime | null;
  readonly endAt?: WrittenTime | null;
  readonly timezone: string;
}

function checkTimes(input: TimesInput, context: z.core.$RefinementCtx): void {
  for (const field of ["at", "startAt", "endAt"] as const) {
    const written = timeRead(input, field, context);
    if (written?.kind !== "local" || !timezoneField.safeParse(input.timezone).success) continue;
    const resolved = resolveLocal(written.time, input.timezone);
    if ("error" in resolved) context.addIssue({ code: "custom", path: [field], message: resolved.error });
  }
}

function instantOf(time: WrittenTime, timezone: string): number {
  if (time.kind === "instant") return time.at;
  const resolved = resolveLocal(time.time, timezone);
  if ("error" in resolved) throw new Error(resolved.error);
  return resolved.at;
}
