// Owns a stand-in for the rest of Lapse, for wiring checks alone: it stores nothing and knows one task. What the stores promise is
// tested against real ones elsewhere.

import type { ApiParts } from "../../src/http/parts.ts";
import type { AcceptOutcome } from "../../src/intake/outcomes.ts";
import type { Schedule } from "../../src/store/schedule.ts";
import type { ApiKey } from "../../src/store/api-keys.ts";
import { withDefaults } from "../../src/intake/defaults.ts";
import type { Subscription } from "../../src/store/subscriptions.ts";
import type { Queue, QueueStats } from "../../src/task/queue.ts";
import type { TaskRequest } from "../../src/task/new-task.ts";
import type { Task } from "../../src/task/task.ts";

export const knownId = "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57";
export const knownKey = "order-1042:payment-timeout";
export const apiKey = "a-secret-for-tests";
export const confirmToken = "token-of-the-first-attempt";
/** 2026-11-21T02:00:00Z */
export const nowMs = 1_795_226_400_000;

/** Lets read, in one queue. */
export const knownApiKey: ApiKey = {
  id: "7Kq2Xv9B",
  name: "checkout",
  scopes: ["tasks:read"],
  queues: ["mail"],
  createdBy: "root",
  createdAt: nowMs,
  lastUsedAt: null,
  expiresAt: null,
};
export const storedKey = "the-key-of-checkout";

export const knownSubscription: Subscription = {
  id: knownId,
  url: "https://shop.example/hooks/lapse-events",
  types: ["task.failed"],
  queue: null,
  createdAt: nowMs,
  dropped: 0,
};

export const knownTask: Task = {
  id: knownId,
  queue: "default",
  key: knownKey,
  state: "scheduled",
  dueAt: nowMs + 1_800_000,
  nextAttemptAt: nowMs + 1_800_000,
  createdAt: nowMs,
  updatedAt: nowMs,
  finishedAt: null,
  url: "https://shop.example/hooks/cancel-order",
  method: "POST",
  headers: {},
  body: { kind: "payload", json: '{"orderId":1042}' },
  timeoutMs: 30_000,
  retry: {
    maxAttempts: 10,
    backoff: "exponential",
    minDelayMs: 5_000,
    maxDelayMs: 21_600_000,
    factor: 3,
    jitter: 0.2,
  },
  misfireGraceMs: null,
  delivery: "at-least-once",
  maxReschedules: null,
  labels: {},
  traceparent: null,
  scheduleId: null,
  attempts: 0,
  cancelRequested: false,
  version: 1,
  lastAttempt: null,
};

export const knownSchedule: Schedule = {
  id: knownId,
  name: "nightly-report",
  state: "active",
  trigger: { type: "interval", everyMs: 60_000, startAt: nowMs, endAt: null, timezone: "UTC" },
  nextOccurrenceAt: nowMs + 60_000,
  previousOccurrenceAt: nowMs,
  coalesce: true,
  maxInstances: 1,
  jitterMs: null,
  queue: "default",
  key: null,
  url: knownTask.url,
  method: "POST",
  headers: {},
  body: { kind: "none" },
  timeoutMs: null,
  retry: null,
  misfireGraceMs: undefined,
  delivery: "at-least-once",
  maxReschedules: null,
  labels: {},
  error: null,
  createdAt: nowMs,
  updatedAt: nowMs,
  version: 1,
};

export const knownQueue: Queue = {
  name: "default",
  concurrency: 100,
  rateLimit: { limit: 50, perMs: 1_000 },
  paused: false,
  defaults: { timeoutMs: 10_000 },
};

const knownStats: QueueStats = {
  counts: { scheduled: 1, paused: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0, missed: 0 },
  oldestOverdueMs: 0,
  firedPerSecond: 0,
  latenessMs: { p50: null, p99: null },
};

/** The task that would come of a new one, as far as an answer shows it. */
export function taskOf(request: TaskRequest): Task {
  const task = withDefaults(request, {});
  const dueAt = task.due.kind === "at" ? task.due.at : nowMs + task.due.delayMs;
  return { ...knownTask, ...task, dueAt, nextAttemptAt: dueAt };
}

const created = (task: TaskRequest): AcceptOutcome => ({ kind: "created", task: taskOf(task) });
const done = async () => ({ kind: "done", task: knownTask }) as const;
const bulk = async () => ({ done: [knownId], notDone: [], tombstones: [], more: false });

/** Every part answers at once; give some to see what they are asked, or to have them fail. */
export function stubParts(given: Partial<ApiParts> = {}): ApiParts {
  return {
    intake: {
      accept: async (task) => created(task),
      acceptTogether: async (tasks) => tasks.map(() => ({ kind: "accepted" })),
      acceptMany: async (tasks) => tasks.map(created),
      acceptOnce: async (tasks, _options, render) => ({
        kind: "answered",
        answer: render(tasks.map(created)),
        replayed: false,
      }),
      cancel: async () => ({ kind: "cancelled", task: { ...knownTask, state: "cancelled" } }),
      confirm: async () => ({ kind: "confirmed", task: knownTask }),
      change: done,
      pause: done,
      resume: done,
      run: done,
      retry: done,
      cancelMany: bulk,
      pauseMany: bulk,
      resumeMany: bulk,
      retryMany: bulk,
    },
    tasks: {
      read: async ({ id }) => (id === knownId ? knownTask : null),
      readByKey: async (_queue, key) => (key === knownKey ? knownTask : null),
      list: async () => ({ items: [knownTask], next: null }),
      attempts: async ({ id }) => (id === knownId ? [] : null),
    },
    schedules: {
      create: async () => ({ kind: "created", schedule: knownSchedule }),
      createOnce: async (_schedule, _options, render) => ({
        kind: "answered",
        answer: render({ kind: "created", schedule: knownSchedule }),
        replayed: false,
      }),
      read: async ({ id }) => (id === knownId ? knownSchedule : null),
      list: async () => ({ items: [knownSchedule], next: null }),
      change: async () => ({ kind: "done", schedule: knownSchedule }),
      pause: async () => ({ kind: "done", schedule: knownSchedule }),
      resume: async () => ({ kind: "done", schedule: knownSchedule }),
      remove: async ({ id }) => id === knownId,
      run: async () => knownTask,
    },
    queues: {
      list: async () => ({ items: [knownQueue], next: null }),
      read: async (name) => (name === knownQueue.name ? knownQueue : null),
      put: async (name) => ({ ...knownQueue, name }),
      change: async (name) => (name === knownQueue.name ? knownQueue : null),
      purge: async (name) => (name === knownQueue.name ? 0 : null),
      forecast: async () => null,
      stats: async (name) => (name === knownQueue.name ? knownStats : null),
    },
    audit: async () => ({ balanced: true, queues: [], overdueCount: 0, overdue: [] }),
    readiness: async () => ({ ready: true, degraded: false, checks: { postgres: "ok" } }),
    metrics: {
      text: async () => ({ contentType: "text/plain; version=0.0.4", body: "# none\n" }),
      httpRequest: () => undefined,
    },
    signingSecrets: async () => ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    confirmToken: {
      verify: (token, id, attempt) => token === confirmToken && id === knownId && attempt === 1,
    },
    checkUrl: (url) => (URL.canParse(url) && /^https?:/.test(url) ? null : "must be an http or https URL"),
    checkHeaders: (headers) =>
      Object.keys(headers)
        .filter((name) => name.toLowerCase() === "host")
        .map((name) => ({ name, message: "must not be set" })),
    clock: { now: () => nowMs },
    log: silentLog,
    stopping: new AbortController().signal,
    access: { apiKey: null, loopbackOnly: true },
    apiKeys: {
      make: async (fields) => ({ key: { ...knownApiKey, ...fields }, text: storedKey }),
      list: async () => [knownApiKey],
      revoke: async (id) => id === knownApiKey.id,
      holder: async (text) => (text === storedKey ? knownApiKey : null),
    },
    events: {
      open: async () => ({
        run: (sink) => {
          sink.write(": connected\n\n");
          sink.end();
        },
      }),
    },
    subscriptions: {
      make: async (fields) => ({ ...knownSubscription, ...fields }),
      list: async () => [knownSubscription],
      read: async (id) => (id === knownSubscription.id ? knownSubscription : null),
      remove: async (id) => id === knownSubscription.id,
    },
    rateLimit: null,
    version: "0.0.0-test",
    role: "all",
    ...given,
  };
}

const ignore = (): void => undefined;
const silentLog = { debug: ignore, info: ignore, warn: ignore, error: ignore, fatal: ignore };
