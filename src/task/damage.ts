// Owns what makes a row unfit to be sent: SQL written by hand may leave anything in it, and one such task must neither harm the others nor
// be tried again and again.

import * as limits from "./limits.ts";
import type { RetryPolicy, TaskBody } from "./task.ts";

/** What a row's loosely typed columns hold. */
export interface StoredTerms {
  readonly headers: unknown;
  readonly retry: unknown;
  readonly payload: string | null;
  readonly body: string | null;
  readonly contentType: string | null;
  readonly timeoutMs: number;
}

/** The terms as far as they can be understood, and what is wrong with the rest, or null. */
export interface ReadTerms {
  readonly headers: Readonly<Record<string, string>>;
  readonly retry: RetryPolicy;
  readonly body: TaskBody;
  readonly timeoutMs: number;
  readonly damage: string | null;
}

/** Stands for a policy that cannot be understood. */
const noRetry: RetryPolicy = { maxAttempts: 1, backoff: "fixed", minDelayMs: 0, maxDelayMs: 0, factor: 1, jitter: 0 };

export function readTerms(stored: StoredTerms): ReadTerms {
  const { headers, retry, timeoutMs } = stored;
  const body = readBody(stored);
  const faults = [
    isRecord(headers) ? null : "its headers are not an object",
    isRetryPolicy(retry) ? null : "its retry is not a policy",
    stored.payload === null || body.kind === "payload" ? null : "its payload is not JSON",
    isWithin(timeoutMs, limits.timeoutMinMs, limits.timeoutMaxMs)
      ? null
      : `its timeout of ${timeoutMs} ms is no timeout`,
  ].filter((fault) => fault !== null);
  return {
    headers: isRecord(headers) ? (headers as Record<string, string>) : {},
    retry: isRetryPolicy(retry) ? retry : noRetry,
    body,
    timeoutMs: toDuration(timeoutMs),
    damage: faults.length === 0 ? null : `The task cannot be sent: ${faults.join(", ")}`,
  };
}

/** The nearest that is a duration. */
export function toDuration(ms: number): number {
  return Math.min(Math.max(0, ms), Number.MAX_SAFE_INTEGER);
}

/** A payload that is no JSON is shown as the text that it is: spliced into an answer, it would break it. */
function readBody({ payload, body, contentType }: StoredTerms): TaskBody {
  if (payload !== null)
    return isJson(payload)
      ? { kind: "payload", json: payload }
      : { kind: "raw", text: payload, contentType: "application/json" };
  if (body !== null) return { kind: "raw", text: body, contentType: contentType ?? "application/octet-stream" };
  return { kind: "none" };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function isRetryPolicy(value: unknown): value is RetryPolicy {
  if (!isRecord(value)) return false;
  const { maxAttempts, backoff, minDelayMs, maxDelayMs, factor, jitter } = value;
  return (
    Number.isInteger(maxAttempts) &&
    isWithin(maxAttempts, limits.attemptsMin, limits.attemptsMax) &&
    (backoff === "exponential" || backoff === "fixed") &&
    isWithin(minDelayMs, 0, limits.retryDelayMaxMs) &&
    isWithin(maxDelayMs, 0, limits.retryDelayMaxMs) &&
    isWithin(factor, limits.retryFactorMin, limits.retryFactorMax) &&
    isWithin(jitter, 0, limits.retryJitterMax)
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isWithin(value: unknown, min: number, max: number): boolean {
  return typeof value === "number" && value >= min && value <= max;
}
