// Owns the examples of the OpenAPI document: one order, followed through the calls.

export const exampleTask = {
  id: "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57",
  queue: "default",
  key: "order-1042:payment-timeout",
  state: "scheduled",
  dueAt: "2026-11-21T02:30:00.000Z",
  nextAttemptAt: "2026-11-21T02:30:00.000Z",
  createdAt: "2026-11-21T02:00:00.000Z",
  updatedAt: "2026-11-21T02:00:00.000Z",
  finishedAt: null,
  url: "https://shop.example/hooks/cancel-order",
  method: "POST",
  headers: {},
  payload: { orderId: 1042 },
  timeout: "PT30S",
  retry: { maxAttempts: 10, backoff: "exponential", minDelay: "PT5S", maxDelay: "PT6H", factor: 3, jitter: 0.2 },
  misfireGrace: null,
  delivery: "at-least-once",
  maxReschedules: null,
  labels: {},
  scheduleId: null,
  attempts: 0,
  cancelRequested: false,
  version: 1,
  lastAttempt: null,
};

export const exampleAttempt = {
  number: 1,
  startedAt: "2026-11-21T02:30:00.004Z",
  finishedAt: "2026-11-21T02:30:00.051Z",
  latenessMs: 4,
  durationMs: 47,
  outcome: "succeeded",
  status: 200,
  error: null,
  responseSnippet: "ok",
};

export const exampleCancelled = {
  ...exampleTask,
  state: "cancelled",
  finishedAt: "2026-11-21T02:12:40.120Z",
  version: 2,
};

export const exampleRunning = {
  ...exampleTask,
  state: "running",
  attempts: 1,
  cancelRequested: true,
  version: 3,
  lastAttempt: {
    ...exampleAttempt,
    finishedAt: null,
    durationMs: null,
    outcome: null,
    status: null,
    responseSnippet: null,
  },
};

export const exampleNewTask = {
  url: "https://shop.example/hooks/cancel-order",
  delay: "30m",
  key: "order-1042:payment-timeout",
  payload: { orderId: 1042 },
};

export const exampleNewSchedule = {
  name: "nightly-report",
  trigger: { type: "cron", expression: "30 5 * * mon-fri", timezone: "Asia/Shanghai" },
  url: "https://shop.example/hooks/report",
  payload: { kind: "daily" },
};

export const exampleSchedule = {
  id: "01937a52-7b10-7c44-9d20-6a1f0b2c3d4e",
  name: "nightly-report",
  state: "active",
  trigger: {
    type: "cron",
    expression: "30 5 * * mon-fri",
    dialect: "crontab",
    timezone: "Asia/Shanghai",
    startAt: null,
    endAt: null,
  },
  nextOccurrenceAt: "2026-11-22T21:30:00.000Z",
  previousOccurrenceAt: "2026-11-19T21:30:00.000Z",
  coalesce: true,
  maxInstances: 1,
  jitter: null,
  queue: "default",
  key: null,
  url: "https://shop.example/hooks/report",
  method: "POST",
  headers: {},
  payload: { kind: "daily" },
  timeout: null,
  retry: null,
  misfireGrace: null,
  delivery: "at-least-once",
  maxReschedules: null,
  labels: {},
  error: null,
  createdAt: "2026-11-01T02:00:00.000Z",
  updatedAt: "2026-11-01T02:00:00.000Z",
  version: 1,
};
