// Owns the facts about defaults: what a task leaves out is its queue's word, else Lapse's, and the same request has the same fingerprint.

import { expect, test } from "vitest";
import { requestFingerprint, withDefaults } from "../../src/intake/defaults.ts";
import { builtInDefaults, type QueueDefaults } from "../../src/task/queue.ts";
import type { TaskRequest } from "../../src/task/new-task.ts";

const request: TaskRequest = {
  queue: "default",
  key: "order-1042",
  onConflict: "reject",
  due: { kind: "delay", delayMs: 0 },
  url: "https://shop.example/hooks",
  method: "POST",
  headers: {},
  body: { kind: "none" },
  delivery: "at-least-once",
  maxReschedules: null,
  labels: {},
  traceparent: null,
};
const retry = { ...builtInDefaults.retry, maxAttempts: 3 };
const defaults: QueueDefaults = { retry, timeoutMs: 7_000, misfireGraceMs: 60_000 };

test("a task that leaves a field out takes its queue's default", () => {
  expect(withDefaults(request, defaults)).toMatchObject(defaults);
});

test("where the queue has none, it takes Lapse's own", () => {
  expect(withDefaults(request, {})).toMatchObject(builtInDefaults);
});

test("what the task says itself counts, null too", () => {
  const said = { retry: { ...retry, maxAttempts: 9 }, timeoutMs: 100, misfireGraceMs: null };
  expect(withDefaults({ ...request, ...said }, defaults)).toMatchObject(said);
});

test("a request that spells its queue's defaults out is the very same", () => {
  const spelled = { ...request, retry, timeoutMs: 7_000, misfireGraceMs: 60_000 };
  expect(withDefaults(spelled, defaults).requestHash).toBe(withDefaults(request, defaults).requestHash);
});

test("its fingerprint, which an Idempotency-Key is held to, stays when the queue's defaults change", () => {
  expect(requestFingerprint(request)).toBe(withDefaults(request, {}).requestHash);
});

test("a request without a key has a fingerprint, and no hash", () => {
  const keyless = { ...request, key: null };
  expect(requestFingerprint(keyless)).toMatch(/^[\w-]{43}$/);
  expect(withDefaults(keyless, {}).requestHash).toBeNull();
});
