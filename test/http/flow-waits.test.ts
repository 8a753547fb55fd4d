// Owns the checks that take seconds by the contract's own times, side by side: a request in progress is waited for, a reschedule is a second
// away at least, overdue means 2 s, and retention removes now and then.

import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiAnswer, AttemptJson } from "../support/api.ts";
import { type Flow, promptRetry, startFlow, unique, until } from "../support/flow.ts";
import { taskIn } from "../support/states.ts";

let flow: Flow;
let url: string;

beforeAll(async () => {
  flow = await startFlow();
  url = flow.hook().url;
});
afterAll(() => flow.stop());

const again = { headers: { "lapse-reschedule": "1s" } };
const failing = { status: 500 };

async function outcomesOf(id: string): Promise<AttemptJson["outcome"][]> {
  const { items } = (await flow.api.get(`/v1/tasks/${id}/attempts`)).as<{ items: AttemptJson[] }>();
  return items.map(({ outcome }) => outcome);
}

describe.concurrent("a reschedule", () => {
  test("goes on until the receiver leaves the header out, each at the due time that it is told", async () => {
    const hook = flow.hook([again, {}]);
    const { id } = await flow.create({ url: hook.url, delay: "0s" });
    const first = (await hook.next()).headers["lapse-due-at"];
    const second = (await hook.next()).headers["lapse-due-at"];
    const { dueAt, attempts, lastAttempt } = await flow.reaches(id, "succeeded");
    expect([attempts, second]).toEqual([2, dueAt]);
    expect(Date.parse(String(second)) - Date.parse(String(first))).toBeGreaterThanOrEqual(1_000);
    expect(lastAttempt?.latenessMs).toBeLessThan(1_000);
  });

  test("gives a fresh budget of attempts", async () => {
    const hook = flow.hook([failing, again, failing, failing]);
    const { id } = await flow.create({ url: hook.url, delay: "0s", retry: { ...promptRetry, maxAttempts: 2 } });
    expect(await flow.reaches(id, "failed")).toMatchObject({ attempts: 4 });
    expect(await outcomesOf(id)).toEqual(["failed", "rescheduled", "failed", "failed"]);
  });

  test("is allowed maxReschedules times; one more ends the task failed", async () => {
    const { id } = await flow.create({ url: flow.hook(again).url, delay: "0s", maxReschedules: 1 });
    expect(await flow.reaches(id, "failed")).toMatchObject({ attempts: 2, lastAttempt: { outcome: "failed" } });
    expect(await outcomesOf(id)).toEqual(["rescheduled", "failed"]);
  });
});

describe.concurrent("a request under an Idempotency-Key whose first one is still in progress", () => {
  /** Holds a key by a transaction that the test ends. */
  async function hold(key: string): Promise<{ release(): Promise<void> }> {
    const client = new pg.Client({ connectionString: flow.service.databaseUrl });
    await client.connect();
    await client.query("begin");
    await client.query(
      "insert into lapse.idempotency_keys (api_key_id, method, path, key, fingerprint) values ('root', 'POST', '/v1/tasks', $1, 'x')",
      [key],
    );
    return {
      release: async () => {
        await client.query("rollback");
        await client.end();
      },
    };
  }
  const post = (key: string): Promise<ApiAnswer> =>
    flow.api.post("/v1/tasks", { url, delay: "1h" }, { "idempotency-key": key });

  test("waits for its outcome: where it stored nothing, the second one does", async () => {
    const key = unique("once");
    const held = await hold(key);
    const answer = post(key);
    await flow.create(); // Answered, so the post before it has long been read.
    await held.release();
    expect((await answer).status).toBe(201);
  });

  test("is 409 after 5 s, to be repeated", async () => {
    const key = unique("once");
    const held = await hold(key);
    const startedMs = performance.now();
    const answer = await post(key);
    await held.release();
    expect(answer.problem).toMatchObject({ status: 409, type: "urn:lapse:problem:idempotency-in-progress" });
    expect(answer.headers["retry-after"]).toMatch(/^\d+$/);
    expect(performance.now() - startedMs).toBeGreaterThan(4_900);
    expect((await post(key)).status).toBe(201);
  });
});

describe.concurrent("the audit", () => {
  test("where nobody dispatches, names what is overdue", async () => {
    const idle = await startFlow({ redis: "away", config: { role: "api" } });
    const { id, queue, dueAt } = await idle.create({ delay: "0s" });
    await idle.create();
    const audit = await until(
      async () => (await idle.api.get("/v1/audit")).as<{ overdueCount: number }>(),
      ({ overdueCount }) => overdueCount > 0,
    );
    expect(audit).toMatchObject({ balanced: true, overdueCount: 1, overdue: [{ id, queue, dueAt }] });
    expect(Date.now() - Date.parse(dueAt)).toBeGreaterThan(1_900);
    await idle.stop();
  });

  test("counts as pruned what LAPSE_RETENTION removed", async () => {
    const forgetful = await startFlow({ config: { retentionMs: 1_000 } });
    const kept = await forgetful.create();
    const { id } = await taskIn(forgetful, "succeeded");
    await until(
      async () => (await forgetful.api.get(`/v1/tasks/${id}`)).status,
      (status) => status === 404,
    );
    const { json } = await forgetful.api.get("/v1/audit");
    expect(json).toMatchObject({ balanced: true, queues: [{ accepted: 2, succeeded: 0, live: 1, pruned: 1 }] });
    expect((await forgetful.read(kept.id)).state).toBe("scheduled");
    await forgetful.stop();
  });
});
