// Owns the shapes of answers, for the OpenAPI document; render.ts writes them, and a test reads what it wrote by these.

import { z } from "zod";
import "zod-openapi";
import { scheduleStates } from "../../store/schedule.ts";
import { attemptOutcomes, httpMethods, taskStates } from "../../task/task.ts";

export const instantAnswer = z
  .string()
  .meta({ override: { type: "string", format: "date-time" }, example: "2026-11-21T02:30:00.000Z" });
export const duration = z.string().meta({ description: "An ISO 8601 duration.", example: "PT30S" });
const strings = z.record(z.string(), z.string());
const count = z.int().min(0);

export const attemptAnswer = z
  .strictObject({
    number: count,
    startedAt: instantAnswer,
    finishedAt: instantAnswer.nullable(),
    latenessMs: z
      .number()
      .meta({ description: "Of the first attempt from `dueAt`, of later ones from their `nextAttemptAt`." }),
    durationMs: z.number().nullable(),
    outcome: z.enum(attemptOutcomes).nullable().meta({
      description:
        "Null while it runs. `refused`: no connection; `blocked`: the address is not allowed; `lost`: the process that made it died.",
    }),
    status: z.int().min(100).max(599).nullable().meta({ description: "The HTTP status of the answer." }),
    error: z.string().nullable(),
    responseSnippet: z.string().nullable().meta({ description: "Up to 1 KiB of the answer." }),
  })
  .meta({ id: "Attempt" });

export const retryAnswer = z
  .strictObject({
    maxAttempts: count,
    backoff: z.enum(["exponential", "fixed"]),
    minDelay: duration,
    maxDelay: duration,
    factor: z.number(),
    jitter: z.number(),
  })
  .meta({ id: "Retry" });

export const taskAnswer = z
  .strictObject({
    id: z.string().meta({ override: { type: "string", format: "uuid" } }),
    queue: z.string(),
    key: z.string().nullable(),
    state: z.enum(taskStates),
    dueAt: instantAnswer,
    nextAttemptAt: instantAnswer,
    createdAt: instantAnswer,
    updatedAt: instantAnswer,
    finishedAt: instantAnswer.nullable(),
    url: z.string(),
    method: z.enum(httpMethods),
    headers: strings,
    payload: z.unknown().meta({ description: "As it was written, or null where there is none." }),
    body: z.string().optional().meta({ description: "Where the task has a raw body in place of a payload." }),
    contentType: z.string().optional().meta({ description: "Of `body`." }),
    timeout: duration,
    retry: retryAnswer,
    misfireGrace: duration.nullable(),
    delivery: z.enum(["at-least-once", "at-most-once"]),
    maxReschedules: count.nullable(),
    labels: strings,
    scheduleId: z.string().nullable(),
    attempts: count.meta({ description: "Attempts begun; never starts again." }),
    cancelRequested: z.boolean(),
    version: count.meta({ description: "For `If-Match`." }),
    lastAttempt: attemptAnswer.nullable(),
  })
  .meta({ id: "Task" });

export const taskPageAnswer = z
  .strictObject({
    items: z.array(taskAnswer),
    nextCursor: z.string().nullable().meta({ description: "Null on the last page." }),
  })
  .meta({ id: "TaskPage" });

export const attemptsAnswer = z.strictObject({ items: z.array(attemptAnswer) }).meta({ id: "Attempts" });

const { url, method, headers, payload, body, contentType, delivery, maxReschedules, labels } = taskAnswer.shape;

export const scheduleAnswer = z
  .strictObject({
    id: z.string().meta({ override: { type: "string", format: "uuid" } }),
    name: z.string(),
    state: z.enum(scheduleStates).meta({ description: "`ended`: no occurrence follows, or its receiver ended it." }),
    trigger: z
      .looseObject({ type: z.enum(["cron", "interval", "date"]) })
      .meta({ description: "As it was given, with its defaults; times in UTC." }),
    nextOccurrenceAt: instantAnswer.nullable().meta({ description: "Null where it is not active." }),
    previousOccurrenceAt: instantAnswer.nullable(),
    coalesce: z.boolean(),
    maxInstances: count,
    jitter: duration.nullable(),
    queue: z.string(),
    key: z.string().nullable(),
    url,
    method,
    headers,
    payload,
    body,
    contentType,
    timeout: duration.nullable().meta({ description: "Null: the queue's." }),
    retry: retryAnswer.nullable().meta({ description: "Null: the queue's." }),
    misfireGrace: duration.nullable(),
    delivery,
    maxReschedules,
    labels,
    error: z.string().nullable().meta({ description: "Why it was ended by Lapse: it could bring forth no task." }),
    createdAt: instantAnswer,
    updatedAt: instantAnswer,
    version: count.meta({ description: "For `If-Match`." }),
  })
  .meta({ id: "Schedule" });

export const schedulePageAnswer = z
  .strictObject({
    items: z.array(scheduleAnswer),
    nextCursor: z.string().nullable().meta({ description: "Null on the last page." }),
  })
  .meta({ id: "SchedulePage" });

export const previewAnswer = z.strictObject({ occurrences: z.array(instantAnswer) }).meta({ id: "Occurrences" });

export const problemAnswerBody = z
  .looseObject({
    type: z.string().meta({ example: "urn:lapse:problem:key-conflict" }),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string(),
    errors: z
      .array(
        z.strictObject({
          path: z.string().meta({ description: "A JSON pointer.", example: "/retry/maxAttempts" }),
          message: z.string(),
        }),
      )
      .optional(),
  })
  .meta({ id: "Problem", description: "RFC 9457. `type` is stable; further members depend on it." });

const batchItem = z.union([
  z.strictObject({ status: z.int().min(200).max(299), task: taskAnswer }),
  z.strictObject({ status: z.int().min(400).max(599), problem: problemAnswerBody }),
]);

export const batchAnswer = z.strictObject({ items: z.array(batchItem) }).meta({ id: "BatchResult" });

const sofar = { accepted: count, refused: count };
/** A line of an import's answer. */
export const importLineAnswer = z
  .union([
    z.strictObject({ line: z.int().min(1), problem: problemAnswerBody }),
    z.strictObject(sofar),
    z.strictObject({ ...sofar, done: z.literal(true) }),
    z.strictObject({ ...sofar, done: z.literal(false), line: z.int().min(1), problem: problemAnswerBody }),
  ])
  .meta({ id: "ImportLine" });

const ids = z.array(z.string());
const refusal = z.strictObject({ id: z.string(), state: z.enum(taskStates) }).meta({ id: "Refusal" });
const more = z.literal(true).optional().meta({ description: "The call reached its 10,000 tasks, and others match." });

export const cancelledAnswer = z
  .strictObject({ cancelled: ids, notCancelled: z.array(refusal), tombstones: z.array(z.string()), more })
  .meta({ id: "BulkCancelled" });
export const pausedAnswer = z
  .strictObject({ paused: ids, notPaused: z.array(refusal), more })
  .meta({ id: "BulkPaused" });
export const resumedAnswer = z
  .strictObject({ resumed: ids, notResumed: z.array(refusal), more })
  .meta({ id: "BulkResumed" });
export const retriedAnswer = z
  .strictObject({ retried: ids, notRetried: z.array(z.strictObject({ ...refusal.shape, reason: z.string() })), more })
  .meta({ id: "BulkRetried" });

export const auditAnswer = z
  .strictObject({
    balanced: z.boolean(),
    queues: z.array(
      z.strictObject({
        queue: z.string(),
        accepted: count,
        succeeded: count,
        failed: count,
        cancelled: count,
        missed: count,
        live: count,
        pruned: count,
      }),
    ),
    overdueCount: count,
    overdue: z
      .array(z.strictObject({ id: z.string(), queue: z.string(), dueAt: instantAnswer }))
      .meta({ description: "The first 1,000." }),
  })
  .meta({ id: "Audit", description: "`accepted` equals the sum of the others." });

export const aliveAnswer = z.strictObject({ status: z.literal("alive") });
export const readyAnswer = z
  .strictObject({
    status: z.enum(["ready", "degraded"]),
    checks: strings,
    held: count.optional().meta({ description: "Tasks held back by LAPSE_CATCH_UP until a bulk resume." }),
  })
  .meta({ id: "Readiness" });
export const secretsAnswer = z.strictObject({ secrets: z.array(z.string()) }).meta({ id: "SigningSecrets" });
