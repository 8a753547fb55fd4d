// Owns turning a request into a task: what it left out comes from its queue, else from Lapse; and the hash that tells repeats.

import { hash } from "node:crypto";
import type { NewTask, TaskRequest } from "../task/new-task.ts";
import { builtInDefaults, type QueueDefaults } from "../task/queue.ts";

/** The whole task. A field that the queue has a default for takes it as a whole: a `retry` given in part is filled up by Lapse's own. */
export function withDefaults(request: TaskRequest, defaults: QueueDefaults): NewTask {
  const { misfireGraceMs } = request;
  const task = {
    ...request,
    timeoutMs: request.timeoutMs ?? defaults.timeoutMs ?? builtInDefaults.timeoutMs,
    retry: request.retry ?? defaults.retry ?? builtInDefaults.retry,
    // Null is a word of the caller's: however late, fire.
    misfireGraceMs:
      misfireGraceMs === undefined ? (defaults.misfireGraceMs ?? builtInDefaults.misfireGraceMs) : misfireGraceMs,
    requestHash: null,
  };
  return task.key === null ? task : { ...task, requestHash: requestHash(task) };
}

/** Tells requests apart as they were made, with a key or without: the same one has the same while its queue's defaults change. */
export function requestFingerprint(request: TaskRequest): string {
  return requestHash(withDefaults(request, {}));
}

/**
 * "The very same request" has the same hash: all fields after defaults, headers and labels in any order, a delay as such rather than as
 * the instant it leads to, the payload by its text. The trace context is no field: it differs from call to call.
 */
function requestHash(task: Omit<NewTask, "requestHash">): string {
  const { queue, key, onConflict, due, url, method, body, timeoutMs, retry, misfireGraceMs, delivery, maxReschedules } =
    task;
  const fields = [
    [queue, key, onConflict, url, method, timeoutMs, misfireGraceMs, delivery, maxReschedules],
    due.kind === "at" ? ["at", due.at] : ["delay", due.delayMs],
    body.kind === "payload" ? ["payload", body.json] : body.kind === "raw" ? ["raw", body.text, body.contentType] : [],
    [retry.maxAttempts, retry.backoff, retry.minDelayMs, retry.maxDelayMs, retry.factor, retry.jitter],
    sortedEntries(task.headers),
    sortedEntries(task.labels),
  ];
  return hash("sha256", JSON.stringify(fields), "base64url");
}

function sortedEntries(map: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(map).toSorted(([a], [b]) => (a < b ? -1 : 1));
}
