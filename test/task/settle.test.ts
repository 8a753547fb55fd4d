// What each result means for its task: the contract's answer table, row by row, and the rules of section 2 on top of it.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AnswerHeaders, AttemptResult } from "../../src/task/attempt-result.ts";
import type { ClaimedTask } from "../../src/task/claimed-task.ts";
import { errorLengthMax, settle } from "../../src/task/settle.ts";
import type { RetryPolicy } from "../../src/task/task.ts";
import { claimedTask } from "../webhook/claimed-task.ts";

const now = Date.parse("2026-11-21T02:30:00.000Z");
const dayMs = 86_400_000;
/** Without jitter, so that instants can be told: 5 s, 15 s, 45 s … up to 6 h. */
const retry: RetryPolicy = {
  maxAttempts: 10,
  backoff: "exponential",
  minDelayMs: 5_000,
  maxDelayMs: 21_600_000,
  factor: 3,
  jitter: 0,
};

const firstAttempt = claimedTask({ dueAt: now - 10, latenessMs: 2, timeoutMs: 30_000, retry });
const lastAttempt: ClaimedTask = { ...firstAttempt, attempt: 10 };
const atMostOnce: ClaimedTask = { ...firstAttempt, delivery: "at-most-once" };
const silent: AnswerHeaders = { retryAfter: null, reschedule: null, schedule: null, noRetry: null, location: null };

function answer(status: number, headers: Partial<AnswerHeaders> = {}): AttemptResult {
  return { kind: "answered", status, headers: { ...silent, ...headers }, snippet: "so it is" };
}

function settleWith(result: AttemptResult, task = firstAttempt) {
  return settle(task, result, { now, random: () => 0.5 });
}

describe("a 2xx answer", () => {
  test.each([200, 201, 202, 204, 299])("%i ends the task succeeded", (status) => {
    expect(settleWith(answer(status))).toEqual({
      outcome: "succeeded",
      status,
      error: null,
      responseSnippet: "so it is",
      next: { kind: "succeeded" },
      confirmStands: true,
      endsSchedule: false,
    });
  });

  test.each([
    ["30s", 30_000],
    ["PT1S", 1_000],
    [" 2d ", 2 * dayMs],
    ["P3653D", 3_653 * dayMs],
    ["PT1.0001S", 1_001],
  ])("with lapse-reschedule %s fires the same task again after that time", (asked, delayMs) => {
    expect(settleWith(answer(200, { reschedule: asked }))).toMatchObject({
      outcome: "rescheduled",
      status: 200,
      error: null,
      next: { kind: "reschedule", dueAt: now + delayMs },
      confirmStands: false,
      endsSchedule: false,
    });
  });

  test.each(["", "0s", "999ms", "P3653DT1S", "soon", "30", "-30s", "30s, 40s", "\0"])(
    "with lapse-reschedule %j is a failed attempt, and not done by its own word",
    (asked) => {
      const settlement = settleWith(answer(200, { reschedule: asked }));
      expect(settlement).toMatchObject({
        outcome: "failed",
        status: 200,
        error: expect.stringMatching(/^The receiver's lapse-reschedule ".*" (must|needs)/),
        next: { kind: "retry", nextAttemptAt: now + 5_000 },
        confirmStands: false,
      });
      expect(settlement.error).not.toContain("\0");
    },
  );

  test("with a lapse-reschedule that cannot be used ends an at-most-once task, and one without attempts left", () => {
    expect(settleWith(answer(200, { reschedule: "soon" }), atMostOnce).next).toEqual({ kind: "failed" });
    expect(settleWith(answer(200, { reschedule: "soon" }), lastAttempt).next).toEqual({ kind: "failed" });
  });

  test("may reschedule on the last attempt and at-most-once, since the budget starts anew", () => {
    const again = { kind: "reschedule", dueAt: now + 1_000 };
    expect(settleWith(answer(200, { reschedule: "1s" }), lastAttempt).next).toEqual(again);
    expect(settleWith(answer(200, { reschedule: "1s" }), atMostOnce).next).toEqual(again);
  });

  test("may reschedule maxReschedules times; one more ends the task failed", () => {
    const third = { ...firstAttempt, maxReschedules: 3, reschedules: 2 };
    expect(settleWith(answer(200, { reschedule: "1s" }), third)).toMatchObject({ outcome: "rescheduled" });
    const fourth = { ...third, reschedules: 3 };
    expect(settleWith(answer(200, { reschedule: "1s" }), fourth)).toMatchObject({
      outcome: "failed",
      error: expect.stringContaining("maxReschedules (3)"),
      next: { kind: "failed" },
      confirmStands: false,
    });
    expect(settleWith(answer(200), fourth)).toMatchObject({ outcome: "succeeded" });
    expect(settleWith(answer(200, { reschedule: "1s" }), { ...firstAttempt, maxReschedules: 0 }).next).toEqual({
      kind: "failed",
    });
  });

  test("with lapse-schedule: end succeeds and ends the schedule", () => {
    const settlement = settleWith(answer(200, { schedule: " End " }));
    expect(settlement).toMatchObject({ outcome: "succeeded", next: { kind: "succeeded" }, endsSchedule: true });
    expect(settleWith(answer(200, { schedule: "never" })).endsSchedule).toBe(false);
    expect(settleWith(answer(500, { schedule: "end" })).endsSchedule).toBe(false);
  });
});

describe("a receiver that wants no more attempts", () => {
  test("says so by 410", () => {
    expect(settleWith(answer(410))).toMatchObject({
      outcome: "failed",
      status: 410,
      error: "The receiver answered 410",
      next: { kind: "failed" },
      confirmStands: false,
    });
  });

  test.each([200, 301, 404, 429, 500, 503])("or by lapse-no-retry: true with any answer, such as %i", (status) => {
    const settlement = settleWith(
      answer(status, { noRetry: " TRUE", retryAfter: "5", reschedule: "5s", schedule: "end" }),
    );
    expect(settlement).toMatchObject({ outcome: "failed", status, next: { kind: "failed" }, endsSchedule: false });
    expect(settlement.error).toContain("lapse-no-retry");
    expect(settlement.confirmStands).toBe(status === 200);
  });

  test("does not by any other value", () => {
    expect(settleWith(answer(500, { noRetry: "false" })).next.kind).toBe("retry");
    expect(settleWith(answer(200, { noRetry: "1" })).next.kind).toBe("succeeded");
  });
});

describe("Retry-After", () => {
  const waits: [status: number, retryAfter: string, delayMs: number][] = [
    [429, "60", 60_000],
    [503, "60", 60_000],
    [503, " 60 ", 60_000],
    [429, "1", 5_000],
    [429, "0", 5_000],
    [429, String(3_653 * 86_400), 3_653 * dayMs],
    [429, String(3_653 * 86_400 + 1), 3_653 * dayMs],
    [429, "9".repeat(400), 3_653 * dayMs],
    [503, "Sat, 21 Nov 2026 02:31:00 GMT", 60_000],
    [503, "Saturday, 21-Nov-26 02:31:00 GMT", 60_000],
    [503, "Sat Nov 21 02:31:00 2026", 60_000],
    [503, "Wed, 21 Nov 2029 02:30:00 GMT", 1_096 * dayMs],
    [503, "Wed, 21 Nov 2046 02:30:00 GMT", 3_653 * dayMs],
    [503, "Sat, 21 Nov 2020 02:31:00 GMT", 5_000],
    [503, "Sat, 99 Nov 2026 02:31:00 GMT", 5_000],
    [429, "soon", 5_000],
    [429, "-60", 5_000],
    [429, "60.5", 5_000],
    [429, "2026-11-21T02:31:00Z", 5_000],
    [429, "60, 120", 5_000],
    [429, "", 5_000],
    [500, "60", 5_000],
    [404, "60", 5_000],
  ];

  test.each(waits)("with %i and %j waits %i ms", (status, retryAfter, delayMs) => {
    expect(settleWith(answer(status, { retryAfter })).next).toEqual({ kind: "retry", nextAttemptAt: now + delayMs });
  });

  test("is at least a second where backoff is shorter", () => {
    const eager = { ...firstAttempt, retry: { ...retry, minDelayMs: 10 } };
    expect(settleWith(answer(429, { retryAfter: "0" }), eager).next).toEqual({
      kind: "retry",
      nextAttemptAt: now + 1_000,
    });
    expect(settleWith(answer(429), eager).next).toEqual({ kind: "retry", nextAttemptAt: now + 10 });
  });
});

describe("any other end of an attempt is retried with backoff", () => {
  const failures: [name: string, result: AttemptResult, outcome: string, confirmStands: boolean][] = [
    ["3xx", answer(302), "failed", false],
    ["304", answer(304), "failed", false],
    ["4xx", answer(404), "failed", false],
    ["408", answer(408), "failed", false],
    ["5xx", answer(500), "failed", false],
    ["an odd status", answer(600), "failed", false],
    ["timed-out", { kind: "timed-out", error: "no answer" }, "timed-out", true],
    ["reset", { kind: "reset", error: "cut off" }, "failed", true],
    ["refused", { kind: "refused", error: "no connection" }, "refused", true],
    ["blocked", { kind: "blocked", error: "egress_blocked" }, "blocked", true],
  ];

  test.each(failures)("%s", (_name, result, outcome, confirmStands) => {
    const settlement = settleWith(result);
    expect(settlement).toMatchObject({ outcome, confirmStands, endsSchedule: false });
    expect(settlement.next).toEqual({ kind: "retry", nextAttemptAt: now + 5_000 });
    expect(settlement.error).not.toBeNull();
    const { status, snippet } = result.kind === "answered" ? result : { status: null, snippet: null };
    expect([settlement.status, settlement.responseSnippet]).toEqual([status, snippet]);
  });

  test("lost is due at once, since the receiver is not to blame", () => {
    const settlement = settleWith({ kind: "lost", error: "its process died" });
    expect(settlement).toMatchObject({ outcome: "lost", status: null, responseSnippet: null, confirmStands: true });
    expect(settlement.next).toEqual({ kind: "retry", nextAttemptAt: now });
  });

  test.each([...failures, ["lost", { kind: "lost", error: "its process died" }, "lost", true] as const])(
    "until maxAttempts are made: %s of the last one ends the task failed",
    (_name, result, outcome) => {
      expect(settleWith(result, lastAttempt)).toMatchObject({ outcome, next: { kind: "failed" } });
    },
  );

  test("a redirect's error says that it was not followed", () => {
    expect(settleWith(answer(302)).error).toBe("The receiver answered 302; redirects are not followed");
    expect(settleWith(answer(301, { location: "https://shop.example/hooks/" })).error).toBe(
      'The receiver answered 301 with the location "https://shop.example/hooks/"; redirects are not followed',
    );
    expect(settleWith(answer(301, { location: "/".repeat(10_000) })).error).toMatch(/\/"; redirects are not followed$/);
  });

  test("backoff and budget count from the last retry, reschedule or replace", () => {
    const fresh = { ...firstAttempt, attempt: 8, attemptsBefore: 7, retry: { ...retry, maxAttempts: 2 } };
    expect(settleWith(answer(500), fresh).next).toEqual({ kind: "retry", nextAttemptAt: now + 5_000 });
    expect(settleWith(answer(500), { ...fresh, attempt: 9 }).next).toEqual({ kind: "failed" });
    const third = { ...firstAttempt, attempt: 10, attemptsBefore: 7 };
    expect(settleWith(answer(500), third).next).toEqual({ kind: "retry", nextAttemptAt: now + 45_000 });
  });

  test("an instant with fractions is rounded up, never down", () => {
    const { next } = settle(firstAttempt, answer(500), { now: now + 0.25, random: () => 0.5 });
    expect(next).toEqual({ kind: "retry", nextAttemptAt: now + 5_001 });
  });
});

describe("at-most-once", () => {
  const sent: [name: string, result: AttemptResult][] = [
    ["3xx", answer(302)],
    ["4xx", answer(404)],
    ["429 with Retry-After", answer(429, { retryAfter: "5" })],
    ["5xx", answer(500)],
    ["timed-out", { kind: "timed-out", error: "no answer" }],
    ["reset", { kind: "reset", error: "cut off" }],
    ["lost", { kind: "lost", error: "its process died" }],
  ];

  test.each(sent)("%s ends the task failed: it may have arrived", (_name, result) => {
    expect(settleWith(result, atMostOnce).next).toEqual({ kind: "failed" });
  });

  test("what could never be sent is blocked, and is not tried again", () => {
    const settlement = settleWith({ kind: "unsendable", error: "its headers are not an object" }, firstAttempt);
    expect(settlement).toMatchObject({ outcome: "blocked", next: { kind: "failed" } });
  });

  test.each(["refused", "blocked"] as const)("%s is tried again while attempts are left: nothing was sent", (kind) => {
    expect(settleWith({ kind, error: "x" }, atMostOnce).next).toEqual({ kind: "retry", nextAttemptAt: now + 5_000 });
    expect(settleWith({ kind, error: "x" }, { ...atMostOnce, attempt: 10 }).next).toEqual({ kind: "failed" });
  });
});

describe("whatever comes", () => {
  test("no NUL, no lone surrogate and no text over the limit is ever handed to the store", () => {
    const text = fc.string({ unit: "binary", maxLength: 700 });
    const header = fc.option(text);
    const result: fc.Arbitrary<AttemptResult> = fc.oneof(
      fc.record({
        kind: fc.constant("answered" as const),
        status: fc.integer({ min: 100, max: 999 }),
        headers: fc.record({
          retryAfter: header,
          reschedule: header,
          schedule: header,
          noRetry: header,
          location: header,
        }),
        snippet: text,
      }),
      fc.record({ kind: fc.constantFrom("timed-out", "reset", "refused", "blocked", "lost"), error: text }),
    );
    fc.assert(
      fc.property(result, fc.integer({ min: 1, max: 12 }), (given, attempt) => {
        const settlement = settleWith(given, { ...firstAttempt, attempt });
        for (const stored of [settlement.error ?? "", settlement.responseSnippet ?? ""]) {
          expect(stored.includes("\0")).toBe(false);
          expect(stored.isWellFormed()).toBe(true);
        }
        expect((settlement.error ?? "").length).toBeLessThanOrEqual(errorLengthMax);
        if (attempt >= retry.maxAttempts) expect(settlement.next.kind).not.toBe("retry");
      }),
    );
  });
});
