// Owns POST /v1/tasks: the hot path of the API.

import { z } from "zod";
import { requestFingerprint } from "../../intake/defaults.ts";
import { type AcceptOutcome, isRefused, type RefusedOutcome } from "../../intake/outcomes.ts";
import { confinementProblem } from "../access.ts";
import type { Answer } from "../answer.ts";
import { exampleNewTask, exampleTask } from "../examples.ts";
import { idempotencyScope, onceAnswer } from "../idempotency.ts";
import { memberText } from "../json-spans.ts";
import { taskBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { type ApiProblem, lockedProblem, problemAnswer } from "../problem.ts";
import { defineRoute, type Route } from "../route.ts";
import type { TaskSchemas } from "../schemas/task-input.ts";
import { readTraceparent, toTaskRequest } from "../task-input.ts";
import { taskDoc, taskProblem, taskResult } from "./common.ts";

export const tasksPath = "/v1/tasks";

/** Parameters in headers that POST /v1/tasks and the batch take. */
export const acceptHeaders = z.object({
  "idempotency-key": z.string().optional().meta({
    description:
      "1 to 255 visible ASCII characters, quoted or bare. For 24 h the same key and fields replay the first answer, with `Idempotency-Replayed: true`. Kept by API key, method and path; only 2xx and 409 answers are kept.",
    example: '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
  }),
  traceparent: z.string().optional().meta({ description: "W3C Trace Context; each call of the task continues it." }),
});

export function acceptRoute(parts: Pick<ApiParts, "intake">, schemas: TaskSchemas): Route {
  return defineRoute({
    method: "post",
    path: tasksPath,
    access: "tasks:write",
    body: { schema: schemas.newTask, bytesMax: taskBytesMax, examples },
    doc: {
      tag: "Tasks",
      operationId: "createTask",
      summary: "Schedule a webhook",
      description:
        "When a 2xx is answered, the task is committed to disk: no crash of any part loses it. A 503 may hide a success: repeat it with the same key or Idempotency-Key.",
      headers: acceptHeaders,
      answers: {
        201: taskDoc("Accepted; `cancelled` at once where a tombstone of its key stands.", exampleTask),
        200: taskDoc(
          "A task with this key stands, and it is the answer; or it was replaced, or the answer is a replay.",
          exampleTask,
        ),
      },
      problems: ["key-conflict", "idempotency-in-progress", "idempotency-key-reused", "locked"],
    },
    async handle(call) {
      const payloadText = call.body.payload === undefined ? null : memberText(call.bodyText, "payload");
      const task = toTaskRequest(call.body, { payloadText, traceparent: readTraceparent(call.headers.traceparent) });
      const refused = confinementProblem(call.caller, task.queue);
      if (refused !== null) throw refused;
      const idempotency = idempotencyScope(call, tasksPath, () => requestFingerprint(task));
      if (idempotency === null) return acceptAnswer(await parts.intake.accept(task));
      const options = { atomic: false, idempotency };
      return onceAnswer(await parts.intake.acceptOnce([task], options, ([outcome]) => keepable(acceptAnswer(outcome))));
    },
  });
}

const examples = {
  timeout: { summary: "Call in 30 minutes, unless the order is paid", value: exampleNewTask },
  local: {
    summary: "Call at a local time",
    value: { url: exampleNewTask.url, dueAt: "2026-11-22T09:00:00", timezone: "Asia/Shanghai" },
  },
  debounce: {
    summary: "Move the due time of the task that stands",
    value: { ...exampleNewTask, delay: "10s", key: "cart-77:reminder", onConflict: "replace" },
  },
};

function acceptAnswer(outcome: AcceptOutcome | undefined): Answer {
  if (outcome === undefined) throw new Error("intake answered fewer outcomes than tasks");
  if (isRefused(outcome)) return problemAnswer(refusal(outcome));
  return taskResult(outcome.kind === "created" ? 201 : 200, outcome.task);
}

export function refusal(outcome: RefusedOutcome): ApiProblem {
  if (outcome.kind === "locked") return lockedProblem();
  return taskProblem("key-conflict", "The task in `id` has this key and is live; see onConflict.", outcome.task);
}

/** An answer in the form that is kept under an Idempotency-Key: its body is text. */
export function keepable({ status, headers, body }: Answer): {
  status: number;
  headers: Record<string, string>;
  body: string;
} {
  return { status, headers: { ...headers }, body: body.toString() };
}
