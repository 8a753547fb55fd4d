// Owns the check that every form of trigger can be previewed and made over HTTP, as the README writes them, and runs.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Flow, startFlow, unique } from "../support/flow.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});

afterAll(async () => {
  await flow.stop();
});

/** The triggers that the README shows beside those of APScheduler's user guide. */
const guideForms = [
  ...readFileSync(new URL("../../README.md", import.meta.url), "utf8").matchAll(/`(\{ "type": .*?\})`/g),
].map(([, text = ""]) => text);

test.each(guideForms)("%s makes a schedule, and is previewed as it is written out again", async (text) => {
  const trigger: unknown = JSON.parse(text);
  const answer = await flow.api.post("/v1/schedules", { name: unique("form"), url: flow.hook().url, trigger });
  expect(answer.status).toBe(201);
  const made = JSON.parse(answer.text) as { trigger: object; createdAt: string; nextOccurrenceAt: string };
  const asked = { trigger: made.trigger, after: made.createdAt, count: 1 };
  const preview = await flow.api.post("/v1/schedules/preview", asked);
  expect(JSON.parse(preview.text)).toEqual({ occurrences: [made.nextOccurrenceAt] });
});

const secondMs = 1_000;

test.concurrent.each<[string, (soon: string) => object]>([
  ["a date", (soon) => ({ type: "date", at: soon })],
  ["an interval", () => ({ type: "interval", every: "1s" })],
  ["an interval with a start", (soon) => ({ type: "interval", every: "1h", startAt: soon })],
  ["crontab's six fields", () => ({ type: "cron", expression: "* * * * * *" })],
  ["APScheduler's fields", () => ({ type: "cron", fields: { second: "*" }, timezone: "Asia/Kolkata" })],
])("%s runs", async (_name, triggerAt) => {
  const hook = flow.hook();
  const name = unique("runs");
  const soon = new Date(Date.now() + 2 * secondMs).toISOString();
  const made = await flow.api.post("/v1/schedules", { name, url: hook.url, trigger: triggerAt(soon) });
  expect(made.status).toBe(201);
  const { id, nextOccurrenceAt } = JSON.parse(made.text) as { id: string; nextOccurrenceAt: string };
  const { headers } = await hook.next();
  // Of occurrences that a busy machine is late for, the latest alone is met.
  expect(Date.parse(String(headers["lapse-due-at"]))).toBeGreaterThanOrEqual(Date.parse(nextOccurrenceAt));
  await flow.api.delete(`/v1/schedules/${id}`);
});
