// Owns the checks of what a receiver's answer means: each row of the contract's table, by the attempt that is stored and the task's state.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findFreePort } from "../../src/embedded/free-port.ts";
import type { AttemptJson, TaskJson } from "../support/api.ts";
import { execute } from "../support/database.ts";
import { type Flow, type HookAnswer, startFlow, until } from "../support/flow.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

const hourMs = 3_600_000;
/** So far that no retry comes while a test looks. */
const laterRetry = { backoff: "fixed", minDelay: "30m", maxDelay: "30m", jitter: 0 };

interface Outcome {
  readonly task: TaskJson;
  readonly attempt: AttemptJson;
  /** From the end of the attempt to the next one. */
  readonly nextInMs: number;
}

/** The task once its first attempt is recorded. */
async function outcomeAt(url: string, fields: object = {}): Promise<Outcome> {
  const { id } = await flow.create({ url, delay: "0s", retry: laterRetry, ...fields });
  return recorded(id);
}

async function recorded(id: string): Promise<Outcome> {
  const task = await until(
    () => flow.read(id),
    ({ state, lastAttempt }) => state !== "running" && lastAttempt !== null,
  );
  const attempt = task.lastAttempt;
  if (typeof attempt?.finishedAt !== "string") throw new Error("a recorded attempt has ended");
  return { task, attempt, nextInMs: Date.parse(task.nextAttemptAt) - Date.parse(attempt.finishedAt) };
}

const outcomeOf = (answer: HookAnswer, fields: object = {}): Promise<Outcome> =>
  outcomeAt(flow.hook(answer).url, fields);

describe("an answer of 2xx", () => {
  test.each([200, 201, 202, 204, 299])("%i ends the task succeeded", async (status) => {
    const { task, attempt } = await outcomeOf({ status, body: status === 204 ? "" : "done" });
    expect(task).toMatchObject({ state: "succeeded", attempts: 1, finishedAt: expect.any(String) });
    const responseSnippet = status === 204 ? "" : "done";
    expect(attempt).toMatchObject({ number: 1, outcome: "succeeded", status, error: null, responseSnippet });
  });

  test("with lapse-schedule: end ends the task succeeded", async () => {
    expect((await outcomeOf({ headers: { "lapse-schedule": "end" } })).task.state).toBe("succeeded");
  });

  test.each([
    ["1h", hourMs],
    ["PT1S", 1_000],
    ["3650d", 3_650 * 24 * hourMs],
    [" 2h ", 2 * hourMs],
  ])("with lapse-reschedule: %s has the same task fire again after that time", async (reschedule, inMs) => {
    const { task, attempt, nextInMs } = await outcomeOf({ headers: { "lapse-reschedule": reschedule }, body: "later" });
    expect(task).toMatchObject({ state: "scheduled", nextAttemptAt: task.dueAt, finishedAt: null });
    expect(attempt).toMatchObject({ outcome: "rescheduled", status: 200, error: null, responseSnippet: "later" });
    expect(Math.abs(nextInMs - inMs)).toBeLessThan(500);
  });

  test.each(["soon", "30", "999ms", "0s", "-1s", "P1M", "4000d", ""])(
    "with lapse-reschedule: %j, which cannot be used, is a failed attempt",
    async (reschedule) => {
      const { task, attempt, nextInMs } = await outcomeOf({ headers: { "lapse-reschedule": reschedule } });
      expect(attempt).toMatchObject({
        outcome: "failed",
        status: 200,
        error: expect.stringMatching(/lapse-reschedule/),
      });
      expect(task.state).toBe("scheduled");
      expect(Math.abs(nextInMs - hourMs / 2)).toBeLessThan(500);
    },
  );

  test("with lapse-reschedule beyond maxReschedules ends the task failed", async () => {
    const { task, attempt } = await outcomeOf({ headers: { "lapse-reschedule": "1h" } }, { maxReschedules: 0 });
    expect(task.state).toBe("failed");
    expect(attempt).toMatchObject({ outcome: "failed", error: expect.stringMatching(/maxReschedules/) });
  });
});

describe("an answer that ends the task failed, with attempts left", () => {
  test.each<[string, HookAnswer, number]>([
    ["410", { status: 410 }, 410],
    ["lapse-no-retry on a 500", { status: 500, headers: { "lapse-no-retry": "true" } }, 500],
    ["lapse-no-retry on a 404", { status: 404, headers: { "lapse-no-retry": "true" } }, 404],
    [
      "lapse-no-retry on a 503 with Retry-After",
      { status: 503, headers: { "lapse-no-retry": "true", "retry-after": "1" } },
      503,
    ],
    ["lapse-no-retry on a 200", { headers: { "lapse-no-retry": "true" } }, 200],
  ])("%s", async (_name, answer, status) => {
    const { task, attempt } = await outcomeOf(answer);
    expect(task).toMatchObject({ state: "failed", attempts: 1, finishedAt: expect.any(String) });
    expect(attempt).toMatchObject({ outcome: "failed", status });
  });
});

describe("an answer that is tried again with backoff", () => {
  test.each([300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 599])(
    "%i",
    async (status) => {
      const { task, attempt, nextInMs } = await outcomeOf({ status, body: status === 304 ? "" : "no" });
      expect(task).toMatchObject({ state: "scheduled", finishedAt: null });
      const responseSnippet = status === 304 ? "" : "no";
      expect(attempt).toMatchObject({
        outcome: "failed",
        status,
        responseSnippet,
        error: expect.stringMatching(String(status)),
      });
      expect(Math.abs(nextInMs - hourMs / 2)).toBeLessThan(500);
      expect(task.dueAt < task.nextAttemptAt).toBe(true);
    },
  );

  test("lapse-no-retry: false on a 500", async () => {
    expect((await outcomeOf({ status: 500, headers: { "lapse-no-retry": "false" } })).task.state).toBe("scheduled");
  });

  test.each([301, 302, 303, 307, 308])("a redirect of %i, which is not followed", async (status) => {
    const elsewhere = flow.hook();
    const { attempt } = await outcomeOf({ status, headers: { location: elsewhere.url } });
    expect(attempt).toMatchObject({ outcome: "failed", status });
    expect(elsewhere.requests).toHaveLength(0);
  });
});

describe("Retry-After", () => {
  const httpDate = new Date(Date.now() + 2 * hourMs).toUTCString();

  test.each([
    [429, "7200"],
    [503, "7200"],
    [429, httpDate],
    [503, httpDate],
  ])("on a %i holds the next attempt back: %s", async (status, retryAfter) => {
    const { nextInMs } = await outcomeOf({ status, headers: { "retry-after": retryAfter } });
    expect(nextInMs).toBeGreaterThan(1.9 * hourMs);
    expect(nextInMs).toBeLessThan(2.1 * hourMs);
  });

  test.each([
    ["shorter than the backoff", 429, "1"],
    ["that cannot be read", 503, "later"],
    ["on another status", 500, "7200"],
    ["on a 404", 404, "7200"],
  ])("%s changes nothing", async (_name, status, retryAfter) => {
    const { nextInMs } = await outcomeOf({ status, headers: { "retry-after": retryAfter } });
    expect(Math.abs(nextInMs - hourMs / 2)).toBeLessThan(500);
  });
});

describe("no answer", () => {
  test("within the timeout is timed-out", async () => {
    const { task, attempt } = await outcomeOf({ hang: true }, { timeout: "100ms" });
    expect(task.state).toBe("scheduled");
    expect(attempt).toMatchObject({
      outcome: "timed-out",
      status: null,
      error: expect.any(String),
      responseSnippet: null,
    });
    expect(attempt.durationMs).toBeGreaterThanOrEqual(99);
  });

  test("where nobody listens is refused", async () => {
    const { task, attempt } = await outcomeAt(`http://127.0.0.1:${await findFreePort()}/`);
    expect(task.state).toBe("scheduled");
    expect(attempt).toMatchObject({
      outcome: "refused",
      status: null,
      error: expect.any(String),
      responseSnippet: null,
    });
  });

  test("where the host does not exist is refused", async () => {
    expect((await outcomeAt("http://no-such-host.invalid/")).attempt).toMatchObject({
      outcome: "refused",
      status: null,
    });
  });

  test("but a reset is a failed attempt", async () => {
    const { task, attempt } = await outcomeOf({ reset: true });
    expect(task.state).toBe("scheduled");
    expect(attempt).toMatchObject({
      outcome: "failed",
      status: null,
      error: expect.any(String),
      responseSnippet: null,
    });
  });

  test("where the row holds no URL that could be called is blocked, and is not tried again", async () => {
    const { id } = await flow.create({ retry: laterRetry });
    await execute(flow.service.databaseUrl, `update lapse.tasks set url = 'ftp://127.0.0.1/' where id = '${id}'`);
    await flow.api.post(`/v1/tasks/${id}/run`);
    const { task, attempt } = await recorded(id);
    expect(task.state).toBe("failed");
    expect(attempt).toMatchObject({ outcome: "blocked", status: null, error: expect.any(String) });
  });

  test("where the address is not allowed is blocked, and tried again: a setting may change", async () => {
    const { id } = await flow.create({ retry: laterRetry });
    await execute(flow.service.databaseUrl, `update lapse.tasks set url = '${flow.service.url}' where id = '${id}'`);
    await flow.api.post(`/v1/tasks/${id}/run`);
    const { task, attempt } = await recorded(id);
    expect(task.state).toBe("scheduled");
    expect(attempt).toMatchObject({
      outcome: "blocked",
      status: null,
      error: expect.stringMatching(/^egress_blocked/),
    });
  });
});

describe("the snippet of an answer", () => {
  test.each([
    ["is cut at 1 KiB", "x".repeat(5_000), "x".repeat(1_024)],
    ["is cut at a character's edge", `${"x".repeat(1_023)}ö`, "x".repeat(1_023)],
    ["keeps what is stored as text", "ö 🔑\n", "ö 🔑\n"],
    ["holds no NUL, which Postgres refuses", "a\0b", "a\uFFFDb"],
    ["is text also where the answer was none", Buffer.from([0x61, 0xff, 0x62]), "a\uFFFDb"],
  ])("%s", async (_name, body, responseSnippet) => {
    const { task, attempt } = await outcomeOf({ body });
    expect([task.state, attempt.responseSnippet]).toEqual(["succeeded", responseSnippet]);
  });

  test("of a body without end is taken, and the call ends", async () => {
    const { task, attempt } = await outcomeOf({ body: Buffer.alloc(2_000_000, "y") });
    expect([task.state, attempt.responseSnippet]).toEqual(["succeeded", "y".repeat(1_024)]);
  });
});

describe("at-most-once", () => {
  const delivery = { delivery: "at-most-once" };

  test.each<[string, HookAnswer, object, string]>([
    ["an answer of 500", { status: 500 }, {}, "failed"],
    ["an answer of 302", { status: 302 }, {}, "failed"],
    ["a 503 with Retry-After", { status: 503, headers: { "retry-after": "1" } }, {}, "failed"],
    ["a lapse-reschedule that cannot be used", { headers: { "lapse-reschedule": "soon" } }, {}, "failed"],
    ["a timeout", { hang: true }, { timeout: "100ms" }, "timed-out"],
    ["a reset", { reset: true }, {}, "failed"],
  ])("ends failed after %s", async (_name, answer, fields, outcome) => {
    const { task, attempt } = await outcomeOf(answer, { ...delivery, ...fields });
    expect([task.state, task.attempts, attempt.outcome]).toEqual(["failed", 1, outcome]);
  });

  test("is tried again where nothing was sent", async () => {
    const { task, attempt } = await outcomeAt(`http://127.0.0.1:${await findFreePort()}/`, delivery);
    expect([task.state, attempt.outcome]).toEqual(["scheduled", "refused"]);
  });

  test("is fired again by lapse-reschedule", async () => {
    const { task, attempt } = await outcomeOf({ headers: { "lapse-reschedule": "1h" } }, delivery);
    expect([task.state, attempt.outcome]).toEqual(["scheduled", "rescheduled"]);
  });

  test("is fired again by an explicit retry", async () => {
    const { task } = await outcomeOf([{ status: 500 }, {}], delivery);
    await flow.api.post(`/v1/tasks/${task.id}/retry`);
    expect((await flow.reaches(task.id, "succeeded")).attempts).toBe(2);
  });
});
