// Owns the facts about putting due tasks off: only what waits and is due is moved, and nothing of it is counted.

import { afterAll, beforeAll, expect, test } from "vitest";
import { deferTasks, readTargets } from "../../src/store/deferral.ts";
import { openStore, type TestStore } from "./store.ts";

const laterMs = 60_000;
let store: TestStore;

beforeAll(async () => {
  store = await openStore();
});
afterAll(() => store.close());

test("a due task is moved to the time given, as it was otherwise", async () => {
  const id = await store.insert();
  const before = await store.read(id);
  const at = before.next_attempt_at + laterMs;
  await store.database.query((connection) => deferTasks(connection, [{ id, at }]));
  expect(await store.read(id)).toEqual({ ...before, next_attempt_at: at, updated_at: expect.any(Number) });
});

test.each(["paused", "running", "succeeded", "failed", "cancelled", "missed"] as const)(
  "a task that is %s by now stays as it is",
  async (state) => {
    const id = await store.insert({ state });
    const before = await store.read(id);
    const at = before.next_attempt_at + laterMs;
    await store.database.query((connection) => deferTasks(connection, [{ id, at }]));
    expect(await store.read(id)).toEqual(before);
    expect(await store.database.query((connection) => readTargets(connection, [id]))).toEqual([]);
  },
);

test("a task that somebody has put off meanwhile stays as it is", async () => {
  const id = await store.insert({ dueInMs: laterMs });
  const before = await store.read(id);
  await store.database.query((connection) => deferTasks(connection, [{ id, at: before.next_attempt_at + laterMs }]));
  expect(await store.read(id)).toEqual(before);
});
