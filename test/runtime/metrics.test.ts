// Owns the facts about metrics: that their number is bounded, whatever callers name their queues.

import { expect, test } from "vitest";
import { Metrics } from "../../src/runtime/metrics.ts";

test("the first 200 queues have series of their own, and all others share one", async () => {
  const metrics = new Metrics();
  const settle = (queue: string): void =>
    metrics.attemptSettled({ queue, outcome: "succeeded", latenessMs: 1, durationMs: 1, isFirst: true });
  for (let n = 1; n <= 205; n += 1) settle(`q${n}`);
  settle("q200");
  const { body } = await metrics.text();
  const counts = new Map(
    [...body.matchAll(/^lapse_attempts_total\{queue="([^"]+)",outcome="succeeded"\} (\d+)$/gm)].map((found) => [
      found[1],
      found[2],
    ]),
  );
  expect(counts.size).toBe(201);
  expect([counts.get("q200"), counts.get("q201"), counts.get("(other)")]).toEqual(["2", undefined, "5"]);
});
