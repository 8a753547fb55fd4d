// Owns the other bodies and the parameters that calls take: bulk filters, a confirm, a batch, and the query of a listing.

import { z } from "zod";
import "zod-openapi";
import { type TaskState, taskStates } from "../../task/task.ts";
import * as limits from "../limits.ts";
import {
  durationField,
  evenWithFaults,
  idField,
  labelsField,
  queueName,
  taskKey,
  timeField,
  wholeNumber,
} from "./fields.ts";

const bulkFields = {
  queue: queueName
    .optional()
    .meta({ description: "Only this queue. With `keys`, left out means `default`; else all queues." }),
  ids: z.array(idField).min(1).max(limits.bulkCountMax).optional(),
  keys: z.array(taskKey).min(1).max(limits.bulkCountMax).optional(),
  labels: labelsField({ emptyAllowed: false, description: "Every label must match." }).optional(),
  held: z
    .literal(true)
    .optional()
    .meta({ description: "Only tasks that a start after a gap holds back (`LAPSE_CATCH_UP`); `/readyz` counts them." }),
  dryRun: z.boolean().default(false).meta({ description: "Answers what would be done, and does nothing." }),
};

const filterWords = "All conditions hold; at least one of ids, keys, labels and held is needed.";

function needsCondition(
  filter: { ids?: unknown; keys?: unknown; labels?: unknown; held?: unknown },
  context: z.core.$RefinementCtx,
): void {
  if ([filter.ids, filter.keys, filter.labels, filter.held].some((condition) => condition !== undefined)) return;
  context.addIssue({ code: "custom", message: "must have at least one of ids, keys, labels and held" });
}

/** The filter of a bulk pause, resume or retry. */
export const bulkFilter = z
  .strictObject(bulkFields)
  .superRefine(needsCondition, evenWithFaults)
  .meta({ id: "BulkFilter", description: filterWords });

/** The filter of a bulk cancel, which may also leave tombstones. */
export const bulkCancel = z
  .strictObject({
    ...bulkFields,
    tombstone: durationField(
      { minMs: limits.tombstoneMinMs, maxMs: limits.tombstoneMaxMs },
      "With `keys`: a task with such a key that arrives within this time is stored as `cancelled`.",
    ).optional(),
  })
  .superRefine((filter, context) => {
    needsCondition(filter, context);
    if (filter.tombstone === undefined || filter.keys !== undefined) return;
    context.addIssue({ code: "custom", path: ["tombstone"], message: "is allowed only with keys" });
  }, evenWithFaults)
  .meta({ id: "BulkCancel", description: filterWords });

export const confirmBody = z
  .strictObject({
    attempt: wholeNumber(1, limits.integerMax).meta({ description: "The `lapse-attempt` of the call.", example: 1 }),
  })
  .meta({ id: "Confirm" });

/** A batch without a look into its tasks: each is then checked by itself, so that its faults are its own. */
export const batchBody = z
  .strictObject({
    tasks: z
      .array(z.unknown().meta({ override: { $ref: "#/components/schemas/NewTask" } }))
      .min(1)
      .max(limits.batchCountMax),
    atomic: z.boolean().default(false).meta({ description: "All or none." }),
  })
  .meta({ id: "Batch" });

const idText = z.string().meta({ description: "The task's id.", example: "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57" });
const keyText = z.string().meta({
  description: "The task's key, percent-encoded, `/` as `%2F`.",
  example: "order-1042:payment-timeout",
});

/** What stands in paths. They describe only: an id or a key that no task can have is answered with 404. */
export const pathParameters = { id: idText, key: keyText };

export const queueQuery = z.strictObject({ queue: queueName.default("default") });

const waitField = durationField(
  { minMs: 0, maxMs: limits.cancelWaitMaxMs },
  "How long to wait for an attempt in flight; one that runs out answers 202.",
).optional();

export const cancelQuery = z.strictObject({ wait: waitField });
export const cancelByKeyQuery = z.strictObject({ queue: queueName.default("default"), wait: waitField });

const stateList = z
  .string()
  .transform((text, context): TaskState[] => {
    const names = text.split(",");
    const known = names.filter((name): name is TaskState => (taskStates as readonly string[]).includes(name));
    if (known.length === names.length) return [...new Set(known)];
    context.addIssue({
      code: "custom",
      message: `must be one or more of ${taskStates.join(", ")}, separated by commas`,
    });
    return z.NEVER;
  })
  .meta({
    description: "One state or several, separated by commas, or given several times.",
    override: { type: "string" },
    example: "scheduled,paused",
  });

/** An instant in a query, where an unescaped `+` of the offset arrives as a space. */
export function queryTime(description: string) {
  return z
    .preprocess((text) => (typeof text === "string" ? text.replace(" ", "+") : text), timeField(description))
    .transform((time, context) => {
      if (time.kind === "instant") return time.at;
      context.addIssue({ code: "custom", message: "needs an offset, such as Z or +08:00" });
      return z.NEVER;
    })
    .meta({ description, override: { type: "string" }, example: "2026-11-21T10:30:00Z" });
}

/** How many a page of a listing may have; `countDefault` where nothing is said. */
export function pageLimitOr(countDefault: number) {
  return z
    .string()
    .refine((text) => /^\d{1,6}$/.test(text) && Number(text) >= 1 && Number(text) <= limits.pageCountMax, {
      error: `must be a whole number from 1 to ${limits.pageCountMax}`,
    })
    .transform(Number)
    .default(countDefault)
    .meta({ override: { type: "integer", minimum: 1, maximum: limits.pageCountMax, default: countDefault } });
}

export const pageLimit = pageLimitOr(limits.pageCountDefault);

/** Of a listing by name. */
export const nameCursor = z
  .string()
  .max(limits.nameCursorCharsMax)
  .optional()
  .meta({ description: "The `nextCursor` of the page before." });

const listFields = {
  queue: queueName.optional(),
  state: stateList.optional(),
  key: taskKey.optional(),
  keyPrefix: taskKey.optional().meta({ description: "The beginning of the key.", example: "order-1042:" }),
  dueAfter: queryTime("Due after this instant.").optional(),
  dueBefore: queryTime("Due before this instant.").optional(),
  scheduleId: idField.optional().meta({ description: "Brought forth by this schedule." }),
  order: z.enum(["dueAt", "-createdAt"]).default("dueAt").meta({ description: "By due time, or the newest first." }),
  limit: pageLimit,
  cursor: z
    .string()
    .max(limits.cursorCharsMax)
    .optional()
    .meta({ description: "The `nextCursor` of the page before." }),
};

/** The query of a listing; `labels` gathers its `label.NAME` parameters. */
export const listQuery = z.strictObject({
  ...listFields,
  labels: labelsField({ emptyAllowed: false, description: "" }).optional(),
});

/** The same as OpenAPI tells it. */
export const listQueryDoc = z.strictObject({
  ...listFields,
  "label.NAME": z.string().optional().meta({
    description: "Only tasks whose label NAME has this value; may be given for several names.",
    example: "c-17",
  }),
});

export type ListQuery = z.output<typeof listQuery>;
export type BulkFilterInput = z.output<typeof bulkFilter>;
