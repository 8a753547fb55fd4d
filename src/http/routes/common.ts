// Owns what the routes of tasks share: answers that carry a task, problems that name one, and reading what a path names.

import type { TaskId } from "../../store/reach.ts";
import type { Task } from "../../task/task.ts";
import { canSee } from "../access.ts";
import type { Answer } from "../answer.ts";
import { ApiProblem, type ProblemName } from "../problem.ts";
import { renderAttempt, renderTask } from "../render.ts";
import type { AnswerDoc, Call } from "../route.ts";
import { taskAnswer } from "../schemas/answers.ts";
import { keyFault, readId } from "../schemas/fields.ts";

/** A task, with its version as the ETag that `If-Match` takes. */
export function taskResult(status: number, task: Task): Answer {
  const location = status === 201 || status === 202 ? { location: `/v1/tasks/${task.id}` } : {};
  return { status, headers: { etag: `"${task.version}"`, ...location }, body: renderTask(task) };
}

export function taskDoc(description: string, example: unknown): AnswerDoc {
  return { description, schema: taskAnswer, example, headers: { etag: "The task's version, for `If-Match`." } };
}

/** A 409 that says how the task stands: `id`, `state`, `lastAttempt`. */
export function taskProblem(problem: ProblemName, detail: string, task: Task): ApiProblem {
  const lastAttempt: unknown = task.lastAttempt === null ? null : JSON.parse(renderAttempt(task.lastAttempt));
  return new ApiProblem(problem, { detail, extensions: { id: task.id, state: task.state, lastAttempt } });
}

export function taskNotFound(): ApiProblem {
  return new ApiProblem("task-not-found", "There is no task of this id or key; ended ones are kept for a time only.");
}

/** The task of the id in a path, as far as the caller can see. An id that is no UUID names none. */
export function taskIdOf({ params, caller }: Pick<Call, "params" | "caller">): TaskId {
  const id = readId(params.id ?? "");
  if (id === null) throw taskNotFound();
  return { id, reach: caller.queues };
}

/** The key in a path, and its queue. A key that no task can have names none, nor does a queue that the caller cannot see. */
export function taskKeyOf(
  { params, caller }: Pick<Call, "params" | "caller">,
  queue: string,
): { queue: string; key: string } {
  const key = params.key ?? "";
  if (keyFault(key) !== null || !canSee(caller, queue)) throw taskNotFound();
  return { queue, key };
}
