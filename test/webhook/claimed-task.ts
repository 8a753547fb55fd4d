// A claimed task for tests of the sender: a POST without a body; each test says what matters to it.

import type { ClaimedTask } from "../../src/task/claimed-task.ts";

export function claimedTask(fields: Partial<ClaimedTask> = {}): ClaimedTask {
  const now = Date.now();
  return {
    id: "0193a1b2-0000-7000-8000-000000000001",
    queue: "default",
    key: null,
    attempt: 1,
    attemptsBefore: 0,
    dueAt: now,
    latenessMs: 0,
    url: "https://shop.example/hooks/cancel-order",
    method: "POST",
    headers: {},
    body: { kind: "none" },
    timeoutMs: 5_000,
    retry: {
      maxAttempts: 10,
      backoff: "exponential",
      minDelayMs: 5_000,
      maxDelayMs: 21_600_000,
      factor: 3,
      jitter: 0.2,
    },
    delivery: "at-least-once",
    reschedules: 0,
    maxReschedules: null,
    traceparent: null,
    damage: null,
    ...fields,
  };
}
