// Owns POST /v1/tasks/batch: many tasks in one call, each with an answer of its own, or all or none.

import { requestFingerprint } from "../../intake/defaults.ts";
import { type AcceptOutcome, isRefused } from "../../intake/outcomes.ts";
import type { TaskRequest } from "../../task/new-task.ts";
import { type Answer, jsonAnswer } from "../answer.ts";
import { isWithin } from "../body.ts";
import { exampleNewTask, exampleTask } from "../examples.ts";
import { idempotencyScope, onceAnswer } from "../idempotency.ts";
import { itemMemberTexts } from "../json-spans.ts";
import { batchBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem, lockedProblem, problemAnswer, validationFailed } from "../problem.ts";
import { readTask } from "../read-task.ts";
import { renderItems, renderTask } from "../render.ts";
import { type Call, defineRoute, type Route } from "../route.ts";
import { batchAnswer } from "../schemas/answers.ts";
import { batchBody } from "../schemas/calls.ts";
import type { TaskSchemas } from "../schemas/task-input.ts";
import { readTraceparent } from "../task-input.ts";
import { acceptHeaders, keepable, refusal } from "./accept.ts";

const batchPath = "/v1/tasks/batch";

export function batchRoute(parts: Pick<ApiParts, "intake">, schemas: TaskSchemas): Route {
  return defineRoute({
    method: "post",
    path: batchPath,
    access: "tasks:write",
    body: { schema: batchBody, bytesMax: batchBytesMax, itemsAt: "tasks", examples },
    doc: {
      tag: "Tasks",
      operationId: "createTasks",
      summary: "Schedule up to 1,000 webhooks",
      description:
        "Each task has its own answer, in order: those that are refused do not hold up the others. With `atomic`, all are stored or none; what refuses one refuses all, and `errors[].path` says which.",
      headers: acceptHeaders,
      answers: { 200: { description: "One item a task, in order.", schema: batchAnswer, example: exampleAnswer } },
      problems: ["key-conflict", "idempotency-in-progress", "idempotency-key-reused", "locked"],
    },
    async handle(call) {
      const { atomic } = call.body;
      const items = readItems(call, call.body.tasks, schemas);
      if (atomic) refuseFaulty(items);
      const tasks = items.filter((item): item is TaskRequest => !(item instanceof ApiProblem));
      if (tasks.length === 0) return batchResult(items, [], atomic);
      const render = (outcomes: AcceptOutcome[]): Answer => batchResult(items, outcomes, atomic);
      const idempotency = idempotencyScope(call, batchPath, () => fingerprint(items, call));
      if (idempotency === null) return render(await parts.intake.acceptMany(tasks, { atomic }));
      const outcome = await parts.intake.acceptOnce(tasks, { atomic, idempotency }, (outcomes) =>
        keepable(render(outcomes)),
      );
      return onceAnswer(outcome);
    },
  });
}

const exampleBatch = {
  tasks: [exampleNewTask, { ...exampleNewTask, key: "order-1043:payment-timeout" }],
  atomic: true,
};
const examples = { orders: { summary: "Two orders, all or none", value: exampleBatch } };
const exampleAnswer = { items: [{ status: 201, task: exampleTask }] };

/** One of the batch: what to accept, or why not. */
type Item = TaskRequest | ApiProblem;

function readItems(call: Call, tasks: readonly unknown[], schemas: TaskSchemas): Item[] {
  const payloadTexts = itemMemberTexts(call.bodyText, "tasks", "payload");
  const reading = { schemas, caller: call.caller, traceparent: readTraceparent(call.headers.traceparent) };
  return tasks.map((value, index) => {
    const faults =
      call.itemFaults.length === 0 ? [] : call.itemFaults.filter((fault) => isWithin(fault, ["tasks", index]));
    return readTask({ value, payloadText: payloadTexts[index] ?? null, faults, path: `/tasks/${index}` }, reading);
  });
}

/** Atomic: the faults of all tasks in one problem, before anything is stored. */
function refuseFaulty(items: readonly Item[]): void {
  const problems = items.filter((item) => item instanceof ApiProblem);
  const errors = problems.flatMap(({ details }) => details.errors ?? []);
  if (errors.length === 0) return;
  if (problems.some(({ problem }) => problem !== "forbidden")) throw validationFailed(errors);
  throw new ApiProblem("forbidden", { detail: "Nothing was stored: the API key is confined to other queues.", errors });
}

function batchResult(items: readonly Item[], outcomes: readonly AcceptOutcome[], atomic: boolean): Answer {
  if (atomic) {
    const problem = atomicRefusal(outcomes);
    if (problem !== null) return problemAnswer(problem);
  }
  let next = 0;
  return jsonAnswer(
    renderItems(
      items.map((item) => (item instanceof ApiProblem ? renderProblem(item) : renderOutcome(outcomes[next++]))),
    ),
  );
}

function renderOutcome(outcome: AcceptOutcome | undefined): string {
  if (outcome === undefined) throw new Error("intake answered fewer outcomes than tasks");
  if (isRefused(outcome)) return renderProblem(refusal(outcome));
  return `{"status":${outcome.kind === "created" ? 201 : 200},"task":${renderTask(outcome.task)}}`;
}

function renderProblem(problem: ApiProblem): string {
  return `{"status":${problem.status},"problem":${JSON.stringify(problem)}}`;
}

/** Why an atomic batch stored nothing: 409 with each key that is taken, else 503 for a lock, else null. */
function atomicRefusal(outcomes: readonly AcceptOutcome[]): ApiProblem | null {
  const errors = outcomes.flatMap((outcome, index) =>
    outcome.kind === "conflict"
      ? [{ path: `/tasks/${index}/key`, message: `is the key of the live task ${outcome.task.id}` }]
      : [],
  );
  if (errors.length > 0) return new ApiProblem("key-conflict", { detail: "Nothing was stored.", errors });
  return outcomes.some(({ kind }) => kind === "locked") ? lockedProblem() : null;
}

/**
 * What makes two batches the same: their tasks' hashes in order, and `atomic`. Where one of the tasks was refused, the text as it was
 * written: what was refused may be nested too deep to be written anew.
 */
function fingerprint(items: readonly Item[], { body, bodyText }: Call<unknown, { readonly atomic: boolean }>): string {
  const tasks = items.filter((item): item is TaskRequest => !(item instanceof ApiProblem));
  return tasks.length < items.length ? bodyText : JSON.stringify([body.atomic, ...tasks.map(requestFingerprint)]);
}
