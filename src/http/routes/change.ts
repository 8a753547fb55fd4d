// Owns changing one task: PATCH, pause, resume, run and retry.

import { z } from "zod";
import type { ChangeOutcome } from "../../intake/outcomes.ts";
import type { TaskId } from "../../store/reach.ts";
import type { Answer } from "../answer.ts";
import { exampleTask } from "../examples.ts";
import { memberText } from "../json-spans.ts";
import { integerMax, taskBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem, type ProblemName } from "../problem.ts";
import { defineRoute, type Route } from "../route.ts";
import type { TaskSchemas } from "../schemas/task-input.ts";
import { toTaskChanges } from "../task-input.ts";
import { unreachable } from "../../task/unreachable.ts";
import { taskDoc, taskIdOf, taskNotFound, taskProblem, taskResult } from "./common.ts";

type ChangeParts = Pick<ApiParts, "intake">;

export function changeRoutes(parts: ChangeParts, schemas: TaskSchemas): Route[] {
  const { intake } = parts;
  return [
    patchRoute(parts, schemas),
    actionRoute("pause", (task) => intake.pause(task), {
      summary: "Pause a task",
      description: "A paused task never fires. 409 unless it is scheduled or paused.",
      example: { ...exampleTask, state: "paused" },
    }),
    actionRoute("resume", (task) => intake.resume(task), {
      summary: "Resume a paused task",
      description:
        "One that is overdue is due now, or `missed` where its misfireGrace has passed. 409 unless it is scheduled or paused.",
      example: exampleTask,
    }),
    actionRoute("run", (task) => intake.run(task), {
      summary: "Run a task now",
      description: "It is due now. 409 unless it is scheduled or paused.",
      example: exampleTask,
    }),
    actionRoute("retry", (task) => intake.retry(task), {
      summary: "Retry a failed or missed task",
      description:
        "It is scheduled anew under its id, due now, with a fresh budget of attempts. 409 where its key is live on another task.",
      example: exampleTask,
      problems: ["key-conflict"],
    }),
  ];
}

const patchHeaders = z.object({
  "if-match": z
    .string()
    .optional()
    .meta({ description: "The version that is to be changed, as in `ETag`.", example: '"1"' }),
});

function patchRoute(parts: ChangeParts, schemas: TaskSchemas): Route {
  return defineRoute({
    method: "patch",
    path: "/v1/tasks/{id}",
    access: "tasks:write",
    body: {
      schema: schemas.taskChanges,
      bytesMax: taskBytesMax,
      examples: { later: { summary: "Give the customer more time", value: { delay: "30m" } } },
    },
    doc: {
      tag: "Tasks",
      operationId: "changeTask",
      summary: "Change a task",
      description:
        "Of a scheduled or paused task; 409 otherwise. Each field given takes the place of the standing one as a whole: fields left out of `retry` take their defaults.",
      headers: patchHeaders,
      answers: { 200: taskDoc("The changed task.", { ...exampleTask, version: 2 }) },
      problems: ["malformed-request", "task-not-found", "task-state", "version-mismatch", "locked"],
    },
    async handle(call) {
      const task = taskIdOf(call);
      const expectedVersion = readIfMatch(call.headers["if-match"]);
      const payloadText = call.body.payload === undefined ? null : memberText(call.bodyText, "payload");
      return changeAnswer(await parts.intake.change(task, toTaskChanges(call.body, payloadText), expectedVersion));
    },
  });
}

/** A version that no task has: a well-formed tag that is none of ours matches nothing. */
const noVersion = -1;

/** The version that If-Match names, null where there is none or it is `*`. Throws a 400 problem for what is no entity tag. */
export function readIfMatch(header: string | undefined): number | null {
  if (header === undefined || header.trim() === "*") return null;
  // RFC 9110 section 8.8.3; a weak tag never matches here (section 13.1.1).
  const match = /^(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"$/.exec(header.trim());
  if (match === null)
    throw new ApiProblem("malformed-request", 'If-Match must be one version in quotes, such as "1", or *.');
  const [, weak, tag = ""] = match;
  const version = weak === undefined && /^\d{1,10}$/.test(tag) ? Number(tag) : noVersion;
  return version <= integerMax ? version : noVersion;
}

interface ActionDoc {
  readonly summary: string;
  readonly description: string;
  readonly example: unknown;
  readonly problems?: readonly ProblemName[];
}

function actionRoute(name: string, act: (task: TaskId) => Promise<ChangeOutcome>, doc: ActionDoc): Route {
  return defineRoute({
    method: "post",
    path: `/v1/tasks/{id}/${name}`,
    access: "tasks:write",
    doc: {
      tag: "Tasks",
      operationId: `${name}Task`,
      summary: doc.summary,
      description: `${doc.description} It takes no body, and an Idempotency-Key is not needed: a repeat finds the task as the first call left it.`,
      answers: { 200: taskDoc("The task.", doc.example) },
      problems: ["task-not-found", "task-state", "locked", ...(doc.problems ?? [])],
    },
    async handle(call) {
      return changeAnswer(await act(taskIdOf(call)));
    },
  });
}

function changeAnswer(outcome: ChangeOutcome): Answer {
  switch (outcome.kind) {
    case "done":
      return taskResult(200, outcome.task);
    case "wrong-state":
      throw taskProblem("task-state", `It is ${outcome.task.state}.`, outcome.task);
    case "version-mismatch":
      throw new ApiProblem("version-mismatch", {
        detail: `It has version ${outcome.task.version}.`,
        extensions: { id: outcome.task.id, state: outcome.task.state, version: outcome.task.version },
      });
    case "key-conflict":
      if (outcome.holder === null) throw new ApiProblem("key-conflict", "The key was cancelled for a time to come.");
      throw taskProblem("key-conflict", "The task in `id` has the key and is live.", outcome.holder);
    case "not-found":
      throw taskNotFound();
    default:
      return unreachable(outcome);
  }
}
