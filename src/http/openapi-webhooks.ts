// Owns what the OpenAPI document says of the call that Lapse makes: section 3 of the contract, for those who write receivers.

import { z } from "zod";
import type { ZodOpenApiPathItemObject } from "zod-openapi";
import { eventAnswer, exampleEvent } from "./schemas/events.ts";
import { exampleId } from "./schemas/fields.ts";

const headers = z.object({
  "webhook-id": z.string().meta({
    description: "The task's id: the same at every attempt, so that repeats can be dropped.",
    example: exampleId(),
  }),
  "webhook-timestamp": z.string().meta({ description: "Unix seconds of this attempt.", example: "1795228200" }),
  "webhook-signature": z.string().meta({
    description:
      "Standard Webhooks, `v1,<base64>`; while a secret is being rotated, one for each, separated by a space.",
    example: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
  }),
  "lapse-attempt": z.string().meta({ description: "The number of this attempt, from 1.", example: "1" }),
  "lapse-due-at": z.string().meta({ description: "RFC 3339.", example: "2026-11-21T02:30:00.000Z" }),
  "lapse-queue": z.string().meta({ example: "default" }),
  "lapse-key": z.string().optional().meta({
    description: "In UTF-8, every byte outside 0x21-0x7E and `%` as `%XX`.",
    example: "order-1042:payment-timeout",
  }),
  "lapse-confirm-token": z.string().meta({ description: "For `confirm`, good for this attempt alone." }),
  traceparent: z.string().optional().meta({ description: "W3C, continued from the request that made the task." }),
});

const { "lapse-confirm-token": _token, traceparent: _trace, ...deliveryHeaders } = headers.shape;

export const webhooks: Record<string, ZodOpenApiPathItemObject> = {
  eventHappened: {
    post: {
      operationId: "eventHappened",
      summary: "An event that was subscribed to",
      description:
        "Sent to the `url` of a subscription, at least once: drop repeats by the event's `id`, which is also `lapse-key`. `webhook-id` is the delivery's, a task of the subscription's `deliveryQueue`. Answers mean what they mean for any task.",
      requestParams: { header: z.object(deliveryHeaders) },
      requestBody: { content: { "application/json": { schema: eventAnswer, example: exampleEvent } } },
      responses: { "2XX": { description: "It was taken." } },
    },
  },
  taskDue: {
    post: {
      operationId: "taskDue",
      summary: "A task is due",
      description:
        "Sent to the task's `url`, with its method, headers and body. Delivery is at least once: drop repeats by `webhook-id`, or ask `confirm` before acting.",
      requestParams: { header: headers },
      requestBody: { content: { "application/json": { schema: z.unknown(), example: { orderId: 1042 } } } },
      responses: {
        "2XX": {
          description:
            "Succeeded. With `lapse-reschedule: <duration>` (1 s to 10 years): not done yet, the same task fires again after that time. With `lapse-schedule: end` the schedule that made the task ends.",
          headers: {
            "lapse-reschedule": { description: "A duration.", schema: { type: "string" }, example: "PT30S" },
            "lapse-schedule": { schema: { type: "string", const: "end" } },
          },
        },
        "410": { description: "Failed, no more attempts; so does any answer with `lapse-no-retry: true`." },
        "429": { description: "Failed; with `Retry-After` (also of a 503) the next attempt is not before that." },
        default: { description: "A failed attempt, retried with backoff. Redirects are never followed." },
      },
    },
  },
};
