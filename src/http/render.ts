// Owns how tasks and attempts are written as JSON text. By hand, since the payload is spliced in as the caller wrote it: through
// JSON.stringify it would lose its digits.

import type { BulkOutcome } from "../intake/outcomes.ts";
import { formatDuration } from "../task/duration.ts";
import type { Queue } from "../task/queue.ts";
import type { Attempt, RetryPolicy, Task, TaskBody } from "../task/task.ts";
import type { Audit } from "./parts.ts";
import { unreachable } from "../task/unreachable.ts";

/** RFC 3339, UTC, milliseconds. A fraction of a millisecond is rounded up, as everywhere. */
export function renderInstant(at: number): string {
  return new Date(Math.ceil(at)).toISOString();
}

/** The task of contract.md section 2, members in its order. */
export function renderTask(task: Task): string {
  const key = task.key === null ? "null" : JSON.stringify(task.key);
  const misfireGrace = task.misfireGraceMs === null ? "null" : `"${formatDuration(task.misfireGraceMs)}"`;
  const scheduleId = task.scheduleId === null ? "null" : `"${task.scheduleId}"`;
  const lastAttempt = task.lastAttempt === null ? "null" : renderAttempt(task.lastAttempt);
  return `{"id":"${task.id}","queue":${JSON.stringify(task.queue)},"key":${key},"state":"${task.state}",${renderTimes(task)},"url":${JSON.stringify(
    task.url,
  )},"method":${JSON.stringify(task.method)},"headers":${JSON.stringify(task.headers)},${renderBody(task.body)},"timeout":"${formatDuration(
    task.timeoutMs,
  )}","retry":${renderRetry(task.retry)},"misfireGrace":${misfireGrace},"delivery":"${task.delivery}","maxReschedules":${
    task.maxReschedules
  },"labels":${JSON.stringify(task.labels)},"scheduleId":${scheduleId},"attempts":${task.attempts},"cancelRequested":${
    task.cancelRequested
  },"version":${task.version},"lastAttempt":${lastAttempt}}`;
}

export function renderAttempt(attempt: Attempt): string {
  return JSON.stringify({
    number: attempt.number,
    startedAt: renderInstant(attempt.startedAt),
    finishedAt: attempt.finishedAt === null ? null : renderInstant(attempt.finishedAt),
    latenessMs: attempt.latenessMs,
    durationMs: attempt.durationMs,
    outcome: attempt.outcome,
    status: attempt.status,
    error: attempt.error,
    responseSnippet: attempt.responseSnippet,
  });
}

/** `{ items, nextCursor }`, or without the cursor where it is undefined. */
export function renderItems(items: readonly string[], nextCursor?: string | null): string {
  const cursor = nextCursor === undefined ? "" : `,"nextCursor":${JSON.stringify(nextCursor)}`;
  return `{"items":[${items.join(",")}]${cursor}}`;
}

/** `{ cancelled, notCancelled }` and the like; `more` only where there are others. */
export function renderBulk(
  outcome: BulkOutcome,
  names: { done: string; notDone: string; tombstones?: string },
): string {
  return JSON.stringify({
    [names.done]: outcome.done,
    [names.notDone]: outcome.notDone,
    ...(names.tombstones === undefined ? {} : { [names.tombstones]: outcome.tombstones }),
    ...(outcome.more ? { more: true } : {}),
  });
}

export function renderAudit(audit: Audit): string {
  const overdue = audit.overdue.map((task) => ({ ...task, dueAt: renderInstant(task.dueAt) }));
  return JSON.stringify({ ...audit, overdue });
}

/** The queue of contract.md section 4, with its name; a default that is null is Lapse's own. */
export function renderQueue({ name, concurrency, rateLimit, paused, defaults }: Queue): string {
  const { retry, timeoutMs, misfireGraceMs } = defaults;
  const orNull = (ms: number | undefined): string | null => (ms === undefined ? null : formatDuration(ms));
  return JSON.stringify({
    name,
    concurrency,
    rateLimit: rateLimit === null ? null : { limit: rateLimit.limit, per: formatDuration(rateLimit.perMs) },
    paused,
    defaults: {
      retry: retry === undefined ? null : (JSON.parse(renderRetry(retry)) as unknown),
      timeout: orNull(timeoutMs),
      misfireGrace: orNull(misfireGraceMs),
    },
  });
}

/**
 * Writes a value, or gives the last one's text again. The tasks of a batch or a flush share their instants and their queue's policy: a third
 * of the time that they take to write.
 */
function rememberingLast<Value>(write: (value: Value) => string): (value: Value) => string {
  let last: { readonly value: Value; readonly text: string } | null = null;
  return (value) => {
    if (last === null || last.value !== value) last = { value, text: write(value) };
    return last.text;
  };
}

const renderDue = rememberingLast(renderInstant);
const renderMade = rememberingLast(renderInstant);

function renderTimes(task: Task): string {
  const finishedAt = task.finishedAt === null ? "null" : `"${renderInstant(task.finishedAt)}"`;
  const [dueAt, nextAttemptAt] = [renderDue(task.dueAt), renderDue(task.nextAttemptAt)];
  const [createdAt, updatedAt] = [renderMade(task.createdAt), renderMade(task.updatedAt)];
  return `"dueAt":"${dueAt}","nextAttemptAt":"${nextAttemptAt}","createdAt":"${createdAt}","updatedAt":"${updatedAt}","finishedAt":${finishedAt}`;
}

export function renderBody(body: TaskBody): string {
  switch (body.kind) {
    case "none":
      return '"payload":null';
    case "payload":
      return `"payload":${body.json}`;
    case "raw":
      return `"payload":null,"body":${JSON.stringify(body.text)},"contentType":${JSON.stringify(body.contentType)}`;
    default:
      return unreachable(body);
  }
}

export const renderRetry = rememberingLast(writeRetry);

function writeRetry({ maxAttempts, backoff, minDelayMs, maxDelayMs, factor, jitter }: RetryPolicy): string {
  const delays = `"minDelay":"${formatDuration(minDelayMs)}","maxDelay":"${formatDuration(maxDelayMs)}"`;
  return `{"maxAttempts":${maxAttempts},"backoff":"${backoff}",${delays},"factor":${factor},"jitter":${jitter}}`;
}
