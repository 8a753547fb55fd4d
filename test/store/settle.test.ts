// Owns the facts about the settle: what an outcome changes, who may write it, and what has the last word.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settleAttempts } from "../../src/store/settle.ts";
import { takeOver } from "../../src/store/owners.ts";
import type { ClaimedTask } from "../../src/task/claimed-task.ts";
import type { Next, Settlement } from "../../src/task/settlement.ts";
import { arrival, openStore, type RowFields, settlingOf } from "./store.ts";
import { insertArrivals } from "../../src/store/accept.ts";

/** While its answer is waited for. */
const later = Date.now() + 3_600_000;

const hourMs = 3_600_000;
const store = await openStore();
const { database } = store;
let owner = "";

beforeAll(async () => {
  owner = await store.dispatcher();
});
afterAll(() => store.close());

async function running(fields: RowFields = {}): Promise<ClaimedTask> {
  const [task] = await store.claimed(owner, fields);
  if (task === undefined) throw new Error("nothing was claimed");
  return task;
}

function settle(task: ClaimedTask, outcome: { next?: Next } & Partial<Settlement> = {}, by = owner) {
  return settleAttempts(database, [settlingOf(task, by, outcome)]);
}

function set(id: string, assignments: string): Promise<unknown[]> {
  return store.query(`update lapse.tasks set ${assignments} where id = $1`, [id]);
}

const failed: Next = { kind: "failed" };
const retry = (): Next => ({ kind: "retry", nextAttemptAt: Math.ceil(Date.now()) + hourMs });
const reschedule = (): Next => ({ kind: "reschedule", dueAt: Math.ceil(Date.now()) + hourMs });

describe("a settle", () => {
  test("ends a task, with its attempt's row", async () => {
    const task = await running();
    const { attempt_started_at: startedAt } = await store.read(task.id);
    expect(await settle(task)).toEqual([{ id: task.id, state: "succeeded", nextAttemptAt: null }]);
    const row = await store.read(task.id);
    expect(row).toMatchObject({
      state: "succeeded",
      owner: null,
      attempt_started_at: null,
      lateness_ms: null,
      attempts: 1,
      version: 3,
    });
    expect(row.finished_at).toBeGreaterThanOrEqual(startedAt ?? Number.NaN);
    expect(await store.attempts(task.id)).toMatchObject([
      {
        number: 1,
        started_at: startedAt,
        lateness_ms: task.latenessMs,
        duration_ms: 12,
        outcome: "succeeded",
        status: 200,
        error: null,
        response_snippet: "an answer",
      },
    ]);
  });

  test("after a failure with attempts left moves the next attempt alone", async () => {
    const task = await running({ attempts: 3, attempts_before: 2, attempts_at_due: 2 });
    const next = retry();
    await settle(task, { next });
    expect(await store.read(task.id)).toMatchObject({
      state: "scheduled",
      next_attempt_at: next.kind === "retry" ? next.nextAttemptAt : 0,
      due_at: task.dueAt,
      attempts: 4,
      attempts_before: 2,
      attempts_at_due: 2,
      reschedules: 0,
      finished_at: null,
    });
  });

  test("of a reschedule sets the due time and counts the budget anew", async () => {
    const task = await running({ attempts: 3, reschedules: 1 });
    const next = reschedule();
    const dueAt = next.kind === "reschedule" ? next.dueAt : 0;
    await settle(task, { next });
    expect(await store.read(task.id)).toMatchObject({
      state: "scheduled",
      next_attempt_at: dueAt,
      due_at: dueAt,
      attempts: 4,
      attempts_before: 4,
      attempts_at_due: 4,
      reschedules: 2,
    });
  });

  test("ends a confirm where the receiver did not act", async () => {
    const task = await running();
    await set(task.id, "confirmed_attempt = 1");
    await settle(task, { next: retry(), confirmStands: false });
    expect(await store.read(task.id)).toMatchObject({ confirmed_attempt: null });
  });

  test("leaves the confirm of an earlier attempt standing, since nobody knows whether that one acted", async () => {
    const [task] = await store.claimed(owner, { attempts: 1, confirmed_attempt: 1 });
    if (task === undefined) throw new Error("the task was not claimed");
    await settle(task, { next: retry(), confirmStands: false });
    expect(await store.read(task.id)).toMatchObject({ attempts: 2, confirmed_attempt: 1 });
  });

  test("leaves a confirm standing where nobody knows whether the receiver acted", async () => {
    const task = await running();
    await set(task.id, "confirmed_attempt = 1");
    await settle(task, { next: retry(), outcome: "timed-out", confirmStands: true });
    expect(await store.read(task.id)).toMatchObject({ confirmed_attempt: 1 });
  });

  test("writes many outcomes at once, each its own", async () => {
    const tasks = await store.claimed(owner, {}, {}, {});
    const nexts: Next[] = [{ kind: "succeeded" }, failed, retry()];
    const settled = await settleAttempts(
      database,
      tasks.map((task, i) => settlingOf(task, owner, { next: nexts[i] ?? failed })),
    );
    const states = new Map(settled.map((row) => [row.id, row.state]));
    expect(tasks.map((task) => states.get(task.id))).toEqual(["succeeded", "failed", "scheduled"]);
  });
});

describe("a settle that lost", () => {
  test("changes nothing the second time", async () => {
    const task = await running();
    await settle(task, { next: retry() });
    const before = { row: await store.read(task.id), attempts: await store.attempts(task.id) };
    expect(await settle(task, { next: retry() })).toEqual([]);
    expect({ row: await store.read(task.id), attempts: await store.attempts(task.id) }).toEqual(before);
  });

  test("is written once when sent twice at once", async () => {
    const tasks = await store.claimed(owner, ...Array.from({ length: 50 }, () => ({})));
    const both = await Promise.all(tasks.map((task) => Promise.all([settle(task), settle(task)])));
    expect(both.map(([one, two]) => one.length + two.length)).toEqual(tasks.map(() => 1));
    const [count] = await store.query<{ count: number }>(
      "select count(*)::int as count from lapse.attempts where task_id = any($1)",
      [tasks.map((task) => task.id)],
    );
    expect(count).toEqual({ count: tasks.length });
  });

  test("of an older attempt changes nothing", async () => {
    const before = await store.dispatcher();
    const [old] = (await store.claimed(before, {})) as [ClaimedTask];
    await store.share("default", before, 1);
    await store.query("update lapse.dispatchers set dead_at = clock_timestamp() where id = $1", [before]);
    const { claimed } = await takeOver(database, before, owner);
    expect(claimed).toMatchObject([{ id: old.id, attempt: 2 }]);
    expect(await settle(old, {}, before)).toEqual([]);
    expect(await settle(old)).toEqual([]);
    expect(await store.read(old.id)).toMatchObject({ state: "running", attempts: 2, owner });
    expect((await store.attempts(old.id)).map((attempt) => attempt.outcome)).toEqual(["lost"]);
  });

  test("of another owner changes nothing", async () => {
    const task = await running();
    expect(await settle(task, {}, uuidv7())).toEqual([]);
    expect(await store.read(task.id)).toMatchObject({ state: "running" });
    expect(await store.attempts(task.id)).toEqual([]);
  });

  test("passes over a row that a stranger holds, without its attempt, and writes its neighbours", async () => {
    const [held, free] = (await store.claimed(owner, {}, {})) as [ClaimedTask, ClaimedTask];
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [held.id]);
    const settled = await settleAttempts(database, [settlingOf(held, owner), settlingOf(free, owner)]);
    expect(settled.map((row) => row.id)).toEqual([free.id]);
    expect(await store.attempts(held.id)).toEqual([]);
    await stranger.query("rollback");
    expect(await settle(held)).toMatchObject([{ id: held.id, state: "succeeded" }]);
  });
});

describe("the last word", () => {
  test.each([
    ["a failure", failed],
    ["a retry", retry()],
    ["a reschedule", reschedule()],
  ])("is a requested cancel's over %s", async (_what, next) => {
    const task = await running();
    await set(task.id, "cancel_requested = true");
    expect(await settle(task, { next })).toMatchObject([{ state: "cancelled" }]);
    const row = await store.read(task.id);
    expect(row).toMatchObject({ state: "cancelled", due_at: task.dueAt, next_attempt_at: task.dueAt });
    expect(row.finished_at).not.toBeNull();
  });

  test("is a success's over a requested cancel", async () => {
    const task = await running();
    await set(task.id, "cancel_requested = true");
    expect(await settle(task)).toMatchObject([{ state: "succeeded" }]);
  });

  test("is a refused confirm's over a success", async () => {
    const task = await running();
    await set(task.id, "cancel_requested = true, confirm_refused = true");
    expect(await settle(task)).toMatchObject([{ state: "cancelled" }]);
    expect(await store.attempts(task.id)).toMatchObject([{ outcome: "succeeded" }]);
  });
});

describe("a tombstone asked for while an attempt was in flight", () => {
  const remember = (id: string, inMs: number) =>
    set(id, `tombstone_until = clock_timestamp() + ${inMs} * interval '1 millisecond'`);
  const tombstones = (key: string | null) =>
    store.query<{ until: string }>(`select due_at as until from lapse.tasks where key = $1 and state = 'tombstone'`, [
      key,
    ]);

  test("takes the key when its task has ended", async () => {
    const task = await running({ key: uuidv7() });
    await remember(task.id, hourMs);
    await settle(task);
    expect(await tombstones(task.key)).toHaveLength(1);
    const stored = await insertArrivals(database, [arrival({ key: task.key })], { notAfter: later });
    expect(stored.size).toBe(0);
  });

  test("waits while its task waits again", async () => {
    const task = await running({ key: uuidv7() });
    await remember(task.id, hourMs);
    await settle(task, { next: retry() });
    expect(await tombstones(task.key)).toEqual([]);
  });

  test("is left out once its time is over", async () => {
    const task = await running({ key: uuidv7() });
    await remember(task.id, -1);
    await settle(task);
    expect(await tombstones(task.key)).toEqual([]);
  });

  test("is planted once where the settle is sent twice", async () => {
    const task = await running({ key: uuidv7() });
    await remember(task.id, hourMs);
    await settle(task);
    await settle(task);
    expect(await tombstones(task.key)).toHaveLength(1);
  });
});
