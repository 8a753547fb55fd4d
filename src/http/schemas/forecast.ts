// Owns the shapes of a queue's forecast.

import { z } from "zod";
import "zod-openapi";
import * as limits from "../limits.ts";
import { duration, instantAnswer } from "./answers.ts";
import { queryTime } from "./calls.ts";
import { durationField } from "./fields.ts";

export const forecastQuery = z.strictObject({
  from: queryTime("Where the first bucket begins; now where it is left out or has passed.").optional(),
  to: queryTime("Where the last bucket ends; an hour after `from` where it is left out.").optional(),
  bucket: durationField(
    { minMs: limits.forecastBucketMinMs, maxMs: limits.dueAheadMaxMs },
    "The length of a bucket; left out, one that makes some tens of them.",
  ).optional(),
});
export type ForecastQuery = z.output<typeof forecastQuery>;

const count = z.int().min(0);

export const forecastAnswer = z
  .strictObject({
    queue: z.string(),
    from: instantAnswer,
    to: instantAnswer,
    bucket: duration,
    overdue: count.meta({ description: "Tasks due by now." }),
    dueBefore: count.meta({ description: "What falls due between now and `from`." }),
    buckets: z.array(
      z.strictObject({
        from: instantAnswer,
        tasks: count,
        occurrences: count.meta({ description: "Of schedules, which become tasks up to 30 s ahead." }),
        backlog: count.meta({ description: "Due and not fired at the bucket's end." }),
      }),
    ),
    more: z.literal(true).optional().meta({ description: "There is more than was counted." }),
    throughput: z.strictObject({
      perSecond: z.number().min(0).meta({ description: "The most that the queue fires at its present limits." }),
      limitedBy: z.enum(["paused", "dispatchers", "concurrency", "rateLimit"]),
      meanDurationMs: z.number().nullable().meta({ description: "Of a call, lately; null where none has ended." }),
      firedPerSecond: z.number().meta({ description: "Attempts started, over the last minute." }),
      dispatchers: count.meta({ description: "Those alive." }),
    }),
    drainedAt: instantAnswer
      .nullable()
      .meta({ description: "When all that falls due before `to` is fired; null where it never is." }),
  })
  .meta({ id: "Forecast" });

export const exampleForecast = {
  queue: "default",
  from: "2026-11-21T02:00:00.000Z",
  to: "2026-11-21T02:02:00.000Z",
  bucket: "PT1M",
  overdue: 0,
  dueBefore: 0,
  buckets: [
    { from: "2026-11-21T02:00:00.000Z", tasks: 100_000, occurrences: 1, backlog: 40_001 },
    { from: "2026-11-21T02:01:00.000Z", tasks: 1_200, occurrences: 1, backlog: 0 },
  ],
  throughput: { perSecond: 1_000, limitedBy: "concurrency", meanDurationMs: 100, firedPerSecond: 12.5, dispatchers: 2 },
  drainedAt: "2026-11-21T02:01:41.202Z",
};
