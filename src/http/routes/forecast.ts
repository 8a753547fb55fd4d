// Owns GET /v1/queues/{name}/forecast: what falls due when, and how long firing it takes.

import { type Forecast, forecastMost } from "../../intake/forecast.ts";
import { formatDuration } from "../../task/duration.ts";
import { assumedDurationMs, dispatcherPerSecond } from "../../task/forecast.ts";
import { jsonAnswer } from "../answer.ts";
import { forecastBucketsMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { type Fault, validationFailed } from "../problem.ts";
import { renderInstant } from "../render.ts";
import { defineRoute, type Route } from "../route.ts";
import { queueNameParameter } from "../schemas/queues.ts";
import { type ForecastQuery, exampleForecast, forecastAnswer, forecastQuery } from "../schemas/forecast.ts";
import { nameOf, queueNotFound, queuePath } from "./queues.ts";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const windowMsDefault = hourMs;
/** Where nothing is said a bucket is the least of these of which there are no more than so many. */
const bucketsMs = [1, 10, 60, 300, 900, 3_600, 21_600, 86_400].map((seconds) => seconds * secondMs);
const bucketsDefaultMax = 60;

export function forecastRoute({ queues, clock }: Pick<ApiParts, "queues" | "clock">): Route {
  return defineRoute({
    method: "get",
    path: `${queuePath}/forecast`,
    access: "tasks:read",
    query: forecastQuery,
    doc: {
      tag: "Queues",
      operationId: "forecastQueue",
      summary: "What falls due when, and how long firing it takes",
      description: about,
      params: { name: queueNameParameter },
      answers: { 200: { description: "The forecast.", schema: forecastAnswer, example: exampleForecast } },
      problems: ["queue-not-found"],
    },
    async handle(call) {
      const name = nameOf(call);
      const forecast = await queues.forecast(name, windowOf(call.query, Math.floor(clock.now())));
      if (forecast === null) throw queueNotFound();
      return jsonAnswer(JSON.stringify(shown(name, forecast)));
    },
  });
}

/** What is left out is an hour from now, and some tens of buckets. Throws a 422 problem. */
function windowOf({ from: given, to: end, bucket }: ForecastQuery, now: number) {
  const from = Math.max(given ?? now, now);
  const to = end ?? from + windowMsDefault;
  const lengthMs = to - from;
  const bucketMs =
    bucket ?? bucketsMs.find((ms) => lengthMs <= ms * bucketsDefaultMax) ?? Math.ceil(lengthMs / bucketsDefaultMax);
  const faults: Fault[] = [];
  if (lengthMs <= 0) faults.push({ path: "/to", message: "must be later than now, and than from" });
  else if (Math.ceil(lengthMs / bucketMs) > forecastBucketsMax)
    faults.push({ path: "/bucket", message: `must make at most ${forecastBucketsMax} buckets of from and to` });
  if (faults.length > 0) throw validationFailed(faults);
  return { now, from, to, bucketMs };
}

function shown(queue: string, { more, bucketMs, buckets, drainedAt, from, to, ...rest }: Forecast): unknown {
  const { overdue, dueBefore, perSecond, limitedBy, meanDurationMs, firedPerSecond, dispatchers } = rest;
  return {
    queue,
    from: renderInstant(from),
    to: renderInstant(to),
    bucket: formatDuration(bucketMs),
    overdue,
    dueBefore,
    buckets: buckets.map((one) => ({ ...one, from: renderInstant(one.from) })),
    ...(more ? { more } : {}),
    throughput: {
      perSecond: Number(perSecond.toPrecision(4)),
      limitedBy,
      meanDurationMs: meanDurationMs === null ? null : Number(meanDurationMs.toPrecision(4)),
      firedPerSecond,
      dispatchers,
    },
    drainedAt: drainedAt === null ? null : renderInstant(drainedAt),
  };
}

const about = `Counts what is \`scheduled\` by its \`nextAttemptAt\`, and by their time the occurrences of the queue's active schedules that are no tasks yet (without jitter; those missed and not yet made up are left out). Each bucket begins at its \`from\`; what is due by now is \`overdue\`, what falls due before the first bucket \`dueBefore\`. A \`from\` in the past is now. Up to ${forecastBucketsMax} buckets; the first ${forecastMost.tasks} tasks are counted, and ${forecastMost.occurrences} occurrences of ${forecastMost.schedules} schedules: where there are more, \`more\` is true and the counts are the least that there is.

\`throughput.perSecond\` is the least of: \`concurrency\` / \`meanDurationMs\` (Little's law, with all slots taken; the mean of the last calls of the queue's latest 100 tasks that ended, ${assumedDurationMs} ms where it is null), \`rateLimit\`, and ${dispatcherPerSecond} for each living dispatcher (what one was measured to fire on two cores that everything shared: yours may do more or less), or \`firedPerSecond\` where that is more; 0 where the queue is paused. \`limitedBy\` says which. \`firedPerSecond\` is what it really fired over the last minute. \`backlog\` is what is due and not fired at a bucket's end, carried from bucket to bucket at that rate (Lindley's recursion), what is overdue included; \`drainedAt\` is when all that falls due before \`to\` is fired, null where it never is. Retries, which come on top, and other queues, which share the dispatchers, are not reckoned with.`;
