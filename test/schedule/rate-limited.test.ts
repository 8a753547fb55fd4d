// Owns the fact about schedules whose queue has a rate limit.

import { afterAll, beforeAll, expect, test } from "vitest";
import { fullestWindow } from "../fault/rate-windows.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { everySecond, makeSchedule, tasksOf } from "./scheduling.ts";

let flow: Flow;
beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

test("occurrences start no faster than their queue's limit lets them, each once, and wait for their turn", async () => {
  const queue = unique("queue");
  const perMs = 2_000;
  await flow.api.put(`/v1/queues/${queue}`, { rateLimit: { limit: 1, per: `${perMs}ms` } });
  const hook = flow.hook();
  const { id } = await makeSchedule(flow, { trigger: everySecond, url: hook.url, queue, maxInstances: 100 });
  const seen = [await hook.next(), await hook.next(), await hook.next()];
  expect(new Set(seen.map(({ headers }) => headers["webhook-id"])).size).toBe(seen.length);
  const tasks = await tasksOf(flow, id, "&state=scheduled,running,succeeded");
  const started = tasks.flatMap(({ lastAttempt }) => (lastAttempt === null ? [] : [Date.parse(lastAttempt.startedAt)]));
  expect(started.length).toBeGreaterThanOrEqual(seen.length);
  expect(fullestWindow(started, perMs - 1).starts).toBe(1);
  // At one a second there are more than were let go: the others are due, and wait.
  const overdue = tasks.filter(({ state, dueAt }) => state === "scheduled" && Date.parse(dueAt) < Date.now());
  expect(overdue.length).toBeGreaterThan(0);
  expect(tasks.filter(({ attempts }) => attempts > 1)).toEqual([]);
});
