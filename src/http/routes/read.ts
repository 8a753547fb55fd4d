// Owns reading tasks: one by id or key, its attempts, and listings by page.

import type { TaskFilter } from "../../store/task-filter.ts";
import { type Answer, jsonAnswer } from "../answer.ts";
import { exampleAttempt, exampleTask } from "../examples.ts";
import type { ApiParts } from "../parts.ts";
import { decodeCursor, encodeCursor, nextLink } from "../query.ts";
import { renderAttempt, renderItems, renderTask } from "../render.ts";
import { defineRoute, type Route } from "../route.ts";
import { attemptsAnswer, taskPageAnswer } from "../schemas/answers.ts";
import { type ListQuery, listQuery, listQueryDoc, queueQuery } from "../schemas/calls.ts";
import { tasksPath } from "./accept.ts";
import { taskDoc, taskIdOf, taskKeyOf, taskNotFound, taskResult } from "./common.ts";

type ReadParts = Pick<ApiParts, "tasks">;

export function readRoutes(parts: ReadParts): Route[] {
  // The fixed parts of a path come before the ids: Express takes the first route that matches.
  return [listRoute(parts), readByKeyRoute(parts), readRoute(parts), attemptsRoute(parts)];
}

function listRoute(parts: ReadParts): Route {
  return defineRoute({
    method: "get",
    path: tasksPath,
    access: "tasks:read",
    query: listQuery,
    doc: {
      tag: "Tasks",
      operationId: "listTasks",
      summary: "List tasks",
      description:
        "By page: give `nextCursor` (also in the `Link` header) back as `cursor` until it is null. All filters hold. A task that changes between two pages may be missed or met twice.",
      query: listQueryDoc,
      answers: {
        200: {
          description: "A page.",
          schema: taskPageAnswer,
          example: { items: [exampleTask], nextCursor: null },
          headers: { link: 'The next page, `rel="next"`.' },
        },
      },
      problems: [],
    },
    async handle({ query, url, caller }) {
      const { order, limit, cursor } = query;
      const after = cursor === undefined ? null : decodeCursor(cursor, order);
      const page = await parts.tasks.list({ ...filterOf(query), reach: caller.queues }, { order, limit, after });
      const next = page.next === null ? null : encodeCursor(order, page.next);
      const headers = next === null ? {} : { link: nextLink(url, next) };
      return { status: 200, headers, body: renderItems(page.items.map(renderTask), next) };
    },
  });
}

function filterOf({ queue, state, key, keyPrefix, labels, dueAfter, dueBefore, scheduleId }: ListQuery): TaskFilter {
  return {
    ...(queue === undefined ? {} : { queue }),
    ...(state === undefined ? {} : { states: state }),
    ...(key === undefined ? {} : { key }),
    ...(keyPrefix === undefined ? {} : { keyPrefix }),
    ...(labels === undefined ? {} : { labels }),
    ...(dueAfter === undefined ? {} : { dueAfter }),
    ...(dueBefore === undefined ? {} : { dueBefore }),
    ...(scheduleId === undefined ? {} : { scheduleId }),
  };
}

function readByKeyRoute(parts: ReadParts): Route {
  return defineRoute({
    method: "get",
    path: "/v1/tasks/by-key/{key}",
    access: "tasks:read",
    query: queueQuery,
    doc: {
      tag: "Tasks",
      operationId: "getTaskByKey",
      summary: "Read a task by its key",
      description: "The live task with that key in the queue, else the newest.",
      answers: { 200: taskDoc("The task.", exampleTask) },
      problems: ["task-not-found"],
    },
    async handle(call): Promise<Answer> {
      const { queue, key } = taskKeyOf(call, call.query.queue);
      const task = await parts.tasks.readByKey(queue, key);
      if (task === null) throw taskNotFound();
      return taskResult(200, task);
    },
  });
}

function readRoute(parts: ReadParts): Route {
  return defineRoute({
    method: "get",
    path: "/v1/tasks/{id}",
    access: "tasks:read",
    doc: {
      tag: "Tasks",
      operationId: "getTask",
      summary: "Read a task",
      description: "Ended tasks are kept for LAPSE_RETENTION.",
      answers: { 200: taskDoc("The task.", exampleTask) },
      problems: ["task-not-found"],
    },
    async handle(call): Promise<Answer> {
      const task = await parts.tasks.read(taskIdOf(call));
      if (task === null) throw taskNotFound();
      return taskResult(200, task);
    },
  });
}

function attemptsRoute(parts: ReadParts): Route {
  return defineRoute({
    method: "get",
    path: "/v1/tasks/{id}/attempts",
    access: "tasks:read",
    doc: {
      tag: "Tasks",
      operationId: "listAttempts",
      summary: "List the attempts of a task",
      description: "Oldest first; the one that runs now has no outcome yet.",
      answers: { 200: { description: "All attempts.", schema: attemptsAnswer, example: { items: [exampleAttempt] } } },
      problems: ["task-not-found"],
    },
    async handle(call) {
      const attempts = await parts.tasks.attempts(taskIdOf(call));
      if (attempts === null) throw taskNotFound();
      return jsonAnswer(renderItems(attempts.map(renderAttempt)));
    },
  });
}
