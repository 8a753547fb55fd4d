// Owns the shapes of queues: the body that changes one, and the answers that show them.

import { z } from "zod";
import "zod-openapi";
import type { QueueChanges } from "../../task/queue.ts";
import * as limits from "../limits.ts";
import { duration, retryAnswer } from "./answers.ts";
import { nameCursor, pageLimitOr } from "./calls.ts";
import { durationField, wholeNumber } from "./fields.ts";
import { defaultedFields } from "./task-input.ts";

const rateLimit = z
  .strictObject({
    limit: wholeNumber(1, limits.rateLimitMax).meta({ description: "Starts of attempts, retries too.", example: 50 }),
    per: durationField({ minMs: limits.ratePerMinMs, maxMs: limits.ratePerMaxMs }, "The length of the window."),
  })
  .transform(({ limit, per }) => ({ limit, perMs: per }))
  .meta({
    id: "RateLimitInput",
    description: "In no window of length `per` do more than `limit` attempts start. Unused allowance is not saved.",
  });

const defaults = z
  .strictObject({
    retry: defaultedFields.retry.nullable().optional(),
    timeout: defaultedFields.timeout.nullable().optional(),
    misfireGrace: defaultedFields.misfireGrace.nullable().optional(),
  })
  .meta({
    id: "QueueDefaultsInput",
    description:
      "For tasks that leave the field out when they come. Null: Lapse's own. A task's `retry`, given in part, is filled up by Lapse's defaults, not by the queue's.",
  });

/** What a PUT may change. A field left out stays, within `defaults` too; `rateLimit` and `retry` are replaced as a whole. */
export const queueChanges = z
  .strictObject({
    concurrency: wholeNumber(1, limits.concurrencyMax).optional().meta({
      description: "Calls in flight at once, over all dispatchers. 100 where it was never set.",
      example: 100,
    }),
    rateLimit: rateLimit.nullable().optional(),
    paused: z.boolean().optional().meta({ description: "Accepts tasks and fires none." }),
    defaults: defaults.optional(),
  })
  .transform(
    ({ defaults: given, ...changes }): QueueChanges => ({
      ...changes,
      ...(given === undefined ? {} : { defaults: toDefaults(given) }),
    }),
  )
  .meta({ id: "QueueChanges" });

function toDefaults({ retry, timeout, misfireGrace }: z.output<typeof defaults>): QueueChanges["defaults"] {
  return { retry, timeoutMs: timeout, misfireGraceMs: misfireGrace };
}

export const queueAnswer = z
  .strictObject({
    name: z.string(),
    concurrency: z.int().min(1),
    rateLimit: z.strictObject({ limit: z.int().min(1), per: duration }).nullable(),
    paused: z.boolean(),
    defaults: z
      .strictObject({ retry: retryAnswer.nullable(), timeout: duration.nullable(), misfireGrace: duration.nullable() })
      .meta({ description: "Null: Lapse's own." }),
  })
  .meta({ id: "Queue" });

export const queuesAnswer = z
  .strictObject({
    items: z.array(queueAnswer),
    nextCursor: z.string().nullable().meta({ description: "Null on the last page." }),
  })
  .meta({ id: "QueuePage" });
/** Few have so many queues that they need a second page. */
export const queueListQuery = z.strictObject({ limit: pageLimitOr(limits.pageCountMax), cursor: nameCursor });
export const purgedAnswer = z.strictObject({ cancelled: z.int().min(0) }).meta({ id: "Purged" });

const count = z.int().min(0);
export const queueStatsAnswer = z
  .strictObject({
    counts: z
      .strictObject({
        scheduled: count,
        paused: count,
        running: count,
        succeeded: count,
        failed: count,
        cancelled: count,
        missed: count,
      })
      .meta({ description: "At most 5 s old. Ended tasks count until they are pruned." }),
    oldestOverdueMs: z
      .number()
      .meta({ description: "Of the task that has been due for longest; 0 where none is due." }),
    firedPerSecond: z.number().meta({ description: "Attempts started, over the last minute; about 1 s behind." }),
    latenessMs: z
      .strictObject({ p50: z.number().nullable(), p99: z.number().nullable() })
      .meta({ description: "Of first attempts over the last minute, within 5 %; null where there was none." }),
  })
  .meta({ id: "QueueStats" });

export const queueNameParameter = z.string().meta({ description: "The queue's name.", example: "default" });

export const exampleQueue = {
  name: "default",
  concurrency: 100,
  rateLimit: { limit: 50, per: "PT1S" },
  paused: false,
  defaults: { retry: null, timeout: "PT10S", misfireGrace: null },
};
