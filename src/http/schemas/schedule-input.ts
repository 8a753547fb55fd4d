// Owns what a schedule may be made of: the bodies of POST, PATCH and preview, and the query of its listing. All faults are found at once.

import { z } from "zod";
import "zod-openapi";
import { type ScheduleState, scheduleStates } from "../../store/schedule.ts";
import * as limits from "../limits.ts";
import { durationField, evenWithFaults, nameFault, queueName, timeField, wholeNumber } from "./fields.ts";
import { acrossBody, newTaskFields, type TaskRules } from "./task-input.ts";
import { nameCursor, pageLimit } from "./calls.ts";
import { createPreviewTriggerField, createTriggerField, reachFault } from "./trigger.ts";

const scheduleName = named(limits.scheduleNameCharsMax).meta({
  description: "Unique among all schedules; printable characters.",
  override: { minLength: 1, maxLength: limits.scheduleNameCharsMax },
  example: "nightly-report",
});

function named(charsMax: number) {
  return z.string().superRefine((name, context) => {
    const fault = nameFault(name, charsMax);
    if (fault !== null) context.addIssue({ code: "custom", message: fault });
  });
}

/** Of POST; PATCH takes the same, all of them optional. */
function scheduleFields(rules: TaskRules) {
  const { key: _key, timeout, retry, ...task } = newTaskFields(rules);
  return {
    ...task,
    name: scheduleName,
    trigger: createTriggerField(rules),
    key: named(limits.scheduleKeyCharsMax)
      .nullable()
      .default(null)
      .meta({
        description:
          "Its tasks' keys are this, `:` and the occurrence: `report:2026-11-21T02:30:00.000Z`. One that stands as a tombstone cancels its occurrence; where another task has it, the occurrence's task has none.",
        override: { type: ["string", "null"], minLength: 1, maxLength: limits.scheduleKeyCharsMax },
        example: "report",
      }),
    timeout: timeout.nullable().meta({ description: "Of one attempt. Null, or left out: the queue's." }),
    retry: retry.nullable().meta({ description: "Null, or left out: the queue's." }),
    coalesce: z.boolean().default(true).meta({
      description:
        "Of the occurrences missed while no dispatcher lived, only the latest becomes a task. `false`: each does, the latest 1,000.",
    }),
    maxInstances: wholeNumber(1, limits.instancesMax).default(1).meta({
      description:
        "How many of its tasks may have an attempt made and not have ended. An occurrence due beyond that is `missed`.",
    }),
    jitter: durationField(
      { minMs: 0, maxMs: limits.jitterMaxMs },
      "Each task is due later than its occurrence by chance, by less than this and than the distance to the following occurrence.",
    )
      .nullable()
      .default(null),
  };
}

type Fields = ReturnType<typeof scheduleFields>;

/** No field has a default in a change. */
function changeFields({
  coalesce,
  maxInstances,
  jitter,
  queue,
  key,
  method,
  headers,
  delivery,
  maxReschedules,
  labels,
  ...fields
}: Fields) {
  const { name, trigger, url, payload, body, contentType, timeout, retry, misfireGrace } = fields;
  return {
    name: name.optional(),
    trigger: trigger.optional(),
    url: url.optional(),
    payload,
    body,
    contentType,
    timeout,
    retry,
    misfireGrace,
    coalesce: coalesce.unwrap().optional(),
    maxInstances: maxInstances.unwrap().optional(),
    jitter: jitter.unwrap().optional(),
    queue: queue.unwrap().optional(),
    key: key.unwrap().optional(),
    method: method.unwrap().optional(),
    headers: headers.unwrap().optional(),
    delivery: delivery.unwrap().optional(),
    maxReschedules: maxReschedules.unwrap().optional(),
    labels: labels.unwrap().optional(),
  };
}

/** The schemas of schedules; made once, with the rules that the sender brings. */
export function createScheduleSchemas(rules: TaskRules) {
  const fields = scheduleFields(rules);
  const newSchedule = z
    .strictObject({
      ...fields,
      onConflict: z.enum(["reject", "keep", "replace"]).default("reject").meta({
        description:
          "What a schedule of the same name means. `reject`: 409, but the very same request again is 200 with the first. `keep`: 200 with the one that stands. `replace`: it takes the new definition and reckons from now; its id stays, and so does a pause.",
      }),
    })
    .superRefine(acrossBody, evenWithFaults)
    .meta({
      id: "NewSchedule",
      description: "A task's fields, without `dueAt` and `delay`, and when its tasks are made.",
    });
  const scheduleChanges = z
    .strictObject(changeFields(fields))
    .superRefine((input, context) => {
      acrossBody(input, context);
      if (Object.keys(input).length === 0)
        context.addIssue({ code: "custom", message: "must change at least one field" });
    }, evenWithFaults)
    .meta({ id: "ScheduleChanges", description: "Each field given takes the place of the standing one as a whole." });
  return { newSchedule, scheduleChanges, preview: previewBody(rules) };
}

function previewBody(rules: TaskRules) {
  return z
    .strictObject({
      trigger: createPreviewTriggerField(rules),
      after: timeField("With an offset; all occurrences are later than this. Left out: now.")
        .transform((time, context) => {
          if (time.kind === "instant") return time.at;
          context.addIssue({ code: "custom", message: "needs an offset, such as Z or +08:00" });
          return z.NEVER;
        })
        .meta({ override: { type: "string" } })
        .optional(),
      count: wholeNumber(1, limits.previewCountMax).default(limits.previewCountDefault),
    })
    .transform((input, context) => {
      const after = input.after ?? rules.clock.now();
      const fault = reachFault(input.trigger, after);
      if (fault !== null) context.addIssue({ code: "custom", path: ["trigger"], message: fault });
      return { ...input, after };
    })
    .meta({ id: "Preview" });
}

export type ScheduleSchemas = ReturnType<typeof createScheduleSchemas>;
export type NewScheduleInput = z.output<ScheduleSchemas["newSchedule"]>;
export type ScheduleChangesInput = z.output<ScheduleSchemas["scheduleChanges"]>;

const stateList = z
  .string()
  .transform((text, context): ScheduleState[] => {
    const states = text.split(",").map((name) => scheduleStates.find((state) => state === name));
    const known = states.filter((state) => state !== undefined);
    if (known.length === states.length) return [...new Set(known)];
    const message = `must be one or more of ${scheduleStates.join(", ")}, separated by commas`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  })
  .meta({
    description: "One state or several, separated by commas, or given several times.",
    override: { type: "string" },
    example: "active,paused",
  });

export const scheduleListQuery = z.strictObject({
  name: scheduleName.optional(),
  queue: queueName.optional(),
  state: stateList.optional(),
  limit: pageLimit,
  cursor: nameCursor,
});
