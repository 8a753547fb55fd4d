// Owns the bulk calls: cancel (with tombstones), pause, resume and retry of whatever matches a filter.

import type { z } from "zod";
import type { BulkFilter, BulkOutcome } from "../../intake/outcomes.ts";
import { type Caller, confinementProblem } from "../access.ts";
import { jsonAnswer } from "../answer.ts";
import { exampleTask } from "../examples.ts";
import { bulkBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { renderBulk } from "../render.ts";
import { defineRoute, type Route } from "../route.ts";
import { cancelledAnswer, pausedAnswer, resumedAnswer, retriedAnswer } from "../schemas/answers.ts";
import { type BulkFilterInput, bulkCancel, bulkFilter } from "../schemas/calls.ts";

type BulkParts = Pick<ApiParts, "intake">;

export function bulkRoutes({ intake }: BulkParts): Route[] {
  return [
    cancelRoute({ intake }),
    bulkRoute("pause", (filter, options) => intake.pauseMany(filter, options), {
      summary: "Pause tasks",
      description: "Those that are scheduled; the others stand in `notPaused`.",
      names: { done: "paused", notDone: "notPaused" },
      schema: pausedAnswer,
    }),
    bulkRoute("resume", (filter, options) => intake.resumeMany(filter, options), {
      summary: "Resume tasks",
      description: "Those that are paused; the others stand in `notResumed`.",
      names: { done: "resumed", notDone: "notResumed" },
      schema: resumedAnswer,
    }),
    bulkRoute("retry", (filter, options) => intake.retryMany(filter, options), {
      summary: "Retry tasks",
      description:
        "Those that are failed or missed; the others stand in `notRetried`, with the reason. Of several with one key only the newest is retried.",
      names: { done: "retried", notDone: "notRetried" },
      schema: retriedAnswer,
      refusal: { reason: "key-conflict" },
    }),
  ];
}

const repeatWords =
  "A call takes at most 10,000 tasks and says `more: true` where there are others: repeat it then. Repeating it is safe.";
const exampleFilter = { labels: { customer: "c-17" } };

function cancelRoute({ intake }: BulkParts): Route {
  const names = { done: "cancelled", notDone: "notCancelled", tombstones: "tombstones" };
  return defineRoute({
    method: "post",
    path: "/v1/tasks/cancel",
    access: "tasks:write",
    body: {
      schema: bulkCancel,
      bytesMax: bulkBytesMax,
      examples: {
        labels: { summary: "All of a customer's", value: exampleFilter },
        tombstone: {
          summary: "By key, also one that is yet to come",
          value: { keys: [exampleTask.key], tombstone: "10m" },
        },
      },
    },
    doc: {
      tag: "Bulk",
      operationId: "cancelTasks",
      summary: "Cancel tasks",
      description: `Tasks in flight get \`cancelRequested\` and stand in \`notCancelled\`. With \`tombstone\`, every key in \`keys\` gets one: it cancels whatever arrives with that key until it ends. ${repeatWords}`,
      answers: {
        200: {
          description: "What was cancelled and what was not.",
          schema: cancelledAnswer,
          example: { cancelled: [exampleTask.id], notCancelled: [], tombstones: [] },
        },
      },
      problems: ["locked"],
    },
    async handle({ body, caller }) {
      // A tombstone is a write into its queue, unlike the look for tasks there, which finds none.
      const refusal = body.tombstone === undefined ? null : confinementProblem(caller, body.queue ?? "default");
      if (refusal !== null) throw refusal;
      const options = { tombstoneMs: body.tombstone ?? null, dryRun: body.dryRun };
      return jsonAnswer(renderBulk(await intake.cancelMany(filterOf(body, caller), options), names));
    },
  });
}

interface BulkDoc {
  readonly summary: string;
  readonly description: string;
  readonly names: { readonly done: string; readonly notDone: string };
  readonly schema: z.ZodType;
  /** Members of a refusal beside id and state. */
  readonly refusal?: Readonly<Record<string, string>>;
}

type BulkAction = (filter: BulkFilter, options: { dryRun: boolean }) => Promise<BulkOutcome>;

function bulkRoute(name: string, act: BulkAction, doc: BulkDoc): Route {
  const refused = { id: exampleTask.id, state: "running", ...doc.refusal };
  return defineRoute({
    method: "post",
    path: `/v1/tasks/${name}`,
    access: "tasks:write",
    body: {
      schema: bulkFilter,
      bytesMax: bulkBytesMax,
      examples: { labels: { summary: "All of a customer's", value: exampleFilter } },
    },
    doc: {
      tag: "Bulk",
      operationId: `${name}Tasks`,
      summary: doc.summary,
      description: `${doc.description} ${repeatWords}`,
      answers: {
        200: {
          description: "What was done and what was not.",
          schema: doc.schema,
          example: { [doc.names.done]: [], [doc.names.notDone]: [refused] },
        },
      },
      problems: ["locked"],
    },
    async handle({ body, caller }) {
      return jsonAnswer(renderBulk(await act(filterOf(body, caller), { dryRun: body.dryRun }), doc.names));
    },
  });
}

/** Keys are unique within a queue, so they need one: `default`, as everywhere. Ids and labels alone look into all that the caller can see. */
function filterOf({ queue, ids, keys, labels, held }: BulkFilterInput, caller: Caller): BulkFilter {
  const queueNeeded = queue ?? (keys === undefined ? undefined : "default");
  return {
    reach: caller.queues,
    ...(queueNeeded === undefined ? {} : { queue: queueNeeded }),
    ...(ids === undefined ? {} : { ids }),
    ...(keys === undefined ? {} : { keys }),
    ...(labels === undefined ? {} : { labels }),
    ...(held === undefined ? {} : { held }),
  };
}
