// Owns the schedules as callers see them: making one, listing, reading and removing them, and previewing a trigger.

import type { CreateScheduleOutcome } from "../../intake/schedules.ts";
import { occurrencesAfter, type Trigger } from "../../trigger/trigger.ts";
import { confinementProblem } from "../access.ts";
import { type Answer, jsonAnswer } from "../answer.ts";
import { exampleNewSchedule, exampleSchedule } from "../examples.ts";
import { idempotencyScope, onceAnswer } from "../idempotency.ts";
import { memberText } from "../json-spans.ts";
import { previewBytesMax, taskBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem, lockedProblem, problemAnswer } from "../problem.ts";
import { decodeNameCursor, encodeNameCursor, nextLink } from "../query.ts";
import { renderInstant, renderItems } from "../render.ts";
import { renderSchedule } from "../render-schedule.ts";
import { defineRoute, type Route } from "../route.ts";
import { previewAnswer, schedulePageAnswer } from "../schemas/answers.ts";
import { scheduleListQuery, type ScheduleSchemas } from "../schemas/schedule-input.ts";
import { toNewSchedule } from "../schedule-input.ts";
import { readTraceparent } from "../task-input.ts";
import { instantMax } from "../times.ts";
import { unreachable } from "../../task/unreachable.ts";
import { acceptHeaders, keepable } from "./accept.ts";
import {
  scheduleDoc,
  scheduleIdOf,
  scheduleNotFound,
  scheduleParams,
  scheduleResult,
  schedulesPath,
} from "./schedule-common.ts";

type ScheduleParts = Pick<ApiParts, "schedules">;

export function scheduleRoutes(parts: ScheduleParts, schemas: ScheduleSchemas): Route[] {
  return [previewRoute(schemas), createRoute(parts, schemas), listRoute(parts), readRoute(parts), removeRoute(parts)];
}

function createRoute({ schedules }: ScheduleParts, schemas: ScheduleSchemas): Route {
  return defineRoute({
    method: "post",
    path: schedulesPath,
    access: "tasks:write",
    body: { schema: schemas.newSchedule, bytesMax: taskBytesMax, examples },
    doc: {
      tag: "Schedules",
      operationId: "createSchedule",
      summary: "Make a schedule",
      description:
        "Each of its occurrences becomes one task, made up to 30 s ahead. A name that a schedule of a queue out of the caller's sight has is refused like any other, and nothing is said of that one.",
      headers: acceptHeaders,
      answers: {
        201: scheduleDoc("The schedule.", exampleSchedule),
        200: scheduleDoc(
          "One with this name stands, and is the answer; or it was replaced, or this is a replay.",
          exampleSchedule,
        ),
      },
      problems: ["schedule-name-conflict", "idempotency-in-progress", "idempotency-key-reused", "locked"],
    },
    async handle(call) {
      const { body, bodyText, caller } = call;
      const refused = confinementProblem(caller, body.queue);
      if (refused !== null) throw refused;
      const payloadText = body.payload === undefined ? null : memberText(bodyText, "payload");
      const traceparent = readTraceparent(call.headers.traceparent);
      const schedule = toNewSchedule(body, { payloadText, bodyText, traceparent });
      const idempotency = idempotencyScope(call, schedulesPath, () => schedule.requestHash);
      const reach = caller.queues;
      if (idempotency === null) return createAnswer(await schedules.create(schedule, reach));
      const render = (outcome: CreateScheduleOutcome) => keepable(createAnswer(outcome));
      return onceAnswer(await schedules.createOnce(schedule, { reach, idempotency }, render));
    },
  });
}

const examples = {
  cron: { summary: "Weekdays at 5:30 in Shanghai", value: exampleNewSchedule },
  interval: {
    summary: "Every two minutes, at most one call at a time",
    value: { name: "stock-sync", trigger: { type: "interval", every: "PT2M" }, url: exampleNewSchedule.url },
  },
};

function createAnswer(outcome: CreateScheduleOutcome): Answer {
  switch (outcome.kind) {
    case "created":
      return scheduleResult(201, outcome.schedule);
    case "existing":
    case "replaced":
      return scheduleResult(200, outcome.schedule);
    case "conflict": {
      const extensions = outcome.holder === null ? {} : { id: outcome.holder.id, state: outcome.holder.state };
      const detail = "Change it by PATCH, or see onConflict.";
      return problemAnswer(new ApiProblem("schedule-name-conflict", { detail, extensions }));
    }
    case "locked":
      return problemAnswer(lockedProblem());
    default:
      return unreachable(outcome);
  }
}

function listRoute({ schedules }: ScheduleParts): Route {
  return defineRoute({
    method: "get",
    path: schedulesPath,
    access: "tasks:read",
    query: scheduleListQuery,
    doc: {
      tag: "Schedules",
      operationId: "listSchedules",
      summary: "List schedules",
      description: "By name, by page: give `nextCursor` back as `cursor` until it is null. All filters hold.",
      answers: {
        200: {
          description: "A page.",
          schema: schedulePageAnswer,
          example: { items: [exampleSchedule], nextCursor: null },
          headers: { link: 'The next page, `rel="next"`.' },
        },
      },
      problems: [],
    },
    async handle({ query: { name, queue, state, limit, cursor }, url, caller }) {
      const filter = {
        reach: caller.queues,
        ...(name === undefined ? {} : { name }),
        ...(queue === undefined ? {} : { queue }),
        ...(state === undefined ? {} : { states: state }),
      };
      const after = cursor === undefined ? null : decodeNameCursor(cursor);
      const page = await schedules.list(filter, { limit, after });
      const next = page.next === null ? null : encodeNameCursor(page.next);
      const headers = next === null ? {} : { link: nextLink(url, next) };
      return { status: 200, headers, body: renderItems(page.items.map(renderSchedule), next) };
    },
  });
}

function readRoute({ schedules }: ScheduleParts): Route {
  return defineRoute({
    method: "get",
    path: `${schedulesPath}/{id}`,
    access: "tasks:read",
    doc: {
      tag: "Schedules",
      operationId: "getSchedule",
      summary: "Read a schedule",
      description: "Its tasks are those of `GET /v1/tasks?scheduleId=`.",
      params: scheduleParams,
      answers: { 200: scheduleDoc("The schedule.", exampleSchedule) },
      problems: ["schedule-not-found"],
    },
    async handle(call) {
      const schedule = await schedules.read(scheduleIdOf(call));
      if (schedule === null) throw scheduleNotFound();
      return scheduleResult(200, schedule);
    },
  });
}

function removeRoute({ schedules }: ScheduleParts): Route {
  return defineRoute({
    method: "delete",
    path: `${schedulesPath}/{id}`,
    access: "tasks:write",
    doc: {
      tag: "Schedules",
      operationId: "deleteSchedule",
      summary: "Remove a schedule",
      description: "Its tasks that have not begun are cancelled; all others stay.",
      params: scheduleParams,
      answers: { 204: { description: "It is removed." } },
      problems: ["schedule-not-found", "locked"],
    },
    async handle(call) {
      if (!(await schedules.remove(scheduleIdOf(call)))) throw scheduleNotFound();
      return { status: 204, body: "" };
    },
  });
}

function previewRoute(schemas: ScheduleSchemas): Route {
  const { trigger } = exampleNewSchedule;
  return defineRoute({
    method: "post",
    path: `${schedulesPath}/preview`,
    access: "tasks:read",
    body: {
      schema: schemas.preview,
      bytesMax: previewBytesMax,
      examples: { cron: { summary: "The next two", value: { trigger, after: "2026-11-21T02:30:00Z", count: 2 } } },
    },
    doc: {
      tag: "Schedules",
      operationId: "previewTrigger",
      summary: "Show when a trigger would occur",
      description: "Fewer than `count` where the trigger ends. Nothing is stored.",
      answers: {
        200: {
          description: "The occurrences, all later than `after`.",
          schema: previewAnswer,
          example: { occurrences: ["2026-11-22T21:30:00.000Z", "2026-11-23T21:30:00.000Z"] },
        },
      },
      problems: [],
    },
    handle({ body: { trigger: given, after, count } }) {
      return jsonAnswer(JSON.stringify({ occurrences: preview(given, after, count).map(renderInstant) }));
    },
  });
}

function preview(trigger: Trigger, after: number, count: number): number[] {
  const found: number[] = [];
  for (const at of occurrencesAfter(trigger, after)) {
    if (at > instantMax) break;
    found.push(at);
    if (found.length >= count) break;
  }
  return found;
}
