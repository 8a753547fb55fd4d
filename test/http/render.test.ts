// Owns the checks of how tasks are written: by the document's schemas, in the contract's order, the payload as it came.

import { describe, expect, test } from "vitest";
import {
  renderAttempt,
  renderAudit,
  renderBulk,
  renderInstant,
  renderItems,
  renderTask,
} from "../../src/http/render.ts";
import {
  attemptAnswer,
  auditAnswer,
  cancelledAnswer,
  retriedAnswer,
  taskAnswer,
  taskPageAnswer,
} from "../../src/http/schemas/answers.ts";
import type { Attempt, Task } from "../../src/task/task.ts";
import { knownId, knownTask, nowMs } from "./stub-parts.ts";

const attempt: Attempt = {
  number: 2,
  startedAt: nowMs + 4,
  finishedAt: nowMs + 51,
  latenessMs: 4,
  durationMs: 47,
  outcome: "failed",
  status: 500,
  error: null,
  responseSnippet: 'no "stock"\n\u2028',
};
const running: Attempt = {
  ...attempt,
  finishedAt: null,
  durationMs: null,
  outcome: null,
  status: null,
  responseSnippet: null,
};

const tasks: Record<string, Task> = {
  "one that waits": knownTask,
  "one without a key or a body": { ...knownTask, key: null, body: { kind: "none" } },
  "one with a raw body": {
    ...knownTask,
    body: { kind: "raw", text: 'a="1"\n', contentType: 'text/plain; charset="utf-8"' },
  },
  "one whose names need escapes": {
    ...knownTask,
    key: 'a"b\\c/é😀',
    url: "https://shop.example/?q=a%22b",
    headers: { "x-a": 'quote "' },
    labels: { 'l"': "\u2029" },
  },
  "one that ended": {
    ...knownTask,
    state: "failed",
    finishedAt: nowMs + 51,
    attempts: 2,
    misfireGraceMs: 60_000,
    delivery: "at-most-once",
    maxReschedules: 3,
    scheduleId: knownId,
    lastAttempt: attempt,
  },
  "one that runs": { ...knownTask, state: "running", attempts: 2, cancelRequested: true, lastAttempt: running },
};

describe("a task is written as the document says", () => {
  test.each(Object.entries(tasks))("%s", (_name, task) => {
    const read = taskAnswer.parse(JSON.parse(renderTask(task)));
    expect(read).toMatchObject({
      id: task.id,
      key: task.key,
      state: task.state,
      url: task.url,
      headers: task.headers,
      labels: task.labels,
      attempts: task.attempts,
      maxReschedules: task.maxReschedules,
      scheduleId: task.scheduleId,
      cancelRequested: task.cancelRequested,
    });
  });
});

test("a task's fields come in the contract's order", () => {
  const fields =
    "id queue key state dueAt nextAttemptAt createdAt updatedAt finishedAt url method headers payload timeout retry misfireGrace delivery maxReschedules labels scheduleId attempts cancelRequested version lastAttempt";
  expect(Object.keys(JSON.parse(renderTask(knownTask)) as object).join(" ")).toBe(fields);
});

test("times are UTC with milliseconds, durations ISO 8601", () => {
  expect(JSON.parse(renderTask({ ...knownTask, timeoutMs: 250, misfireGraceMs: 5_400_000 }))).toMatchObject({
    dueAt: "2026-11-21T02:30:00.000Z",
    timeout: "PT0.25S",
    misfireGrace: "PT1H30M",
    retry: { maxAttempts: 10, backoff: "exponential", minDelay: "PT5S", maxDelay: "PT6H", factor: 3, jitter: 0.2 },
  });
  expect(renderInstant(nowMs + 0.25)).toBe("2026-11-21T02:00:00.001Z");
});

test.each(["12345678901234567890", "1.10", '{"2": 0,"1":1e400, "a":"\\u00e9"}', "null", '"x"'])(
  "the payload %s is written as it came",
  (json) => {
    expect(renderTask({ ...knownTask, body: { kind: "payload", json } })).toContain(`"payload":${json},"timeout"`);
  },
);

test("a raw body is written beside a payload of null", () => {
  const body = { kind: "raw", text: "a=1", contentType: "text/plain" } as const;
  expect(JSON.parse(renderTask({ ...knownTask, body }))).toMatchObject({
    payload: null,
    body: "a=1",
    contentType: "text/plain",
  });
});

test("an attempt is written as the document says, with exactly the contract's fields", () => {
  for (const given of [attempt, running])
    expect(() => attemptAnswer.parse(JSON.parse(renderAttempt(given)))).not.toThrow();
  const fields = "number startedAt finishedAt latenessMs durationMs outcome status error responseSnippet";
  expect(Object.keys(JSON.parse(renderAttempt(attempt)) as object).join(" ")).toBe(fields);
});

test("a page has a cursor, also where there is no next one", () => {
  const page = renderItems([renderTask(knownTask), renderTask(knownTask)], "c");
  expect(taskPageAnswer.parse(JSON.parse(page))).toMatchObject({
    items: [{ id: knownId }, { id: knownId }],
    nextCursor: "c",
  });
  expect(renderItems([], null)).toBe('{"items":[],"nextCursor":null}');
  expect(renderItems([])).toBe('{"items":[]}');
});

describe("a bulk outcome", () => {
  test("says more only where there are others", () => {
    const outcome = { done: ["a"], notDone: [{ id: "b", state: "running" }], tombstones: ["k"], more: false } as const;
    const names = { done: "cancelled", notDone: "notCancelled", tombstones: "tombstones" };
    const shape = { cancelled: ["a"], notCancelled: [{ id: "b", state: "running" }], tombstones: ["k"] };
    expect(cancelledAnswer.parse(JSON.parse(renderBulk(outcome, names)))).toEqual(shape);
    expect(JSON.parse(renderBulk({ ...outcome, more: true }, names))).toEqual({ ...shape, more: true });
  });

  test("has tombstones only where it is a cancel's, and the reason of a refused retry", () => {
    const outcome = {
      done: [],
      notDone: [{ id: "b", state: "failed", reason: "key-conflict" }],
      tombstones: [],
      more: false,
    } as const;
    const json = renderBulk(outcome, { done: "retried", notDone: "notRetried" });
    expect(retriedAnswer.parse(JSON.parse(json))).toEqual({ retried: [], notRetried: outcome.notDone });
  });
});

test("the audit is written as the document says", () => {
  const queue = { queue: "default", accepted: 3, succeeded: 1, failed: 0, cancelled: 1, missed: 0, live: 1, pruned: 0 };
  const audit = {
    balanced: true,
    queues: [queue],
    overdueCount: 1,
    overdue: [{ id: knownId, queue: "default", dueAt: nowMs }],
  };
  expect(auditAnswer.parse(JSON.parse(renderAudit(audit)))).toEqual({
    ...audit,
    overdue: [{ id: knownId, queue: "default", dueAt: "2026-11-21T02:00:00.000Z" }],
  });
});
