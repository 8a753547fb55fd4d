// Owns the checks of attempts over a task's life: how they are listed and numbered, how long backoff waits, and what their budget counts.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AttemptJson, TaskJson } from "../support/api.ts";
import { execute } from "../support/database.ts";
import { type Flow, promptRetry, startFlow, until } from "../support/flow.ts";
import type { ReceiverAnswer } from "../support/receiver.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

const failing = { status: 500 };
/** Of a duration, and of an instant cut to the ms. */
const roundingMs = 2;

async function attemptsOf(id: string): Promise<AttemptJson[]> {
  return (await flow.api.get(`/v1/tasks/${id}/attempts`)).as<{ items: AttemptJson[] }>().items;
}

/** A task that has gone through the answers, the last one again and again. */
async function fired(retry: object, ...answers: ReceiverAnswer[]): Promise<TaskJson> {
  const { id } = await flow.create({ url: flow.hook(answers).url, delay: "0s", retry: { ...promptRetry, ...retry } });
  return flow.reaches(id, "failed", "succeeded");
}

describe("the list of attempts", () => {
  test("is empty before the first", async () => {
    expect(await attemptsOf((await flow.create()).id)).toEqual([]);
  });

  test("is 404 of an unknown task", async () => {
    for (const id of ["01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57", "42"])
      expect((await flow.api.get(`/v1/tasks/${id}/attempts`)).problem.status).toBe(404);
  });

  test("holds the one that runs, without an end", async () => {
    const { task, release } = await flow.running();
    const running = {
      number: 1,
      startedAt: expect.any(String),
      finishedAt: null,
      latenessMs: expect.any(Number),
      durationMs: null,
      outcome: null,
      status: null,
      error: null,
      responseSnippet: null,
    };
    expect(await attemptsOf(task.id)).toEqual([running]);
    expect(task).toMatchObject({ state: "running", attempts: 1, lastAttempt: running });
    release();
    await flow.reaches(task.id, "succeeded");
    expect(await attemptsOf(task.id)).toMatchObject([{ number: 1, outcome: "succeeded", status: 200 }]);
  });

  test("is oldest first, each with its own outcome, the last as in the task", async () => {
    const retry = { ...promptRetry, maxAttempts: 4 };
    const answers = [{ status: 503, body: "one" }, { reset: true }, { status: 404 }, { status: 204 }];
    const { id } = await flow.create({ url: flow.hook(answers).url, delay: "0s", retry });
    const { lastAttempt } = await flow.reaches(id, "succeeded");
    const attempts = await attemptsOf(id);
    expect(attempts.map(({ number, outcome, status }) => [number, outcome, status])).toEqual([
      [1, "failed", 503],
      [2, "failed", null],
      [3, "failed", 404],
      [4, "succeeded", 204],
    ]);
    expect(attempts.at(-1)).toEqual(lastAttempt);
    for (const { startedAt, finishedAt, durationMs, latenessMs } of attempts) {
      expect(startedAt <= String(finishedAt)).toBe(true);
      expect([durationMs, latenessMs].every((ms) => ms !== null && ms >= 0)).toBe(true);
    }
  });

  test("does not overlap: an attempt begins after the call before has ended, and not before its time", async () => {
    const retry = { backoff: "fixed", minDelay: "100ms", maxDelay: "100ms", jitter: 0, maxAttempts: 4 };
    const { id } = await flow.create({ url: flow.hook(failing).url, delay: "0s", retry });
    await flow.reaches(id, "failed");
    const attempts = await attemptsOf(id);
    // Backoff counts from the answer; `finishedAt` is when it was written, which may take its time.
    const endsAt = attempts.map(({ startedAt, durationMs }) => Date.parse(startedAt) + (durationMs ?? 0));
    const gapsMs = attempts.slice(1).map(({ startedAt }, i) => Date.parse(startedAt) - (endsAt[i] ?? Number.NaN));
    expect(gapsMs).toHaveLength(3);
    expect(Math.min(...gapsMs)).toBeGreaterThanOrEqual(100 - roundingMs);
  });
});

describe("backoff", () => {
  /** Waits after each of the first failed attempts, in seconds; the next attempt is called forth by run. */
  async function waits(retry: object, count: number): Promise<number[]> {
    const { id } = await flow.create({ url: flow.hook(failing).url, delay: "0s", retry: { jitter: 0, ...retry } });
    const found: number[] = [];
    while (found.length < count) {
      const attempts = found.length + 1;
      const task = await until(
        () => flow.read(id),
        (read) => read.state === "scheduled" && read.attempts === attempts,
      );
      found.push((Date.parse(task.nextAttemptAt) - Date.parse(task.lastAttempt?.finishedAt ?? "")) / 1_000);
      await flow.api.post(`/v1/tasks/${id}/run`);
    }
    return found;
  }

  test.each<[string, object, number[]]>([
    ["by default is 5 s, then three times as long each time", {}, [5, 15, 45, 135]],
    ["grows by its factor", { minDelay: "10s", factor: 2 }, [10, 20, 40, 80]],
    ["is never longer than maxDelay", { minDelay: "10s", factor: 10, maxDelay: "2m" }, [10, 100, 120, 120]],
    ["of a factor of 1 stays", { minDelay: "10s", factor: 1 }, [10, 10, 10]],
    ["that is fixed stays", { backoff: "fixed", minDelay: "7s" }, [7, 7, 7]],
  ])("%s", async (_name, retry, seconds) => {
    const found = await waits(retry, seconds.length);
    for (const [i, wait] of found.entries()) expect(Math.abs(wait - (seconds[i] ?? 0))).toBeLessThan(0.5);
  });

  test("with jitter is not the same each time, and within its share", async () => {
    const found = await Promise.all(Array.from({ length: 8 }, () => waits({ minDelay: "100s", jitter: 0.5 }, 1)));
    const seconds = found.flat();
    for (const wait of seconds) {
      expect(wait).toBeGreaterThan(49);
      expect(wait).toBeLessThan(151);
    }
    expect(new Set(seconds.map(Math.round)).size).toBeGreaterThan(1);
  });

  test("moves nextAttemptAt alone: the due time stays", async () => {
    const { task, release } = await flow.running();
    release(failing);
    const after = await flow.reaches(task.id, "scheduled");
    expect(after.dueAt).toBe(task.dueAt);
    expect(after.nextAttemptAt > task.nextAttemptAt).toBe(true);
  });

  test("gives later attempts a lateness from their own time", async () => {
    const { task, release } = await flow.running({ retry: promptRetry });
    const longAgo = "due_at = due_at - interval '1 hour'";
    await execute(flow.service.databaseUrl, `update lapse.tasks set ${longAgo} where id = '${task.id}'`);
    release(failing, {});
    expect((await flow.reaches(task.id, "succeeded")).lastAttempt?.latenessMs).toBeLessThan(3_000_000);
  });
});

describe("maxAttempts", () => {
  test.each([1, 2, 5])("of %i ends a task failed after as many", async (maxAttempts) => {
    expect(await fired({ maxAttempts }, failing)).toMatchObject({ state: "failed", attempts: maxAttempts });
  });

  test("counts the last one too: it may succeed", async () => {
    expect(await fired({ maxAttempts: 3 }, failing, failing, {})).toMatchObject({ state: "succeeded", attempts: 3 });
  });

  test("is 10 by default", async () => {
    expect(await fired({}, failing)).toMatchObject({ state: "failed", attempts: 10 });
  });

  test("counts attempts where nobody listened as well", async () => {
    const { id } = await flow.create({
      url: "http://127.0.0.1:1/",
      delay: "0s",
      retry: { ...promptRetry, maxAttempts: 3 },
    });
    await flow.reaches(id, "failed");
    expect((await attemptsOf(id)).map(({ outcome }) => outcome)).toEqual(["refused", "refused", "refused"]);
  });
});
