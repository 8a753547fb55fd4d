// Owns subscriptions as admins see them: events posted to a URL, each as a task of Lapse's own.

import { subscriptionsMax } from "../../events/subscriptions.ts";
import { deliveryQueue, type Subscription } from "../../store/subscriptions.ts";
import { jsonAnswer } from "../answer.ts";
import { subscriptionBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem } from "../problem.ts";
import { renderInstant, renderItems } from "../render.ts";
import { defineRoute, type Route } from "../route.ts";
import {
  newSubscription,
  subscriptionAnswer,
  subscriptionIdParameter,
  subscriptionsAnswer,
} from "../schemas/events.ts";
import { exampleId, readId } from "../schemas/fields.ts";

type SubscriptionParts = Pick<ApiParts, "subscriptions" | "checkUrl">;

const path = "/v1/subscriptions";
const exampleFields = { url: "https://shop.example/hooks/lapse-events", types: ["task.failed", "task.missed"] };
const example = {
  id: exampleId(),
  ...exampleFields,
  queue: null,
  createdAt: "2026-11-21T02:00:00.000Z",
  deliveryQueue: deliveryQueue(exampleId()),
  dropped: 0,
};

export function subscriptionRoutes(parts: SubscriptionParts): Route[] {
  return [makeRoute(parts), listRoute(parts), readRoute(parts), removeRoute(parts)];
}

function makeRoute({ subscriptions, checkUrl }: SubscriptionParts): Route {
  return defineRoute({
    method: "post",
    path,
    access: "admin",
    body: {
      schema: newSubscription({ checkUrl }),
      bytesMax: subscriptionBytesMax,
      examples: { failures: { summary: "Be told of what was not done", value: exampleFields } },
    },
    doc: {
      tag: "Events",
      operationId: "createSubscription",
      summary: "Have events posted",
      description:
        "Each event that is wanted, of changes committed after the answer, becomes a task of the queue `deliveryQueue`: its JSON (see Event) is posted, signed and retried like any webhook, with a concurrency of 10. `lapse-key` and `id` are the event's: drop repeats by them. While 1,000 of them are not over, further events wait; those that are 24 h old then are dropped and counted. A repeat makes another subscription. Up to 100. Only for admins, since it tells of all queues.",
      answers: {
        201: {
          description: "The subscription.",
          schema: subscriptionAnswer,
          example,
          headers: { location: "Where it is." },
        },
      },
      problems: ["too-many-subscriptions"],
    },
    async handle({ body: { url, types, queue } }) {
      const made = await subscriptions.make({ url, types: [...new Set(types)], queue });
      if (made === null) {
        const detail = `There are ${subscriptionsMax} already: remove one that is not used.`;
        throw new ApiProblem("too-many-subscriptions", detail);
      }
      return { status: 201, headers: { location: `${path}/${made.id}` }, body: renderSubscription(made) };
    },
  });
}

function listRoute({ subscriptions }: SubscriptionParts): Route {
  return defineRoute({
    method: "get",
    path,
    access: "admin",
    doc: {
      tag: "Events",
      operationId: "listSubscriptions",
      summary: "List the subscriptions",
      description: "All of them, oldest first.",
      answers: {
        200: { description: "The subscriptions.", schema: subscriptionsAnswer, example: { items: [example] } },
      },
      problems: [],
    },
    async handle() {
      return jsonAnswer(renderItems((await subscriptions.list()).map(renderSubscription)));
    },
  });
}

function readRoute({ subscriptions }: SubscriptionParts): Route {
  return defineRoute({
    method: "get",
    path: `${path}/{id}`,
    access: "admin",
    doc: {
      tag: "Events",
      operationId: "getSubscription",
      summary: "Look at a subscription",
      description: "Its deliveries are the tasks of `deliveryQueue`.",
      params: { id: subscriptionIdParameter },
      answers: { 200: { description: "The subscription.", schema: subscriptionAnswer, example } },
      problems: ["subscription-not-found"],
    },
    async handle({ params }) {
      const id = readId(params.id ?? "");
      const found = id === null ? null : await subscriptions.read(id);
      if (found === null) throw notFound();
      return jsonAnswer(renderSubscription(found));
    },
  });
}

function removeRoute({ subscriptions }: SubscriptionParts): Route {
  return defineRoute({
    method: "delete",
    path: `${path}/{id}`,
    access: "admin",
    doc: {
      tag: "Events",
      operationId: "deleteSubscription",
      summary: "End a subscription",
      description: "Its deliveries that wait are cancelled; calls in flight end.",
      params: { id: subscriptionIdParameter },
      answers: { 204: { description: "It has ended." } },
      problems: ["subscription-not-found", "locked"],
    },
    async handle({ params }) {
      const id = readId(params.id ?? "");
      if (id === null || !(await subscriptions.remove(id))) throw notFound();
      return { status: 204, body: "" };
    },
  });
}

function renderSubscription({ id, url, types, queue, createdAt, dropped }: Subscription): string {
  return JSON.stringify({
    id,
    url,
    types,
    queue,
    createdAt: renderInstant(createdAt),
    deliveryQueue: deliveryQueue(id),
    dropped,
  });
}

function notFound(): ApiProblem {
  return new ApiProblem("subscription-not-found", "There is no subscription of this id; it may have ended.");
}
