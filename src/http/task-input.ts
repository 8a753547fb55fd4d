// Owns turning a checked request into what intake takes: the body cut out of the text, the due time, and the trace that it continues.

import type { DueTime, TaskChanges, TaskRequest } from "../task/new-task.ts";
import type { TaskBody } from "../task/task.ts";
import { payloadBytesMax } from "./limits.ts";
import { ApiProblem } from "./problem.ts";
import type { NewTaskInput, TaskChangesInput } from "./schemas/task-input.ts";
import { resolveLocal } from "./times.ts";

/** `payloadText` is the payload as it was written, `path` where the task stands in the body. Throws a 413 problem. */
export function toTaskRequest(
  input: NewTaskInput,
  written: { payloadText: string | null; traceparent: string | null; path?: string },
): TaskRequest {
  const { onConflict, queue, key, url, method, headers, delivery, maxReschedules, labels } = input;
  return {
    queue,
    key,
    onConflict,
    due: dueTime(input) ?? { kind: "delay", delayMs: 0 },
    url,
    method,
    headers,
    body: taskBody(input, written.payloadText, written.path ?? "") ?? { kind: "none" },
    timeoutMs: input.timeout,
    retry: input.retry,
    misfireGraceMs: input.misfireGrace,
    delivery,
    maxReschedules,
    labels,
    traceparent: written.traceparent,
  };
}

/** The changes of a PATCH; what was left out stays out. */
export function toTaskChanges(input: TaskChangesInput, payloadText: string | null): TaskChanges {
  const { url, headers, retry, labels } = input;
  const due = dueTime(input);
  const body = taskBody(input, payloadText, "");
  return {
    ...(due === null ? {} : { due }),
    ...(body === null ? {} : { body }),
    ...(url === undefined ? {} : { url }),
    ...(headers === undefined ? {} : { headers }),
    ...(retry === undefined ? {} : { retry }),
    ...(labels === undefined ? {} : { labels }),
    ...(input.timeout === undefined ? {} : { timeoutMs: input.timeout }),
  };
}

type DueInput = Pick<TaskChangesInput, "dueAt" | "delay" | "timezone">;

/** Null where the caller said nothing of it. */
function dueTime({ dueAt, delay, timezone }: DueInput): DueTime | null {
  if (delay !== undefined) return { kind: "delay", delayMs: delay };
  if (dueAt === undefined) return null;
  if (dueAt.kind === "instant") return { kind: "at", at: dueAt.at };
  const resolved = resolveLocal(dueAt.time, timezone ?? "UTC");
  // The schema has refused a time that does not exist.
  if ("error" in resolved) throw new Error(`dueAt ${resolved.error}`);
  return { kind: "at", at: resolved.at };
}

/** Null where the caller said nothing of it. Throws a 413 problem. */
export function taskBody(
  input: Pick<TaskChangesInput, "body" | "contentType">,
  payloadText: string | null,
  path: string,
): TaskBody | null {
  const { body, contentType } = input;
  if (payloadText !== null) {
    checkSize(payloadText, `${path}/payload`);
    return { kind: "payload", json: payloadText };
  }
  if (body === undefined || contentType === undefined) return null;
  checkSize(body, `${path}/body`);
  return { kind: "raw", text: body, contentType };
}

/** A string has at most three times as many bytes as code units, so a short one is not counted. */
function checkSize(text: string, path: string): void {
  if (text.length * 3 <= payloadBytesMax || Buffer.byteLength(text) <= payloadBytesMax) return;
  throw new ApiProblem("too-large", {
    detail: "A payload may have at most 256 KiB.",
    errors: [{ path, message: `must have at most ${payloadBytesMax} bytes` }],
  });
}

const traceparentForm = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * A W3C Trace Context `traceparent` (https://www.w3.org/TR/trace-context/ section 3.2), or null where it is missing or not valid. One of a
 * later version is read by what version 00 knows of it.
 */
export function readTraceparent(header: string | string[] | undefined): string | null {
  const match = typeof header === "string" ? traceparentForm.exec(header) : null;
  if (match === null) return null;
  const [, version, traceId = "", parentId = "", flags, rest] = match;
  if (version === "ff" || (version === "00" && rest !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return null;
  return `00-${traceId}-${parentId}-${flags}`;
}
