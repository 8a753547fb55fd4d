// Owns turning a checked request into the schedule that intake takes, and the hash that tells repeats.

import { hash } from "node:crypto";
import type { NewSchedule, ScheduleChanges, ScheduleDefinition } from "../store/schedule.ts";
import type { NewScheduleInput, ScheduleChangesInput } from "./schemas/schedule-input.ts";
import { taskBody } from "./task-input.ts";

/** `payloadText` is the payload as it was written, `bodyText` the whole request. Throws a 413 problem. */
export function toNewSchedule(
  input: NewScheduleInput,
  written: { payloadText: string | null; bodyText: string; traceparent: string | null },
): NewSchedule {
  const {
    onConflict,
    payload: _payload,
    body: _body,
    contentType: _type,
    timeout,
    retry,
    misfireGrace,
    jitter,
    ...rest
  } = input;
  const definition: ScheduleDefinition = {
    ...rest,
    body: taskBody(input, written.payloadText, "") ?? { kind: "none" },
    timeoutMs: timeout ?? null,
    retry: retry ?? null,
    misfireGraceMs: misfireGrace,
    jitterMs: jitter,
  };
  return { ...definition, onConflict, traceparent: written.traceparent, requestHash: requestHash(input, written) };
}

/** The changes of a PATCH; what was left out stays out. */
export function toScheduleChanges(input: ScheduleChangesInput, payloadText: string | null): ScheduleChanges {
  const { payload: _payload, body: _body, contentType: _type, timeout, retry, misfireGrace, jitter, ...rest } = input;
  const body = taskBody(input, payloadText, "");
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return {
    ...given,
    ...(body === null ? {} : { body }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(retry === undefined ? {} : { retry }),
    ...(misfireGrace === undefined ? {} : { misfireGraceMs: misfireGrace }),
    ...(jitter === undefined ? {} : { jitterMs: jitter }),
  };
}

/**
 * "The very same request" has the same hash: all fields after defaults, whatever their order, the payload by its text, and the trigger as it
 * was written: an interval without a start begins at another time whenever it is sent.
 */
function requestHash(input: NewScheduleInput, written: { payloadText: string | null; bodyText: string }): string {
  const { trigger } = JSON.parse(written.bodyText) as { trigger: unknown };
  return hash("sha256", JSON.stringify(sorted({ ...input, trigger, payload: written.payloadText })), "base64url");
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, member]) => [name, sorted(member)]);
}
