// Owns changing one schedule: PATCH, pause, resume, and running it now.

import { z } from "zod";
import type { ScheduleOutcome } from "../../intake/schedules.ts";
import type { ScheduleId } from "../../store/schedules.ts";
import { confinementProblem } from "../access.ts";
import type { Answer } from "../answer.ts";
import { exampleSchedule, exampleTask } from "../examples.ts";
import { memberText } from "../json-spans.ts";
import { taskBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem } from "../problem.ts";
import { defineRoute, type Route } from "../route.ts";
import type { ScheduleSchemas } from "../schemas/schedule-input.ts";
import { toScheduleChanges } from "../schedule-input.ts";
import { unreachable } from "../../task/unreachable.ts";
import { readIfMatch } from "./change.ts";
import { taskDoc, taskResult } from "./common.ts";
import {
  scheduleDoc,
  scheduleIdOf,
  scheduleNotFound,
  scheduleParams,
  scheduleResult,
  schedulesPath,
} from "./schedule-common.ts";

type ScheduleParts = Pick<ApiParts, "schedules">;

export function scheduleChangeRoutes(parts: ScheduleParts, schemas: ScheduleSchemas): Route[] {
  const { schedules } = parts;
  return [
    patchRoute(parts, schemas),
    actionRoute("pause", (id) => schedules.pause(id), {
      summary: "Pause a schedule",
      description:
        "Its tasks that have not begun are cancelled, and none begins after the answer. 409 where it has ended.",
      example: { ...exampleSchedule, state: "paused", nextOccurrenceAt: null, version: 2 },
    }),
    actionRoute("resume", (id) => schedules.resume(id), {
      summary: "Resume a paused schedule",
      description: "It counts from now: occurrences in the pause are forgotten. 409 where it has ended.",
      example: { ...exampleSchedule, version: 3 },
    }),
    runRoute(parts),
  ];
}

const patchHeaders = z.object({
  "if-match": z
    .string()
    .optional()
    .meta({ description: "The version that is to be changed, as in `ETag`.", example: '"1"' }),
});

function patchRoute({ schedules }: ScheduleParts, schemas: ScheduleSchemas): Route {
  return defineRoute({
    method: "patch",
    path: `${schedulesPath}/{id}`,
    access: "tasks:write",
    body: {
      schema: schemas.scheduleChanges,
      bytesMax: taskBytesMax,
      examples: {
        slower: { summary: "Less often", value: { trigger: { type: "interval", every: "10m" } } },
      },
    },
    doc: {
      tag: "Schedules",
      operationId: "changeSchedule",
      summary: "Change or reschedule a schedule",
      description:
        "In place: its id and its tasks stay. What was made ahead is cancelled and made anew; a new trigger counts from now, and revives a schedule that has ended.",
      params: scheduleParams,
      headers: patchHeaders,
      answers: { 200: scheduleDoc("The changed schedule.", { ...exampleSchedule, version: 2 }) },
      problems: ["malformed-request", "schedule-not-found", "schedule-name-conflict", "version-mismatch", "locked"],
    },
    async handle(call) {
      const { body } = call;
      const id = scheduleIdOf(call);
      const refused = body.queue === undefined ? null : confinementProblem(call.caller, body.queue);
      if (refused !== null) throw refused;
      const payloadText = body.payload === undefined ? null : memberText(call.bodyText, "payload");
      const expectedVersion = readIfMatch(call.headers["if-match"]);
      return changeAnswer(await schedules.change(id, toScheduleChanges(body, payloadText), expectedVersion));
    },
  });
}

interface ActionDoc {
  readonly summary: string;
  readonly description: string;
  readonly example: unknown;
}

function actionRoute(name: string, act: (id: ScheduleId) => Promise<ScheduleOutcome>, doc: ActionDoc): Route {
  return defineRoute({
    method: "post",
    path: `${schedulesPath}/{id}/${name}`,
    access: "tasks:write",
    doc: {
      tag: "Schedules",
      operationId: `${name}Schedule`,
      summary: doc.summary,
      description: doc.description,
      params: scheduleParams,
      answers: { 200: scheduleDoc("The schedule.", doc.example) },
      problems: ["schedule-not-found", "schedule-state", "locked"],
    },
    async handle(call) {
      return changeAnswer(await act(scheduleIdOf(call)));
    },
  });
}

function runRoute({ schedules }: ScheduleParts): Route {
  const example = { ...exampleTask, key: null, scheduleId: exampleSchedule.id };
  return defineRoute({
    method: "post",
    path: `${schedulesPath}/{id}/run`,
    access: "tasks:write",
    doc: {
      tag: "Schedules",
      operationId: "runSchedule",
      summary: "Make a task of a schedule now",
      description:
        "Due now, whatever state the schedule is in, and beside its occurrences: `maxInstances` does not hold it back, and counts it. A repeat makes another.",
      params: scheduleParams,
      answers: { 201: taskDoc("The task.", example) },
      problems: ["schedule-not-found", "locked"],
    },
    async handle(call) {
      const task = await schedules.run(scheduleIdOf(call));
      if (task === null) throw scheduleNotFound();
      return taskResult(201, task);
    },
  });
}

function changeAnswer(outcome: ScheduleOutcome): Answer {
  switch (outcome.kind) {
    case "done":
      return scheduleResult(200, outcome.schedule);
    case "wrong-state": {
      const { id, state } = outcome.schedule;
      throw new ApiProblem("schedule-state", { detail: `It is ${state}.`, extensions: { id, state } });
    }
    case "version-mismatch": {
      const { id, state, version } = outcome.schedule;
      const detail = `It has version ${version}.`;
      throw new ApiProblem("version-mismatch", { detail, extensions: { id, state, version } });
    }
    case "name-conflict":
      throw new ApiProblem("schedule-name-conflict", "The name is another schedule's.");
    case "not-found":
      throw scheduleNotFound();
    default:
      return unreachable(outcome);
  }
}
