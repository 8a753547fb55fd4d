// Owns POST /v1/tasks/import: tasks without end, one a line, answered line by line while they come.

import { z } from "zod";
import type { TogetherOutcome } from "../../intake/outcomes.ts";
import { ApiProblem, problemOf } from "../problem.ts";
import type { StreamAnswer } from "../answer.ts";
import { parseJson, unstorableFaults } from "../body.ts";
import { exampleNewTask } from "../examples.ts";
import { readIdempotencyKey } from "../idempotency.ts";
import { Import, type ImportLimits, importLimits, type Outcome } from "../importer.ts";
import { memberText } from "../json-spans.ts";
import { taskBytesMax, importProgressLines, importsMax, streamsRetryAfterSeconds } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { readTask, type TaskReading } from "../read-task.ts";
import { type Call, defineRoute, type Route } from "../route.ts";
import { importLineAnswer } from "../schemas/answers.ts";
import type { TaskSchemas } from "../schemas/task-input.ts";
import { readTraceparent } from "../task-input.ts";
import { refusal } from "./accept.ts";

type ImportRouteParts = Pick<ApiParts, "intake" | "log" | "stopping">;

const headers = {
  "content-type": "application/x-ndjson",
  // nginx would hold the answer back until its buffer is full.
  "x-accel-buffering": "no",
};

export function importRoute(
  { intake, log, stopping }: ImportRouteParts,
  schemas: TaskSchemas,
  limits: ImportLimits = importLimits,
): Route {
  const underWay = new Set<Import>();
  stopping.addEventListener("abort", () => {
    for (const one of underWay) one.stop(new ApiProblem("stopping", "Import again from `line` on."));
  });
  return defineRoute({
    method: "post",
    path: "/v1/tasks/import",
    access: "tasks:write",
    lines: { schema: schemas.newTask, examples },
    doc: {
      tag: "Tasks",
      operationId: "importTasks",
      summary: "Schedule any number of webhooks",
      description: about,
      headers: importHeaders,
      answers: {
        200: {
          description: "JSON objects, one a line, as they come to be known; the last one says how it ended.",
          schema: importLineAnswer,
          example: { accepted: 999_998, refused: 2, done: true },
          contentType: "application/x-ndjson",
        },
      },
      problems: ["too-many-streams", "stopping"],
    },
    async handle(call): Promise<StreamAnswer> {
      check(call, underWay.size, stopping);
      const reading = { schemas, caller: call.caller, traceparent: readTraceparent(call.headers.traceparent) };
      const started = new Import({
        body: call.lines(),
        read: (text) => readLine(text, reading),
        accept: async (tasks) => (await intake.acceptTogether(tasks)).map(outcomeOf),
        problemOf: (error) => problemOf(error, log),
        limits,
      });
      underWay.add(started);
      return {
        status: 200,
        headers,
        open: (sink) => void started.run(sink).finally(() => underWay.delete(started)),
        refuse: (why) => started.stop(problemOf(why, log)),
      };
    },
  });
}

function outcomeOf(outcome: TogetherOutcome): Outcome {
  if (outcome.kind === "accepted") return null;
  return outcome.kind === "failed" ? { thrown: outcome.error } : refusal(outcome);
}

function check({ rawHeaders }: Call, underWay: number, stopping: AbortSignal): void {
  if (readIdempotencyKey(rawHeaders) !== null)
    throw new ApiProblem("malformed-request", "An import takes no Idempotency-Key: give its tasks keys of their own.");
  const retryAfter = { "retry-after": String(streamsRetryAfterSeconds) };
  if (stopping.aborted) throw new ApiProblem("stopping", { detail: "Ask another process.", headers: retryAfter });
  if (underWay >= importsMax)
    throw new ApiProblem("too-many-streams", {
      detail: "Come back later, or ask another process.",
      headers: retryAfter,
    });
}

function readLine(text: string, reading: TaskReading) {
  try {
    const value = parseJson(text);
    const payloadText = memberText(text, "payload");
    return readTask({ value, payloadText, faults: unstorableFaults(text), path: "" }, reading);
  } catch (error) {
    if (error instanceof ApiProblem) return error;
    throw error;
  }
}

const examples = {
  timeout: { summary: "A line", value: exampleNewTask },
};

const importHeaders = z.object({
  traceparent: z.string().optional().meta({ description: "W3C Trace Context; each call of the tasks continues it." }),
});

const about = `The body is NDJSON: a task a line, as \`POST /v1/tasks\` takes it, of up to ${taskBytesMax} bytes, as many as you like. It is read as it comes and held in memory by no one: stream it, and read the answer while you send.

The answer is NDJSON too, in the order of the lines:

| line | when |
| --- | --- |
| \`{ line, problem }\` | that line (from 1, blank ones counted) was refused: \`problem\` is what \`POST /v1/tasks\` would have answered |
| \`{ accepted, refused }\` | so far, after each ${importProgressLines} |
| \`{ accepted, refused, done: true }\` | the last line, where all was read |
| \`{ accepted, refused, done: false, line, problem }\` | the last line, where the import stopped before its end: all lines before \`line\` are counted. Import again from there on |

\`accepted\` are lines that \`POST /v1/tasks\` would have answered with 2xx, each committed to disk by then. An answer without a last line of \`done\` was cut off: what was accepted stays accepted. Lines with keys may be imported again: the very same task that stands is accepted, and not made twice. Without a key it would be; so \`Idempotency-Key\` is refused here. Lines with the same key take effect in their order.

It stops with \`store-unavailable\` (Postgres is away; lines from \`line\` on may have been accepted all the same), \`stopping\` (the process ends), \`unauthorized\` (the API key was revoked), \`request-timeout\` (no whole line came for 60 s) or \`answer-not-read\` (4 MiB of refused lines are not read for 60 s). What you still send is then read and dropped for up to 60 s.

Blank lines are passed over, a line may end in \`\\r\\n\`, the last one needs no end, and a byte order mark at the beginning is ignored. It counts as one request where LAPSE_RATE_LIMIT is set. A process takes ${importsMax} imports at once.`;
