// Owns the fields that several requests share, each a zod schema that reads it, checks its limits and describes it for OpenAPI.

import { z } from "zod";
import "zod-openapi";
import { isOwnQueue, ownQueuePrefix } from "../../task/event.ts";
import { formatDuration, parseDuration } from "../../task/duration.ts";
import { keyCharsMax, labelNameCharsMax, labelsCountMax, labelValueCharsMax, queueCharsMax } from "../limits.ts";
import { isTimeZone, parseTime, type WrittenTime } from "../times.ts";

const exampleDurationMs = 1_800_000;

/** Reads a duration to whole ms within the limits, both included. A number is refused with a hint, since it has no unit. */
export function durationField(limits: { minMs: number; maxMs: number }, description: string) {
  const error = (issue: { input?: unknown }) =>
    typeof issue.input === "number"
      ? `needs a unit, as a string: a bare number could mean seconds or milliseconds (write "${issue.input}s" or "${issue.input}ms")`
      : undefined;
  return z
    .string({ error })
    .transform((text, context) => {
      const read = parseDuration(text, limits);
      if ("ms" in read) return read.ms;
      context.addIssue({ code: "custom", message: read.error });
      return z.NEVER;
    })
    .meta({
      description: `${description} From ${formatDuration(limits.minMs)} to ${formatDuration(limits.maxMs)}.`,
      override: { type: "string" },
      example: limits.maxMs < exampleDurationMs ? formatDuration(limits.maxMs) : "30m",
    });
}

/** Runs a check over an object also where its fields have faults, so that all faults are told at once. */
export const evenWithFaults = { when: ({ value }: { value: unknown }) => typeof value === "object" && value !== null };

/** A duration that may be left out; OpenAPI shows the default as it is written. */
export function durationOr(defaultMs: number, limits: { minMs: number; maxMs: number }, description: string) {
  return durationField(limits, description)
    .default(defaultMs)
    .meta({ override: { type: "string", default: formatDuration(defaultMs) } });
}

/** A whole number. Not zod's own: a fault in one of those keeps checks across fields from running. */
export function wholeNumber(min: number, max: number) {
  return z
    .number()
    .refine(Number.isInteger, { error: "must be a whole number" })
    .min(min)
    .max(max)
    .meta({ override: { type: "integer" } });
}

/** Reads a time to an instant, or to a local time that waits for its zone. */
export function timeField(description: string) {
  return z
    .string()
    .transform((text, context): WrittenTime => {
      const read = parseTime(text);
      if ("time" in read) return read.time;
      context.addIssue({ code: "custom", message: read.error });
      return z.NEVER;
    })
    .meta({ description, override: { type: "string" }, example: "2026-11-21T10:30:00+08:00" });
}

/** What such a field was read to, for a check that also runs where fields have faults: null where it was left out or has one. */
export function timeRead<Name extends string>(
  input: { readonly [name in Name]?: WrittenTime | null | undefined },
  name: Name,
  { issues }: z.core.$RefinementCtx,
): WrittenTime | null {
  return issues.some(({ path }) => path?.[0] === name) ? null : (input[name] ?? null);
}

export const timezoneField = z
  .string()
  .refine(isTimeZone, { error: "must be a time zone of the IANA database, such as Asia/Shanghai" })
  .meta({
    description: "Only with a local `dueAt`: the IANA time zone it is in. UTC where it is left out.",
    example: "Asia/Shanghai",
  });

export const queueName = z
  .string()
  .min(1)
  .max(queueCharsMax)
  .regex(/^[A-Za-z0-9._:-]*$/, { error: "may have only letters, digits and . _ : -" })
  .meta({ description: "A queue; it comes into being at first use.", example: "default" });

/** A queue that tasks may be put into. */
export const taskQueueName = queueName.refine((name) => !isOwnQueue(name), {
  error: `must not begin with "${ownQueuePrefix}", which is kept for Lapse itself`,
});

/** No control characters, no line separators, no lone surrogates. */
const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/** What is wrong with a task's key, or null. */
export function keyFault(key: string): string | null {
  return nameFault(key, keyCharsMax);
}

/** What is wrong with a name, or null. Characters are counted as code points. */
export function nameFault(name: string, charsMax: number): string | null {
  if (name.length === 0) return "must have at least 1 character";
  if (charCount(name, charsMax) > charsMax) return `must have at most ${charsMax} characters`;
  return unprintable.test(name) ? "may have only printable characters" : null;
}

export const taskKey = z
  .string()
  .superRefine((key, context) => {
    const fault = keyFault(key);
    if (fault !== null) context.addIssue({ code: "custom", message: fault });
  })
  .meta({
    description: "The caller's own name for a task, of printable characters.",
    override: { minLength: 1, maxLength: keyCharsMax },
    example: "order-1042:payment-timeout",
  });

/** Ids are UUIDs; upper case is taken and read as lower. */
const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The id in the store's form, or null where no task can have it. */
export function readId(text: string): string | null {
  return uuidForm.test(text) ? text.toLowerCase() : null;
}

export const idField = z
  .string()
  .refine((text) => uuidForm.test(text), { error: "must be an id (a UUID)" })
  .toLowerCase()
  .meta({ description: "A task's id.", override: { type: "string", format: "uuid" }, example: exampleId() });

/** Labels to store or to match; at most 16, and where `emptyAllowed` is false at least one. */
export function labelsField(options: { emptyAllowed: boolean; description: string }) {
  const map = stringMap((labels) => {
    const names = Object.keys(labels);
    if (names.length > labelsCountMax) return [{ path: [], message: `must have at most ${labelsCountMax} labels` }];
    if (names.length === 0 && !options.emptyAllowed) return [{ path: [], message: "must have at least 1 label" }];
    return Object.entries(labels).flatMap(([name, value]) => labelFault(name, value));
  });
  return map.meta({
    description: options.description,
    override: {
      type: "object",
      additionalProperties: { type: "string", maxLength: labelValueCharsMax },
      propertyNames: { minLength: 1, maxLength: labelNameCharsMax },
      maxProperties: labelsCountMax,
      ...(options.emptyAllowed ? {} : { minProperties: 1 }),
    },
    example: { customer: "c-17" },
  });
}

interface MapFault {
  readonly path: string[];
  readonly message: string;
}

/**
 * An object of strings. Zod's own record drops a member named `__proto__` without a word; here it is a fault, as is any value that is
 * no string. `check` looks at the rest.
 */
export function stringMap(check: (map: Record<string, string>) => readonly MapFault[]) {
  return z.unknown().transform((input, context): Record<string, string> => {
    if (typeof input !== "object" || input === null || Array.isArray(input)) {
      context.addIssue({ code: "custom", message: "must be an object" });
      return z.NEVER;
    }
    const map: Record<string, string> = {};
    for (const [name, value] of Object.entries(input)) {
      if (name === "__proto__") context.addIssue({ code: "custom", path: [name], message: "is not allowed as a name" });
      else if (typeof value !== "string")
        context.addIssue({ code: "custom", path: [name], message: "must be a string" });
      else map[name] = value;
    }
    for (const fault of check(map)) context.addIssue({ code: "custom", ...fault });
    return map;
  });
}

function labelFault(name: string, value: string): MapFault[] {
  const path = [name];
  if (name === "") return [{ path, message: "must have a name" }];
  if (charCount(name, labelNameCharsMax) > labelNameCharsMax) {
    return [{ path, message: `must have a name of at most ${labelNameCharsMax} characters` }];
  }
  if (charCount(value, labelValueCharsMax) > labelValueCharsMax) {
    return [{ path, message: `must have at most ${labelValueCharsMax} characters` }];
  }
  return unprintable.test(name) ? [{ path, message: "must have a name of printable characters" }] : [];
}

/** Code points, counted only where there may be more than `max`: a string has at least half as many of them as code units. */
function charCount(text: string, max: number): number {
  return text.length <= max ? text.length : Array.from(text).length;
}

export function exampleId(): string {
  return "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57";
}
