// Owns the decision: what an attempt's result means for its task (contract, sections 2 and 3). Pure: the instant and the dice are given.

import type { AnswerHeaders, AttemptResult } from "./attempt-result.ts";
import { backoffMs } from "./backoff.ts";
import type { ClaimedTask } from "./claimed-task.ts";
import { parseDuration } from "./duration.ts";
import { receiverDelayMaxMs } from "./limits.ts";
import { readRetryAfter } from "./retry-after.ts";
import type { Next, Settlement } from "./settlement.ts";
import { storableText } from "./storable-text.ts";

/** The longest error text that is kept, in characters. */
export const errorLengthMax = 500;
/** Of where a redirect leads, for people to see what the URL should have been. */
const locationLengthMax = 300;

/** The least by which a receiver may reschedule. */
const rescheduleMsMin = 1_000;

const goneStatus = 410;
/** Too Many Requests and Service Unavailable: the answers whose `Retry-After` is heeded. */
const retryAfterStatuses: ReadonlySet<number> = new Set([429, 503]);

/** The instant of the result, by Postgres's clock, and the source of jitter. */
export interface SettleAt {
  readonly now: number;
  readonly random: () => number;
}

type Answer = Extract<AttemptResult, { kind: "answered" }>;

/** Says how the attempt is recorded and what comes next. It knows nothing of cancels: the store lets those win. */
export function settle(task: ClaimedTask, result: AttemptResult, at: SettleAt): Settlement {
  switch (result.kind) {
    case "answered":
      return settleAnswer(task, result, at);
    case "timed-out":
      return unanswered("timed-out", result.error, tryAgain(task, at));
    case "reset":
      return unanswered("failed", result.error, tryAgain(task, at));
    case "lost":
      return unanswered("lost", result.error, tryAgainNow(task, at));
    // Nothing was sent, so a task that may be sent only once may be tried again.
    case "refused":
      return unanswered("refused", result.error, retryWithin(task, at));
    case "blocked":
      return unanswered("blocked", result.error, retryWithin(task, at));
    case "unsendable":
      return unanswered("blocked", result.error, { kind: "failed" });
    default:
      return unreachable(result);
  }
}

function settleAnswer(task: ClaimedTask, answer: Answer, at: SettleAt): Settlement {
  const { status, headers } = answer;
  const isSuccess = status >= 200 && status <= 299;
  if (says(headers.noRetry, "true")) {
    const error = `The receiver answered ${status} with lapse-no-retry: true`;
    return answered(answer, { outcome: "failed", error, next: { kind: "failed" }, confirmStands: isSuccess });
  }
  if (isSuccess && headers.reschedule !== null)
    return settleReschedule(task, answer, { ...at, asked: headers.reschedule });
  if (isSuccess) {
    const endsSchedule = says(headers.schedule, "end");
    return answered(answer, {
      outcome: "succeeded",
      error: null,
      next: { kind: "succeeded" },
      confirmStands: true,
      endsSchedule,
    });
  }
  const next: Next =
    status === goneStatus ? { kind: "failed" } : tryAgain(task, at, askedDelayMs(status, headers, at.now));
  return answered(answer, { outcome: "failed", error: describeFailure(answer), next, confirmStands: false });
}

/** The receiver is not done yet. That also says that it did not act, even where the time that it names cannot be used. */
function settleReschedule(task: ClaimedTask, answer: Answer, at: SettleAt & { asked: string }): Settlement {
  const delay = parseDuration(at.asked.trim(), { minMs: rescheduleMsMin, maxMs: receiverDelayMaxMs });
  if ("error" in delay) {
    const error = `The receiver's lapse-reschedule ${JSON.stringify(storableText(at.asked, 100))} ${delay.error}`;
    return answered(answer, { outcome: "failed", error, next: tryAgain(task, at), confirmStands: false });
  }
  if (task.maxReschedules !== null && task.reschedules >= task.maxReschedules) {
    const error = `The receiver rescheduled the task more often than maxReschedules (${task.maxReschedules}) allows`;
    return answered(answer, { outcome: "failed", error, next: { kind: "failed" }, confirmStands: false });
  }
  const next: Next = { kind: "reschedule", dueAt: Math.ceil(at.now + delay.ms) };
  return answered(answer, { outcome: "rescheduled", error: null, next, confirmStands: false });
}

/** After a request that was sent: never again where the task may be sent at most once. */
function tryAgain(task: ClaimedTask, at: SettleAt, delayMsMin = 0): Next {
  return task.delivery === "at-most-once" ? { kind: "failed" } : retryWithin(task, at, delayMsMin);
}

/** What a drain or a crash cut off is due at once: the receiver is not to blame. */
function tryAgainNow(task: ClaimedTask, at: SettleAt): Next {
  if (task.delivery === "at-most-once" || attemptsMade(task) >= task.retry.maxAttempts) return { kind: "failed" };
  return { kind: "retry", nextAttemptAt: Math.ceil(at.now) };
}

function retryWithin(task: ClaimedTask, at: SettleAt, delayMsMin = 0): Next {
  const made = attemptsMade(task);
  if (made >= task.retry.maxAttempts) return { kind: "failed" };
  const delayMs = Math.max(backoffMs(task.retry, made, at.random), delayMsMin);
  return { kind: "retry", nextAttemptAt: Math.ceil(at.now + delayMs) };
}

/** Attempts of this budget, this one included; lost ones count too. */
function attemptsMade(task: ClaimedTask): number {
  return task.attempt - task.attemptsBefore;
}

function askedDelayMs(status: number, headers: AnswerHeaders, now: number): number {
  return retryAfterStatuses.has(status) ? (readRetryAfter(headers.retryAfter, now) ?? 0) : 0;
}

function says(header: string | null, word: string): boolean {
  return header?.trim().toLowerCase() === word;
}

function describeFailure({ status, headers: { location } }: Answer): string {
  const isRedirect = status >= 300 && status <= 399;
  if (!isRedirect) return `The receiver answered ${status}`;
  const to = location === null ? "" : ` with the location ${JSON.stringify(storableText(location, locationLengthMax))}`;
  return `The receiver answered ${status}${to}; redirects are not followed`;
}

function answered(
  answer: Answer,
  verdict: Pick<Settlement, "outcome" | "error" | "next" | "confirmStands"> & { readonly endsSchedule?: boolean },
): Settlement {
  return {
    endsSchedule: false,
    ...verdict,
    status: answer.status,
    error: verdict.error === null ? null : storableText(verdict.error, errorLengthMax),
    responseSnippet: storableText(answer.snippet, answer.snippet.length),
  };
}

/** No answer came, so nobody knows whether the receiver acted: a confirm stands. */
function unanswered(outcome: Settlement["outcome"], error: string, next: Next): Settlement {
  return {
    outcome,
    status: null,
    error: storableText(error, errorLengthMax),
    responseSnippet: null,
    next,
    confirmStands: true,
    endsSchedule: false,
  };
}

function unreachable(result: never): never {
  throw new Error(`An attempt cannot come to ${JSON.stringify(result)}`);
}
