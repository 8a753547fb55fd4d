// Owns cancelling one task, by id or key, and the receiver's confirm that it races with.

import { z } from "zod";
import type { CancelOutcome, ConfirmOutcome } from "../../intake/outcomes.ts";
import { isEnded } from "../../task/task.ts";
import type { Reach } from "../../store/reach.ts";
import { isNobody, lacksScope, mayDo, unauthorized } from "../access.ts";
import type { Answer } from "../answer.ts";
import { exampleCancelled, exampleRunning, exampleTask } from "../examples.ts";
import { confirmBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { type Call, defineRoute, type Route, type RouteDoc } from "../route.ts";
import { cancelByKeyQuery, cancelQuery, confirmBody } from "../schemas/calls.ts";
import { unreachable } from "../../task/unreachable.ts";
import { taskDoc, taskIdOf, taskKeyOf, taskNotFound, taskProblem, taskResult } from "./common.ts";

type CancelParts = Pick<ApiParts, "intake" | "confirmToken">;

export function cancelRoutes(parts: CancelParts): Route[] {
  return [cancelByKeyRoute(parts), cancelRoute(parts), confirmRoute(parts)];
}

const cancelDoc: Omit<RouteDoc, "operationId" | "summary"> = {
  tag: "Tasks",
  description:
    "Once this has answered 200, the webhook is not fired, whatever crashes and however close to the due time it came. 202 and 409 say that the call is being or was made. Repeating it is safe.",
  answers: {
    200: taskDoc("It is cancelled, now or already.", exampleCancelled),
    202: taskDoc(
      "Too late: an attempt is in flight. No further one follows; if it fails, the task ends `cancelled`.",
      exampleRunning,
    ),
  },
  problems: ["task-not-found", "task-ended", "task-confirmed", "locked"],
};

function cancelByKeyRoute(parts: CancelParts): Route {
  return defineRoute({
    method: "delete",
    path: "/v1/tasks/by-key/{key}",
    access: "tasks:write",
    query: cancelByKeyQuery,
    doc: { ...cancelDoc, operationId: "cancelTaskByKey", summary: "Cancel a task by its key" },
    async handle(call) {
      return cancelAnswer(await parts.intake.cancel(taskKeyOf(call, call.query.queue), call.query.wait ?? 0));
    },
  });
}

function cancelRoute(parts: CancelParts): Route {
  return defineRoute({
    method: "delete",
    path: "/v1/tasks/{id}",
    access: "tasks:write",
    query: cancelQuery,
    doc: { ...cancelDoc, operationId: "cancelTask", summary: "Cancel a task" },
    async handle(call) {
      return cancelAnswer(await parts.intake.cancel(taskIdOf(call), call.query.wait ?? 0));
    },
  });
}

function cancelAnswer(outcome: CancelOutcome): Answer {
  switch (outcome.kind) {
    case "cancelled":
      return taskResult(200, outcome.task);
    case "too-late":
      return taskResult(202, outcome.task);
    case "refused":
      throw isEnded(outcome.task.state)
        ? taskProblem("task-ended", `It has ended ${outcome.task.state}.`, outcome.task)
        : taskProblem("task-confirmed", "The receiver asked before it acted, and was told to.", outcome.task);
    case "not-found":
      throw taskNotFound();
    default:
      return unreachable(outcome);
  }
}

const confirmHeaders = z.object({
  "lapse-confirm-token": z.string().optional().meta({
    description: "As it was sent with the attempt, and good for that attempt alone; in place of an API key.",
  }),
});

function confirmRoute(parts: CancelParts): Route {
  return defineRoute({
    method: "post",
    path: "/v1/tasks/{id}/confirm",
    access: "confirm",
    body: {
      schema: confirmBody,
      bytesMax: confirmBytesMax,
      examples: { first: { summary: "May the first attempt act?", value: { attempt: 1 } } },
    },
    doc: {
      tag: "Receivers",
      operationId: "confirmAttempt",
      summary: "Ask before acting",
      description:
        "For receivers that must not act on what was cancelled: 200 while this attempt is the current one and no cancel was requested; from then on a cancel answers 409. On 409 the receiver does nothing. Needs `tasks:write`, or the attempt's `lapse-confirm-token`. Repeating it is safe.",
      headers: confirmHeaders,
      answers: {
        200: taskDoc("The receiver may act.", {
          ...exampleRunning,
          cancelRequested: false,
          payload: exampleTask.payload,
        }),
      },
      problems: ["task-not-found", "confirm-refused", "locked"],
    },
    async handle(call) {
      const { attempt } = call.body;
      const { id } = taskIdOf(call);
      const reach = confirmReach(parts, call, { id, attempt });
      return confirmAnswer(await parts.intake.confirm({ id, reach }, attempt));
    },
  });
}

/** The token of this very attempt reaches its task, whatever its queue and whoever calls; a key with the scope reaches its own queues. */
function confirmReach(
  { confirmToken }: CancelParts,
  { caller, headers }: Call,
  { id, attempt }: { id: string; attempt: number },
): Reach {
  const token = headers["lapse-confirm-token"];
  if (typeof token === "string" && confirmToken.verify(token, id, attempt)) return null;
  if (mayDo(caller, "tasks:write")) return caller.queues;
  throw isNobody(caller) ? unauthorized(false) : lacksScope("tasks:write");
}

function confirmAnswer(outcome: ConfirmOutcome): Answer {
  switch (outcome.kind) {
    case "confirmed":
      return taskResult(200, outcome.task);
    case "refused":
      throw taskProblem(
        "confirm-refused",
        "A cancel came first, or this attempt is not the current one. Do nothing.",
        outcome.task,
      );
    case "not-found":
      throw taskNotFound();
    default:
      return unreachable(outcome);
  }
}
