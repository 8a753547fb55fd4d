// Owns every way in which the API says no: one table of the problem types (RFC 9457), and how an error becomes one of them.
// Nothing internal leaks: what is not in the table, or was thrown as anything else, is `internal`, and the log has the rest.

import { randomUUID } from "node:crypto";
import type { Log } from "../runtime/log.ts";
import { LockTimeoutError, StoreUnavailableError } from "../store/errors.ts";
import type { Answer } from "./answer.ts";
import { lockedRetryAfterSeconds, unavailableRetryAfterSeconds } from "./limits.ts";

export const problemContentType = "application/problem+json";

/** Each problem type: `type` is `urn:lapse:problem:` and its name; status and title never vary within one. */
export const problemTypes = {
  "malformed-request": { status: 400, title: "The request cannot be read" },
  "malformed-json": { status: 400, title: "The body is not valid JSON" },
  unauthorized: { status: 401, title: "A valid API key is needed" },
  forbidden: { status: 403, title: "The API key does not allow this" },
  "foreign-host": { status: 403, title: "An API without a key answers to loopback names alone" },
  "foreign-origin": { status: 403, title: "An API without a key refuses other sites" },
  "no-such-route": { status: 404, title: "There is nothing at this path" },
  "task-not-found": { status: 404, title: "There is no such task" },
  "schedule-not-found": { status: 404, title: "There is no such schedule" },
  "queue-not-found": { status: 404, title: "There is no such queue" },
  "api-key-not-found": { status: 404, title: "There is no such API key" },
  "subscription-not-found": { status: 404, title: "There is no such subscription" },
  "method-not-allowed": { status: 405, title: "The path does not take this method" },
  "request-timeout": { status: 408, title: "The request came too slowly" },
  "key-conflict": { status: 409, title: "A live task has this key" },
  "schedule-name-conflict": { status: 409, title: "A schedule has this name" },
  "schedule-state": { status: 409, title: "The schedule's state does not allow this" },
  "task-state": { status: 409, title: "The task's state does not allow this" },
  "task-ended": { status: 409, title: "The task has ended" },
  "task-confirmed": { status: 409, title: "The receiver has confirmed the attempt in flight" },
  "confirm-refused": { status: 409, title: "The attempt may not act" },
  "too-many-api-keys": { status: 409, title: "There are as many API keys as there may be" },
  "too-many-subscriptions": { status: 409, title: "There are as many subscriptions as there may be" },
  "idempotency-in-progress": { status: 409, title: "A request with this Idempotency-Key is still in progress" },
  "version-mismatch": { status: 412, title: "It has another version" },
  "too-large": { status: 413, title: "The body is too large" },
  "unsupported-media-type": { status: 415, title: "The body's content type is not taken" },
  "headers-too-large": { status: 431, title: "The request's headers are too large" },
  "validation-failed": { status: 422, title: "Some values are not valid" },
  "idempotency-key-reused": { status: 422, title: "The Idempotency-Key was used for another request" },
  "rate-limited": { status: 429, title: "The API key has made too many requests" },
  internal: { status: 500, title: "Something went wrong inside Lapse" },
  "store-unavailable": { status: 503, title: "Postgres cannot be reached, or not in time" },
  "too-many-streams": { status: 503, title: "The process has as many streams open as it may have" },
  locked: { status: 503, title: "Another transaction holds it, or its key" },
  "answer-not-read": { status: 408, title: "The answer was not read" },
  stopping: { status: 503, title: "The process is stopping" },
  "not-ready": { status: 503, title: "Lapse is not ready" },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemName = keyof typeof problemTypes;

/** One fault of a request; `path` is a JSON pointer (RFC 6901) into the body, or `/` and the name of a parameter. */
export interface Fault {
  readonly path: string;
  readonly message: string;
}

export interface ProblemDetails {
  readonly detail: string;
  readonly errors?: readonly Fault[];
  /** Members beside the standard ones, such as a task's `state`. */
  readonly extensions?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Thrown by a handler to answer with a problem: Express and `serve` bring it to `problemAnswer`. */
export class ApiProblem extends Error {
  readonly problem: ProblemName;
  readonly details: ProblemDetails;

  constructor(problem: ProblemName, details: ProblemDetails | string) {
    const given = typeof details === "string" ? { detail: details } : details;
    super(given.detail);
    this.problem = problem;
    this.details = given;
  }

  get status(): number {
    return problemTypes[this.problem].status;
  }

  /** The problem's JSON object, members in the contract's order. */
  toJSON(): Record<string, unknown> {
    const { detail, errors, extensions } = this.details;
    const { status, title } = problemTypes[this.problem];
    const body = { type: problemUrn(this.problem), title, status, detail };
    return { ...body, ...(errors === undefined ? {} : { errors }), ...extensions };
  }
}

export function problemUrn(problem: ProblemName): string {
  return `urn:lapse:problem:${problem}`;
}

export function problemAnswer(problem: ApiProblem): Answer {
  return {
    status: problem.status,
    headers: { "content-type": problemContentType, ...problem.details.headers },
    body: JSON.stringify(problem),
  };
}

/** A 422 that lists every fault. */
export function validationFailed(errors: readonly Fault[]): ApiProblem {
  const detail = errors.length === 1 ? "One value is not valid." : `${errors.length} values are not valid.`;
  return new ApiProblem("validation-failed", { detail, errors });
}

/** What a thrown value is to a caller. A bug is logged with an id that the answer's `instance` repeats, and shows nothing of itself. */
export function problemOf(error: unknown, log: Log): ApiProblem {
  if (error instanceof ApiProblem) return error;
  if (error instanceof StoreUnavailableError) {
    log.warn({ err: error }, error.isBusy ? "store.busy" : "store.unavailable");
    return new ApiProblem("store-unavailable", {
      detail: "It may have been done all the same: repeat it with the same key or Idempotency-Key.",
      headers: { "retry-after": String(unavailableRetryAfterSeconds) },
    });
  }
  if (error instanceof LockTimeoutError) return lockedProblem();
  if (isMalformedUrl(error))
    return new ApiProblem("malformed-request", "The URL's percent-encoding is not valid UTF-8.");
  const instance = `urn:uuid:${randomUUID()}`;
  log.error({ err: error, instance }, "request.failed");
  return new ApiProblem("internal", {
    detail: "The log has more, under the id in `instance`.",
    extensions: { instance },
  });
}

export function lockedProblem(): ApiProblem {
  return new ApiProblem("locked", {
    detail: "Nothing was stored. Repeat the request.",
    headers: { "retry-after": String(lockedRetryAfterSeconds) },
  });
}

/** Express's router marks what it could not decode with a status of 400. */
function isMalformedUrl(error: unknown): boolean {
  return error instanceof URIError && "status" in error && error.status === 400;
}
