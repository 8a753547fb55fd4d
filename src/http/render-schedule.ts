// Owns how schedules are written as JSON text; their payload is spliced in as the caller wrote it.

import type { Schedule } from "../store/schedule.ts";
import { formatDuration } from "../task/duration.ts";
import { writeTrigger } from "../trigger/trigger.ts";
import { renderBody, renderInstant, renderRetry } from "./render.ts";

export function renderSchedule(schedule: Schedule): string {
  const { id, name, state, coalesce, maxInstances, queue, key, url, method, headers } = schedule;
  const { delivery, maxReschedules, labels, error, version, retry } = schedule;
  const before = {
    id,
    name,
    state,
    trigger: writtenTrigger(schedule),
    nextOccurrenceAt: orNull(schedule.nextOccurrenceAt, renderInstant),
    previousOccurrenceAt: orNull(schedule.previousOccurrenceAt, renderInstant),
    coalesce,
    maxInstances,
    jitter: orNull(schedule.jitterMs, formatDuration),
    queue,
    key,
    url,
    method,
    headers,
  };
  const after = {
    misfireGrace: orNull(schedule.misfireGraceMs ?? null, formatDuration),
    delivery,
    maxReschedules,
    labels,
    error,
    createdAt: renderInstant(schedule.createdAt),
    updatedAt: renderInstant(schedule.updatedAt),
    version,
  };
  const timeout = schedule.timeoutMs === null ? "null" : `"${formatDuration(schedule.timeoutMs)}"`;
  const terms = `${renderBody(schedule.body)},"timeout":${timeout},"retry":${retry === null ? "null" : renderRetry(retry)}`;
  return `{${members(before)},${terms},${members(after)}}`;
}

function members(fields: object): string {
  return JSON.stringify(fields).slice(1, -1);
}

function orNull<T>(value: number | null, write: (value: number) => T): T | null {
  return value === null ? null : write(value);
}

/** One that SQL damaged is shown as it is. */
function writtenTrigger({ trigger }: Schedule): unknown {
  try {
    return writeTrigger(trigger);
  } catch {
    return trigger;
  }
}
