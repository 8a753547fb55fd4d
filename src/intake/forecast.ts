// Owns a queue's forecast: its tasks and the occurrences of its schedules by bucket, and how long firing them takes at the present limits.

import type { Database } from "../store/database.ts";
import {
  countDispatchers,
  countDue,
  type DueCount,
  type ForecastWindow,
  readMeanDuration,
  readUpcoming,
  type Upcoming,
} from "../store/forecast.ts";
import { readQueue } from "../store/queue-settings.ts";
import { readFired } from "../store/queue-stats.ts";
import { type Arrivals, type Bottleneck, drain, throughput } from "../task/forecast.ts";
import { occurrencesAfter } from "../trigger/trigger.ts";

/** Tasks that are counted: reading so many entries of an index takes about half a second. */
export const forecastTasksMax = 1_000_000;
export const forecastSchedulesMax = 1_000;
/** Occurrences that are counted, of all schedules together: they are reckoned one by one, 1 or 2 µs each. */
export const forecastOccurrencesMax = 100_000;
/** After so many others have their turn. */
const turnOccurrences = 1_000;

export const forecastMost = {
  tasks: forecastTasksMax,
  schedules: forecastSchedulesMax,
  occurrences: forecastOccurrencesMax,
};

export interface ForecastBucket {
  readonly from: number;
  readonly tasks: number;
  readonly occurrences: number;
  /** At its end. */
  readonly backlog: number;
}

export interface Forecast extends Omit<ForecastWindow, "now"> {
  /** Due by now. */
  readonly overdue: number;
  /** Due between now and `from`, occurrences too. */
  readonly dueBefore: number;
  readonly buckets: readonly ForecastBucket[];
  /** There are more than were counted. */
  readonly more: boolean;
  readonly perSecond: number;
  readonly limitedBy: Bottleneck;
  readonly meanDurationMs: number | null;
  readonly firedPerSecond: number;
  readonly dispatchers: number;
  readonly drainedAt: number | null;
}

/** Null where there is no queue of the name. */
export async function readForecast(
  database: Database,
  name: string,
  { window, most = forecastMost }: { readonly window: ForecastWindow; readonly most?: typeof forecastMost },
): Promise<Forecast | null> {
  const queue = await database.query((connection) => readQueue(connection, name));
  if (queue === null) return null;
  const [due, schedules, meanDurationMs, { firedPerSecond }, dispatchers] = await Promise.all([
    database.query((connection) => countDue(connection, name, { ...window, limit: most.tasks + 1 })),
    database.query((connection) => readUpcoming(connection, name, { to: window.to, limit: most.schedules + 1 })),
    database.query((connection) => readMeanDuration(connection, name)),
    database.query((connection) => readFired(connection, name)),
    database.query(countDispatchers),
  ]);
  const upcoming = await countOccurrences(schedules.slice(0, most.schedules), window, most.occurrences);
  const tasks = new Map(due.map((counted) => [counted.bucket, counted]));
  const total = due.reduce((sum, { count }) => sum + count, 0);
  const { perSecond, limitedBy } = throughput(queue, { meanDurationMs, firedPerSecond, dispatchers });
  const { from, to, bucketMs, now } = window;
  const bucketCount = Math.ceil((to - from) / bucketMs);
  const numbers = Array.from({ length: bucketCount + 2 }, (_, i) => i - 2);
  const spans = numbers.map((bucket) => ({
    ...together(tasks.get(bucket), upcoming.counts.get(bucket), now),
    until: bucket === -2 ? now : Math.min(to, from + (bucket + 1) * bucketMs),
  }));
  const { backlogs, drainedAt } = drain(spans, { startAt: now, perSecond });
  return {
    from,
    to,
    bucketMs,
    overdue: spans[0]?.count ?? 0,
    dueBefore: spans[1]?.count ?? 0,
    buckets: numbers.slice(2).map((bucket) => ({
      from: from + bucket * bucketMs,
      tasks: tasks.get(bucket)?.count ?? 0,
      occurrences: upcoming.counts.get(bucket)?.count ?? 0,
      backlog: backlogs[bucket + 2] ?? 0,
    })),
    more: total > most.tasks || schedules.length > most.schedules || upcoming.more,
    perSecond,
    limitedBy,
    meanDurationMs,
    firedPerSecond,
    dispatchers,
    drainedAt,
  };
}

/** What is overdue arrives now. */
function together(tasks: DueCount | undefined, occurrences: DueCount | undefined, now: number): Arrivals {
  const given = [tasks, occurrences].filter((counted) => counted !== undefined);
  return {
    count: given.reduce((sum, { count }) => sum + count, 0),
    firstAt: Math.max(now, Math.min(...given.map(({ firstAt }) => firstAt))),
    lastAt: Math.max(now, ...given.map(({ lastAt }) => lastAt)),
  };
}

/** Occurrences that are no tasks yet, by bucket. Those missed are left out: how many of them become tasks is told when they do. */
async function countOccurrences(
  schedules: readonly Upcoming[],
  { now, from, to, bucketMs }: ForecastWindow,
  most: number,
): Promise<{ counts: Map<number, DueCount>; more: boolean }> {
  const counts = new Map<number, DueCount>();
  let total = 0;
  for (const { trigger, nextAt } of schedules) {
    for (const at of occurrencesOf({ trigger, nextAt: Math.max(nextAt, now + 1) })) {
      if (at >= to) break;
      if (total >= most) return { counts, more: true };
      total += 1;
      const bucket = at < from ? -1 : Math.floor((at - from) / bucketMs);
      const { count = 0, firstAt = at, lastAt = at } = counts.get(bucket) ?? {};
      counts.set(bucket, { bucket, count: count + 1, firstAt: Math.min(firstAt, at), lastAt: Math.max(lastAt, at) });
      if (total % turnOccurrences === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
  return { counts, more: false };
}

/** A schedule whose trigger was damaged has none: it is set aside when its time comes. */
function* occurrencesOf({ trigger, nextAt }: Upcoming): Generator<number, void> {
  try {
    yield* occurrencesAfter(trigger, nextAt - 1);
  } catch {
    // Its own look says so in the log.
  }
}
