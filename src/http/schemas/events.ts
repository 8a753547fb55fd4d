// Owns the shapes of events and subscriptions: what is asked for, and what goes out.

import { z } from "zod";
import "zod-openapi";
import { type EventType, eventTypes } from "../../task/event.ts";
import { attemptOutcomes, taskStates } from "../../task/task.ts";
import type { ApiParts } from "../parts.ts";
import { instantAnswer } from "./answers.ts";
import { exampleId, queueName } from "./fields.ts";
import { urlField } from "./task-input.ts";

const lastEventIdCharsMax = 64;

const typeList = z
  .string()
  .transform((text, context): EventType[] => {
    const names = text.split(",");
    const known = names.filter((name): name is EventType => (eventTypes as readonly string[]).includes(name));
    if (known.length === names.length) return [...new Set(known)];
    context.addIssue({
      code: "custom",
      message: `must be one or more of ${eventTypes.join(", ")}, separated by commas`,
    });
    return z.NEVER;
  })
  .meta({
    description: "One type or several, separated by commas, or given several times. Left out: all.",
    override: { type: "string" },
    example: "task.failed,task.missed",
  });

const onlyQueue = "Only what happens in this queue; what concerns no queue (`origin.*`) is left out then.";

export const eventsQuery = z.strictObject({
  queue: queueName.optional().meta({ description: onlyQueue }),
  type: typeList.optional(),
  lastEventId: z
    .string()
    .max(lastEventIdCharsMax)
    .optional()
    .meta({ description: "As the header `Last-Event-ID`, for clients that cannot set one.", example: "7421-93-2" }),
});

export const eventsHeaders = z.object({
  "last-event-id": z.string().optional().meta({
    description:
      "The `id` of the last event that the client had; it goes on after that. The header wins over the query.",
    example: "7421-93-2",
  }),
});

const typeField = z.enum(eventTypes);

/** The body that makes a subscription. */
export function newSubscription(rules: Pick<ApiParts, "checkUrl">) {
  return z
    .strictObject({
      url: urlField(rules),
      types: z
        .array(typeField)
        .min(1)
        .max(eventTypes.length)
        .meta({ description: "What it is told of.", example: ["task.failed", "task.missed"] }),
      queue: queueName.nullable().default(null).meta({ description: onlyQueue }),
    })
    .meta({ id: "NewSubscription" });
}

export const subscriptionAnswer = z
  .strictObject({
    id: z.string().meta({ override: { type: "string", format: "uuid" } }),
    url: z.string(),
    types: z.array(typeField),
    queue: z.string().nullable().meta({ description: "Null: all queues." }),
    createdAt: instantAnswer,
    deliveryQueue: z.string().meta({
      description: "Its deliveries are the tasks of this queue, to be listed, retried and cancelled as any other.",
    }),
    dropped: z.int().min(0).meta({ description: "Events that it could not be given within 24 h." }),
  })
  .meta({ id: "Subscription" });

export const subscriptionsAnswer = z.strictObject({ items: z.array(subscriptionAnswer) }).meta({ id: "Subscriptions" });

export const subscriptionIdParameter = z
  .string()
  .meta({ description: "The subscription's id.", override: { type: "string", format: "uuid" }, example: exampleId() });

/** The JSON of an event, in a stream and in a delivery. */
export const eventAnswer = z
  .strictObject({
    id: z.string().meta({ description: "Of this event alone: a repeat has the same. The `id` of the stream." }),
    type: typeField,
    at: instantAnswer,
    queue: z.string().nullable().meta({ description: "Null for `origin.*`." }),
    taskId: z.string().nullable().meta({ description: "For `task.*` and `schedule.max-instances`." }),
    key: z.string().nullable().meta({ description: "The task's key." }),
    data: z
      .looseObject({
        state: z.enum(taskStates).optional().meta({ description: "The task's state since." }),
        dueAt: instantAnswer.nullable().optional(),
        nextAttemptAt: instantAnswer.nullable().optional(),
        attempts: z.int().optional().meta({ description: "Attempts begun so far." }),
        attempt: z.int().nullable().optional().meta({
          description: "The number of the attempt that began or ended with it; null where it was none.",
        }),
        outcome: z.enum(attemptOutcomes).nullable().optional().meta({ description: "Of that attempt." }),
        status: z.int().nullable().optional().meta({ description: "The HTTP status that it was answered with." }),
        error: z.string().nullable().optional(),
        scheduleId: z.string().nullable().optional(),
        labels: z.record(z.string(), z.string()).optional(),
        name: z.string().optional().meta({ description: "Of `schedule.*`: the schedule's." }),
        occurrenceAt: instantAnswer.optional().meta({ description: "Of `schedule.max-instances`: what did not run." }),
        origin: z.string().optional().meta({ description: "Of `origin.*`: scheme, host and port." }),
      })
      .meta({ description: "What it says of the task as it stood after the change; never its payload." }),
  })
  .meta({ id: "Event" });

export const exampleEvent = {
  id: "7421-93-2",
  type: "task.failed",
  at: "2026-11-21T02:30:30.000Z",
  queue: "default",
  taskId: exampleId(),
  key: "order-1042:payment-timeout",
  data: {
    state: "failed",
    dueAt: "2026-11-21T02:30:00.000Z",
    nextAttemptAt: "2026-11-21T02:30:00.000Z",
    attempts: 1,
    attempt: 1,
    outcome: "failed",
    status: 410,
    error: "The receiver answered 410",
    scheduleId: null,
    labels: {},
  },
};
