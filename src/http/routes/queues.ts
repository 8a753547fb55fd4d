// Owns the queues' routes: reading and changing them, pause and resume, purge, and statistics.

import type { Queue } from "../../task/queue.ts";
import { canSee, confinementProblem } from "../access.ts";
import { type Answer, jsonAnswer } from "../answer.ts";
import { faultsOf } from "../faults.ts";
import { queueBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem, validationFailed } from "../problem.ts";
import { decodeNameCursor, encodeNameCursor, nextLink } from "../query.ts";
import { renderItems, renderQueue } from "../render.ts";
import { type AnswerDoc, type Call, defineRoute, type Route, type RouteDoc } from "../route.ts";
import { queueName, taskQueueName } from "../schemas/fields.ts";
import {
  exampleQueue,
  purgedAnswer,
  queueAnswer,
  queueChanges,
  queueListQuery,
  queueNameParameter,
  queuesAnswer,
  queueStatsAnswer,
} from "../schemas/queues.ts";

type QueueParts = Pick<ApiParts, "queues">;

const queuesPath = "/v1/queues";
export const queuePath = `${queuesPath}/{name}`;
const params = { name: queueNameParameter };
const queueDoc: AnswerDoc = { description: "The queue.", schema: queueAnswer, example: exampleQueue };

export function queueRoutes({ queues }: QueueParts): Route[] {
  return [
    listRoute({ queues }),
    readRoute({ queues }),
    putRoute({ queues }),
    actionRoute("pause", (name) => asAnswer(queues.change(name, { paused: true }), queueResult), {
      operationId: "pauseQueue",
      summary: "Pause a queue",
      description:
        "It goes on accepting tasks and fires none: no attempt starts 1 s after this was answered. Calls in flight end as they would have.",
      answers: { 200: queueDoc },
    }),
    actionRoute("resume", (name) => asAnswer(queues.change(name, { paused: false }), queueResult), {
      operationId: "resumeQueue",
      summary: "Resume a queue",
      description:
        "What fell due meanwhile is fired at once, within the queue's limits, or is `missed` past its misfireGrace.",
      answers: { 200: queueDoc },
    }),
    actionRoute("purge", (name) => asAnswer(queues.purge(name), (cancelled) => ({ cancelled })), {
      operationId: "purgeQueue",
      summary: "Cancel all tasks of a queue that wait",
      description:
        "All that are scheduled or paused when it is called; calls in flight, and tasks whose receiver has confirmed that it acts, are left alone. In parts: where it fails midway, what was cancelled stays so, and it may be repeated.",
      answers: {
        200: { description: "How many were cancelled.", schema: purgedAnswer, example: { cancelled: 17 } },
      },
    }),
    statsRoute({ queues }),
  ];
}

function listRoute({ queues }: QueueParts): Route {
  return defineRoute({
    method: "get",
    path: queuesPath,
    access: "tasks:read",
    query: queueListQuery,
    doc: {
      tag: "Queues",
      operationId: "listQueues",
      summary: "List the queues",
      description:
        "All that the caller can see, by name, also those that only SQL has named yet. By page: give `nextCursor` (also in the `Link` header) back as `cursor` until it is null.",
      answers: {
        200: {
          description: "A page.",
          schema: queuesAnswer,
          example: { items: [exampleQueue], nextCursor: null },
          headers: { link: 'The next page, `rel="next"`.' },
        },
      },
      problems: [],
    },
    async handle({ query: { limit, cursor }, url, caller }) {
      const after = cursor === undefined ? null : decodeNameCursor(cursor);
      const page = await queues.list(caller.queues, { limit, after });
      const next = page.next === null ? null : encodeNameCursor(page.next);
      const headers = next === null ? {} : { link: nextLink(url, next) };
      return { status: 200, headers, body: renderItems(page.items.map(renderQueue), next) };
    },
  });
}

function readRoute({ queues }: QueueParts): Route {
  return defineRoute({
    method: "get",
    path: queuePath,
    access: "tasks:read",
    doc: {
      tag: "Queues",
      operationId: "getQueue",
      summary: "Read a queue",
      description: "Its settings. A queue is there once it was used or set up.",
      params,
      answers: { 200: queueDoc },
      problems: ["queue-not-found"],
    },
    handle: (call) => asAnswer(queues.read(nameOf(call)), queueResult),
  });
}

function putRoute({ queues }: QueueParts): Route {
  return defineRoute({
    method: "put",
    path: queuePath,
    access: "queues:write",
    body: {
      schema: queueChanges,
      bytesMax: queueBytesMax,
      examples: {
        rate: { summary: "At most 50 starts a second", value: { rateLimit: { limit: 50, per: "1s" } } },
        defaults: {
          summary: "Few at once, and terms for its tasks",
          value: { concurrency: 5, defaults: { timeout: "10s", retry: { maxAttempts: 3 } } },
        },
      },
    },
    doc: {
      tag: "Queues",
      operationId: "changeQueue",
      summary: "Set a queue up, or change it",
      description:
        "Makes it where it is new. Fields left out stay, also within `defaults`. Defaults hold for tasks that come a second later, everywhere; a lower concurrency as calls end; a rate limit from the next claim on, counting the starts made under one before it.",
      params,
      answers: { 200: queueDoc },
      problems: ["locked"],
    },
    async handle({ params: { name = "" }, body, caller }) {
      const read = taskQueueName.safeParse(name);
      if (!read.success) throw validationFailed(faultsOf(read.error, "/name"));
      const refused = confinementProblem(caller, name, "/name");
      if (refused !== null) throw refused;
      return jsonAnswer(renderQueue(await queues.put(name, body)));
    },
  });
}

function statsRoute({ queues }: QueueParts): Route {
  return defineRoute({
    method: "get",
    path: `${queuePath}/stats`,
    access: "tasks:read",
    doc: {
      tag: "Queues",
      operationId: "getQueueStats",
      summary: "What a queue does",
      description: "Counts of its tasks by state, and what was fired over the last minute by all dispatchers together.",
      params,
      answers: {
        200: {
          description: "The figures.",
          schema: queueStatsAnswer,
          example: {
            counts: { scheduled: 40, paused: 0, running: 3, succeeded: 1_000, failed: 1, cancelled: 12, missed: 0 },
            oldestOverdueMs: 0,
            firedPerSecond: 12.5,
            latenessMs: { p50: 2, p99: 8 },
          },
        },
      },
      problems: ["queue-not-found"],
    },
    handle: (call) => asAnswer(queues.stats(nameOf(call)), (stats) => stats),
  });
}

type ActionDoc = Pick<RouteDoc, "operationId" | "summary" | "description" | "answers">;

function actionRoute(action: string, act: (name: string) => Promise<Answer>, doc: ActionDoc): Route {
  return defineRoute({
    method: "post",
    path: `${queuePath}/${action}`,
    access: "queues:write",
    doc: { tag: "Queues", ...doc, params, problems: ["queue-not-found", "locked"] },
    handle: (call) => act(nameOf(call)),
  });
}

/** The queue in a path. A name that no queue can have names none, nor does one that the caller cannot see. */
export function nameOf({ params: { name = "" }, caller }: Pick<Call, "params" | "caller">): string {
  if (!queueName.safeParse(name).success || !canSee(caller, name)) throw queueNotFound();
  return name;
}

async function asAnswer<T>(found: Promise<T | null>, show: (value: T) => unknown): Promise<Answer> {
  const value = await found;
  if (value === null) throw queueNotFound();
  return jsonAnswer(JSON.stringify(show(value)));
}

function queueResult(queue: Queue): unknown {
  return JSON.parse(renderQueue(queue));
}

export function queueNotFound(): ApiProblem {
  return new ApiProblem("queue-not-found", "A queue is there once it was used or set up.");
}
