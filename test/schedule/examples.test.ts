// Owns the check that the examples of polling run as they are told of: on to the next stage, and an end at success or the first error.

import { afterAll, beforeAll, expect, test } from "vitest";
import { pollByReschedule } from "../../scripts/examples/reschedule.ts";
import { pollBySchedule } from "../../scripts/examples/schedule.ts";
import { type Flow, startFlow } from "../support/flow.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

const toTheEnd = [
  "look 1: not yet",
  "look 2: next stage",
  "look 3: not yet",
  "look 4: next stage",
  "look 5: not yet",
  "look 6: all done",
];

test.each([
  ["one task that is rescheduled", pollByReschedule, "succeeded", "failed"],
  ["a schedule that its receiver ends", pollBySchedule, "ended", "ended"],
] as const)("by %s", async (_name, poll, succeeded, failed) => {
  const run = async (failing: string | null) => {
    const said: string[] = [];
    const options = { url: flow.service.url, every: "1s", failing, say: (line: string) => void said.push(line) };
    return { ...(await poll(options)), said };
  };
  const [well, badly] = await Promise.all([run(null), run("packing")]);
  expect(well).toEqual({ outcome: "all done", looks: 6, state: succeeded, said: toTheEnd });
  expect(badly).toMatchObject({ outcome: "failed", looks: 4, state: failed });
});

test("a poll by reschedule is bounded: one more than maxReschedules ends the task failed", async () => {
  const hook = flow.hook({ headers: { "lapse-reschedule": "1s" } });
  const task = await flow.create({ url: hook.url, delay: "0s", maxReschedules: 2 });
  const ended = await flow.reaches(task.id, "failed");
  expect([ended.attempts, hook.requests.length]).toEqual([3, 3]);
  expect(ended.lastAttempt?.error).toContain("maxReschedules (2)");
});
