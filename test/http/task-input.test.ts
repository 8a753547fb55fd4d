// Owns the checks of what intake is given: the body cut out of the text, the due time, the hash of the very same request.

import { describe, expect, test } from "vitest";
import { memberText } from "../../src/http/json-spans.ts";
import { payloadBytesMax } from "../../src/http/limits.ts";
import { ApiProblem } from "../../src/http/problem.ts";
import { createTaskSchemas } from "../../src/http/schemas/task-input.ts";
import { readTraceparent, toTaskRequest, toTaskChanges } from "../../src/http/task-input.ts";
import { withDefaults } from "../../src/intake/defaults.ts";
import type { NewTask } from "../../src/task/new-task.ts";
import { stubParts } from "./stub-parts.ts";

const schemas = createTaskSchemas(stubParts());
const url = "https://shop.example/hooks";

function accepted(json: string, traceparent: string | null = null): NewTask {
  const input = schemas.newTask.parse(JSON.parse(json));
  return withDefaults(toTaskRequest(input, { payloadText: memberText(json, "payload"), traceparent }), {});
}

const task = (fields: object): NewTask => accepted(JSON.stringify({ url, ...fields }));

function problemOf(make: () => unknown): ApiProblem {
  try {
    make();
  } catch (error) {
    if (error instanceof ApiProblem) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("the body", () => {
  test("is the payload's own text", () => {
    const payload = '{"id": 12345678901234567890, "price": 1.10, "2": 0, "1": 0}';
    expect(accepted(`{"url":"${url}","payload": ${payload} }`).body).toEqual({ kind: "payload", json: payload });
  });

  test("is a payload also where that is null", () => {
    expect(task({ payload: null }).body).toEqual({ kind: "payload", json: "null" });
  });

  test("is raw where it was given as such", () => {
    expect(task({ body: "a=1", contentType: "text/plain" }).body).toEqual({
      kind: "raw",
      text: "a=1",
      contentType: "text/plain",
    });
  });

  test("is none where nothing was given", () => {
    expect(task({}).body).toEqual({ kind: "none" });
  });

  // Two bytes of quotes, and é has two bytes.
  test.each([
    ["a".repeat(payloadBytesMax - 2), "a".repeat(payloadBytesMax - 1)],
    ["é".repeat(payloadBytesMax / 2 - 1), "é".repeat(payloadBytesMax / 2)],
  ])("of a payload may have 256 KiB and not one byte more", (within, past) => {
    expect(task({ payload: within }).body.kind).toBe("payload");
    const problem = problemOf(() => task({ payload: past }));
    expect(problem.status).toBe(413);
    expect(problem.details.errors).toEqual([{ path: "/payload", message: "must have at most 262144 bytes" }]);
  });

  test("of raw text may have 256 KiB and not one byte more", () => {
    const contentType = "text/plain";
    expect(task({ body: "a".repeat(payloadBytesMax), contentType }).body.kind).toBe("raw");
    expect(problemOf(() => task({ body: "a".repeat(payloadBytesMax + 1), contentType })).status).toBe(413);
  });
});

describe("the due time", () => {
  test.each<[object, NewTask["due"]]>([
    [{}, { kind: "delay", delayMs: 0 }],
    [{ delay: "30m" }, { kind: "delay", delayMs: 1_800_000 }],
    [{ delay: "PT0.0001S" }, { kind: "delay", delayMs: 1 }],
    [{ dueAt: "2026-11-21T10:30:00+08:00" }, { kind: "at", at: Date.parse("2026-11-21T02:30:00Z") }],
    [
      { dueAt: "2026-11-21T10:30:00", timezone: "Asia/Shanghai" },
      { kind: "at", at: Date.parse("2026-11-21T02:30:00Z") },
    ],
    [{ dueAt: "2026-11-21T10:30:00" }, { kind: "at", at: Date.parse("2026-11-21T10:30:00Z") }],
    [{ dueAt: "1999-01-01T00:00:00Z" }, { kind: "at", at: Date.parse("1999-01-01T00:00:00Z") }],
  ])("of %j is %j", (fields, due) => {
    expect(task(fields).due).toEqual(due);
  });
});

describe("the hash", () => {
  const base = { key: "k", delay: "30m", labels: { a: "1", b: "2" }, headers: { x: "1", y: "2" }, payload: { a: 1 } };

  test.each<[string, object]>([
    [
      "a default is spelled out",
      { ...base, queue: "default", method: "POST", timeout: "30s", retry: { maxAttempts: 10 } },
    ],
    ["a duration is spelled otherwise", { ...base, delay: "PT30M" }],
    ["labels and headers come in another order", { ...base, labels: { b: "2", a: "1" }, headers: { y: "2", x: "1" } }],
  ])("is the same where %s", (_name, fields) => {
    expect(task(fields).requestHash).toBe(task(base).requestHash);
  });

  test("is the same whatever the trace context", () => {
    const json = JSON.stringify({ url, ...base });
    expect(accepted(json, `00-${"a".repeat(32)}-${"b".repeat(16)}-01`).requestHash).toBe(task(base).requestHash);
  });

  test.each<[string, object]>([
    ["key", { key: "l" }],
    ["queue", { queue: "q" }],
    ["url", { url: `${url}/` }],
    ["delay", { delay: "31m" }],
    ["due time", { delay: undefined, dueAt: "2026-11-21T10:30:00Z" }],
    ["method", { method: "PUT" }],
    ["headers", { headers: { x: "1" } }],
    ["labels", { labels: { a: "1", b: "3" } }],
    ["payload", { payload: { a: 2 } }],
    ["kind of body", { payload: undefined, body: '{"a":1}', contentType: "application/json" }],
    ["timeout", { timeout: "31s" }],
    ["retry", { retry: { maxAttempts: 11 } }],
    ["misfireGrace", { misfireGrace: "1m" }],
    ["delivery", { delivery: "at-most-once" }],
    ["maxReschedules", { maxReschedules: 0 }],
    ["onConflict", { onConflict: "keep" }],
  ])("differs with the %s", (_name, fields) => {
    expect(task({ ...base, ...fields }).requestHash).not.toBe(task(base).requestHash);
  });

  test("is none without a key, which alone asks for it", () => {
    expect(task({ ...base, key: null }).requestHash).toBeNull();
  });

  test("differs with the payload's spelling", () => {
    const hashes = ["1.1", "1.10"].map(
      (price) => accepted(`{"url":"${url}","key":"k","payload":${price}}`).requestHash,
    );
    expect(new Set(hashes).size).toBe(2);
  });
});

test("a change says only what was given", () => {
  const input = schemas.taskChanges.parse({ delay: "1s", payload: [1], timeout: "1s", retry: {} });
  expect(toTaskChanges(input, "[1.0]")).toEqual({
    due: { kind: "delay", delayMs: 1_000 },
    body: { kind: "payload", json: "[1.0]" },
    timeoutMs: 1_000,
    retry: {
      maxAttempts: 10,
      backoff: "exponential",
      minDelayMs: 5_000,
      maxDelayMs: 21_600_000,
      factor: 3,
      jitter: 0.2,
    },
  });
});

describe("a traceparent", () => {
  const valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

  test.each<[string | undefined, string | null]>([
    [valid, valid],
    [valid.replace("00-", "cc-"), valid],
    [`${valid.replace("00-", "cc-")}-more`, valid],
    [`${valid}-more`, null],
    [valid.replace("00-", "ff-"), null],
    [valid.toUpperCase(), null],
    [`00-${"0".repeat(32)}-b7ad6b7169203331-01`, null],
    [`00-0af7651916cd43dd8448eb211c80319c-${"0".repeat(16)}-01`, null],
    [`${valid}, ${valid}`, null],
    ["", null],
    [undefined, null],
  ])("%j is kept as %j", (header, kept) => {
    expect(readTraceparent(header)).toBe(kept);
  });
});
