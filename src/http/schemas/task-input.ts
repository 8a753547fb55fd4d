// Owns what a task may be made of: the body of POST /v1/tasks, each item of a batch, and the body of PATCH. All faults are found at once.

import { z } from "zod";
import "zod-openapi";
import { formatDuration } from "../../task/duration.ts";
import { builtInDefaults } from "../../task/queue.ts";
import { httpMethods, type RetryPolicy } from "../../task/task.ts";
import * as limits from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { resolveLocal, type WrittenTime } from "../times.ts";
import {
  durationField,
  durationOr,
  evenWithFaults,
  labelsField,
  taskQueueName,
  stringMap,
  taskKey,
  timeField,
  timeRead,
  timezoneField,
  wholeNumber,
} from "./fields.ts";

/** What the schemas ask of the rest: the sender's own rules for URLs and headers, and Postgres's time. */
export type TaskRules = Pick<ApiParts, "checkUrl" | "checkHeaders" | "clock">;

const { retry: retryDefaults } = builtInDefaults;

const timeoutLimits = { minMs: limits.timeoutMinMs, maxMs: limits.timeoutMaxMs };
const timeoutWords = "Of one attempt, from connecting to the last byte of the answer.";
const retryDelay = { minMs: 0, maxMs: limits.retryDelayMaxMs };

/** Left out, a field of `retry` is Lapse's own. */
const retryField = z
  .strictObject({
    maxAttempts: wholeNumber(limits.attemptsMin, limits.attemptsMax).default(retryDefaults.maxAttempts).meta({
      description: "Attempts in all, the first one too.",
    }),
    backoff: z.enum(["exponential", "fixed"]).default(retryDefaults.backoff),
    minDelay: durationOr(retryDefaults.minDelayMs, retryDelay, "The wait before the second attempt."),
    maxDelay: durationOr(retryDefaults.maxDelayMs, retryDelay, "No wait is longer."),
    factor: z.number().min(limits.retryFactorMin).max(limits.retryFactorMax).default(retryDefaults.factor).meta({
      description: "What each wait is multiplied by to get the next.",
    }),
    jitter: z.number().min(0).max(limits.retryJitterMax).default(retryDefaults.jitter).meta({
      description: "The share of each wait that is left to chance.",
    }),
  })
  .transform(({ minDelay, maxDelay, ...rest }, context): RetryPolicy => {
    if (minDelay > maxDelay) {
      const message = `must not be more than maxDelay (${formatDuration(maxDelay)})`;
      context.addIssue({ code: "custom", path: ["minDelay"], message });
    }
    return { ...rest, minDelayMs: minDelay, maxDelayMs: maxDelay };
  })
  .meta({
    id: "RetryInput",
    description: "Fields left out take their defaults. minDelay must not be more than maxDelay.",
  });

/** What a queue may say of its tasks where they are silent. */
export const defaultedFields = {
  retry: retryField,
  timeout: durationField(timeoutLimits, timeoutWords),
  misfireGrace: durationField(
    { minMs: limits.misfireGraceMinMs, maxMs: limits.misfireGraceMaxMs },
    "Found later than this after its due time, the task is `missed` and not fired.",
  ),
};

/** RFC 9110 section 8.3: type/subtype, then parameters; only visible ASCII, spaces and tabs. */
const contentTypeForm = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+\/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*;[\t\x20-\x7e]*)?$/;

/** Where a webhook goes. */
export function urlField(rules: Pick<TaskRules, "checkUrl">) {
  return z
    .string()
    .min(1)
    .max(limits.urlCharsMax)
    .superRefine((text, context) => {
      const fault = rules.checkUrl(text);
      if (fault !== null) context.addIssue({ code: "custom", message: fault });
    })
    .meta({ description: "The http or https URL that is called.", example: "https://shop.example/hooks/cancel-order" });
}

function definitionFields(rules: TaskRules) {
  const url = urlField(rules);
  const headers = stringMap((map) =>
    rules.checkHeaders(map).map(({ name, message }) => ({ path: [name], message })),
  ).meta({
    description:
      "Sent with the call. Hop-by-hop headers, `host`, `content-length`, `webhook-*` and `lapse-*` are refused.",
    override: { type: "object", additionalProperties: { type: "string" } },
    example: { "x-shop": "main" },
  });
  return {
    url,
    dueAt: timeField(
      "When it is due: RFC 3339 with an offset, or a local time of `timezone`. In the past means now.",
    ).optional(),
    delay: durationField(
      { minMs: 0, maxMs: limits.dueAheadMaxMs },
      "How long from receipt it is due; instead of `dueAt`.",
    ).optional(),
    timezone: timezoneField.optional(),
    headers,
    payload: z
      .unknown()
      .optional()
      .meta({
        description:
          "Any JSON value, sent as it was written: numbers keep every digit, members their order. Up to 256 KiB. NUL and lone surrogates are refused.",
        example: { orderId: 1042 },
      }),
    body: z
      .string()
      .optional()
      .meta({ description: "A raw string, instead of `payload`; up to 256 KiB. Needs `contentType`." }),
    contentType: z
      .string()
      .max(limits.contentTypeCharsMax)
      .regex(contentTypeForm, { error: "must be a media type, such as text/plain; charset=utf-8" })
      .optional()
      .meta({ description: "Of `body`.", example: "text/plain; charset=utf-8" }),
    labels: labelsField({ emptyAllowed: true, description: "For filtering and bulk calls." }),
  };
}

/** What a new task has, and so has a schedule, but for when it is due and what a conflict means. */
export function newTaskFields(rules: TaskRules) {
  const { dueAt: _dueAt, delay: _delay, timezone: _timezone, ...fields } = definitionFields(rules);
  return {
    ...fields,
    queue: taskQueueName.default("default"),
    key: taskKey.nullable().default(null).meta({ description: "Unique among the live tasks of the queue." }),
    method: z.enum(httpMethods).default("POST"),
    headers: fields.headers.default({}),
    timeout: defaultedFields.timeout.optional(),
    retry: defaultedFields.retry.optional(),
    misfireGrace: defaultedFields.misfireGrace.nullable().optional(),
    delivery: z.enum(["at-least-once", "at-most-once"]).default("at-least-once").meta({
      description: "`at-most-once`: only an attempt that never left is tried again.",
    }),
    maxReschedules: wholeNumber(0, limits.reschedulesMax).nullable().default(null).meta({
      description: "How often the receiver may reschedule; one more ends the task `failed`.",
    }),
    labels: fields.labels.default({}),
  };
}

/** The schemas of a task's fields; made once, with the rules that the sender brings. */
export function createTaskSchemas(rules: TaskRules) {
  const fields = definitionFields(rules);
  const newTask = z
    .strictObject({
      ...fields,
      ...newTaskFields(rules),
      onConflict: z.enum(["reject", "keep", "replace"]).default("reject").meta({
        description:
          "What a live task with the same key means. `reject`: 409, but the very same request again is 200 with the first task. `keep`: 200 with the task that stands. `replace`: the standing task takes the new definition and due time; a running one is refused.",
      }),
    })
    .superRefine((input, context) => acrossFields(input, context, rules), evenWithFaults)
    .meta({
      id: "NewTask",
      description: `Left out, timeout, retry and misfireGrace are the queue's; where it has none, ${formatDuration(builtInDefaults.timeoutMs)}, RetryInput's defaults, and none: fire however late.`,
    });
  const taskChanges = z
    .strictObject({
      ...fields,
      url: fields.url.optional(),
      headers: fields.headers.optional(),
      timeout: defaultedFields.timeout.optional(),
      retry: defaultedFields.retry.optional(),
      labels: fields.labels.optional(),
    })
    .superRefine((input, context) => {
      acrossFields(input, context, rules);
      if (Object.keys(input).length === 0)
        context.addIssue({ code: "custom", message: "must change at least one field" });
    }, evenWithFaults)
    .meta({
      id: "TaskChanges",
      description: "Each field given takes the place of the standing one as a whole, `retry` and `headers` too.",
    });
  return { newTask, taskChanges };
}

export type TaskSchemas = ReturnType<typeof createTaskSchemas>;
export type NewTaskInput = z.output<TaskSchemas["newTask"]>;
export type TaskChangesInput = z.output<TaskSchemas["taskChanges"]>;

/** A field with a fault of its own may hold anything: of most only the presence counts. */
interface AcrossInput {
  readonly dueAt?: WrittenTime | undefined;
  readonly delay?: unknown;
  readonly timezone?: string | undefined;
  readonly payload?: unknown;
  readonly body?: unknown;
  readonly contentType?: unknown;
}

type BodyInput = Pick<AcrossInput, "payload" | "body" | "contentType">;

/** What no field can see alone. */
function acrossFields(input: AcrossInput, context: z.core.$RefinementCtx, rules: TaskRules): void {
  const fault = (field: keyof AcrossInput, message: string) =>
    context.addIssue({ code: "custom", path: [field], message });
  if (input.dueAt !== undefined && input.delay !== undefined) fault("delay", "must not be given together with dueAt");
  checkDueAt(input, timeRead(input, "dueAt", context), { fault, rules });
  acrossBody(input, context);
}

/** A payload, or a raw body with its type, or neither. */
export function acrossBody(input: BodyInput, context: z.core.$RefinementCtx): void {
  const fault = (field: keyof BodyInput, message: string) =>
    context.addIssue({ code: "custom", path: [field], message });
  if (input.payload !== undefined && input.body !== undefined) fault("body", "must not be given together with payload");
  if (input.body !== undefined && input.contentType === undefined) fault("contentType", "is required with body");
  if (input.body === undefined && input.contentType !== undefined) fault("contentType", "is allowed only with body");
}

function checkDueAt(
  { dueAt, timezone }: AcrossInput,
  written: WrittenTime | null,
  { fault, rules }: { fault: (field: keyof AcrossInput, message: string) => void; rules: TaskRules },
): void {
  if (timezone !== undefined && (dueAt === undefined || written?.kind === "instant")) {
    fault("timezone", "is allowed only with a dueAt in local time, without an offset");
  }
  const resolved = written?.kind === "local" ? resolveLocal(written.time, zoneOf(timezone)) : written;
  if (resolved === null) return;
  if ("error" in resolved) fault("dueAt", resolved.error);
  else if (resolved.at - rules.clock.now() > limits.dueAheadMaxMs) fault("dueAt", "must be at most 10 years ahead");
}

/** A zone that is no zone has its own fault already; the rest of the time is then looked at in UTC. */
function zoneOf(timezone: string | undefined): string {
  return timezone !== undefined && timezoneField.safeParse(timezone).success ? timezone : "UTC";
}
