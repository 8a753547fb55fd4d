// Owns the facts about the guarded writes to one task: from which states each wins, and what it sets.

import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import {
  changeTask,
  confirmAttempt,
  pauseTask,
  refuseConfirm,
  resumeTask,
  retryTask,
  runTask,
} from "../../src/store/changes.ts";
import type { Connection } from "../../src/store/database.ts";
import { isUniqueViolation } from "../../src/store/errors.ts";
import type { TaskRow } from "../../src/store/task-rows.ts";
import { taskStates } from "../../src/task/task.ts";
import { openStore } from "./store.ts";

const hourMs = 3_600_000;
const store = await openStore();
const { database } = store;
afterAll(() => store.close());

type Write = (connection: Connection, id: string) => Promise<TaskRow | null>;

const change: Write = (connection, id) =>
  changeTask(connection, { id, changes: { timeoutMs: 5_000 }, dueAt: null, expectedVersion: null });
const confirm: Write = (connection, id) => confirmAttempt(connection, { id, attempt: 1 });

const writes: readonly {
  readonly name: string;
  readonly write: Write;
  readonly from: readonly string[];
  readonly to?: string;
}[] = [
  { name: "pause", write: pauseTask, from: ["scheduled"], to: "paused" },
  { name: "resume", write: resumeTask, from: ["paused"], to: "scheduled" },
  { name: "run", write: runTask, from: ["scheduled", "paused"], to: "scheduled" },
  { name: "retry", write: retryTask, from: ["failed", "missed"], to: "scheduled" },
  { name: "change", write: change, from: ["scheduled", "paused"] },
  { name: "confirm", write: confirm, from: ["running"] },
];
const states = [...taskStates, "tombstone"] as const;
const pairs = writes.flatMap((one) => states.map((state) => ({ ...one, state })));

test.each(pairs.filter(({ from, state }) => from.includes(state)))(
  "a $name of a $state task wins, and makes a version of it",
  async ({ write, state, to = state }) => {
    const id = await store.insert({ state, key: uuidv7() });
    const written = await database.query((connection) => write(connection, id));
    expect(written).toMatchObject({ id, state: to, version: 2 });
    expect(written).toEqual(await store.read(id));
  },
);

test.each(pairs.filter(({ from, state }) => !from.includes(state)))(
  "a $name of a $state row leaves it as it is",
  async ({ write, state }) => {
    const id = await store.insert({ state, key: uuidv7() });
    const before = await store.read(id);
    expect(await database.query((connection) => write(connection, id))).toBeNull();
    expect(await store.read(id)).toEqual(before);
  },
);

describe("a resume", () => {
  const resume = (id: string) => database.query((connection) => resumeTask(connection, id));

  test("of an overdue task makes it due now, and leaves the time that was asked for", async () => {
    const id = await store.insert({ state: "paused", dueInMs: -hourMs });
    const before = await store.read(id);
    const resumed = await resume(id);
    expect(resumed?.next_attempt_at).toBeGreaterThan(before.next_attempt_at);
    expect(resumed?.due_at).toBe(before.due_at);
    const [row] = await store.query(
      "select next_attempt_at <= clock_timestamp() as due from lapse.tasks where id = $1",
      [id],
    );
    expect(row).toEqual({ due: true });
  });

  test("of one that is not yet due changes no time", async () => {
    const id = await store.insert({ state: "paused", dueInMs: hourMs });
    const { due_at, next_attempt_at } = await store.read(id);
    expect(await resume(id)).toMatchObject({ due_at, next_attempt_at });
  });
});

describe("a run", () => {
  test("sets both times to now, and leaves the budget", async () => {
    const id = await store.insert({ dueInMs: hourMs, attempts: 3, attempts_before: 1 });
    const row = await database.query((connection) => runTask(connection, id));
    expect(row).toMatchObject({ attempts: 3, attempts_before: 1, attempts_at_due: 3, due_at: row?.next_attempt_at });
    expect(row?.due_at).toBeLessThan(Date.now() + hourMs / 2);
  });
});

describe("a retry", () => {
  test("counts the budget anew, forgets the cancel, and keeps the attempts", async () => {
    const id = await store.insert({
      state: "failed",
      dueInMs: -hourMs,
      attempts: 4,
      reschedules: 2,
      cancel_requested: true,
      confirm_refused: true,
    });
    const row = await database.query((connection) => retryTask(connection, id));
    expect(row).toMatchObject({
      attempts: 4,
      attempts_before: 4,
      attempts_at_due: 4,
      reschedules: 0,
      cancel_requested: false,
      confirm_refused: false,
      finished_at: null,
      due_at: row?.next_attempt_at,
    });
  });

  test("is refused where the key is live on another task", async () => {
    const key = uuidv7();
    const id = await store.insert({ key, state: "failed" });
    await store.insert({ key });
    const refusal = await database.query((connection) => retryTask(connection, id)).catch((error: unknown) => error);
    expect(isUniqueViolation(refusal)).toBe(true);
    expect(await store.read(id)).toMatchObject({ state: "failed" });
  });
});

describe("a change", () => {
  const changeAt = (id: string, expectedVersion: number | null) =>
    database.query((connection) =>
      changeTask(connection, {
        id,
        changes: { url: "https://new.example/" },
        dueAt: 1_900_000_000_000,
        expectedVersion,
      }),
    );

  test("sets what it names, and nothing else", async () => {
    const id = await store.insert({ state: "paused", payload: "[1]", attempts: 2, labels: '{"a":"b"}' });
    const before = await store.read(id);
    const row = await changeAt(id, null);
    expect(row).toEqual({
      ...before,
      url: "https://new.example/",
      due_at: 1_900_000_000_000,
      next_attempt_at: 1_900_000_000_000,
      attempts_at_due: 2,
      updated_at: row?.updated_at,
      version: 2,
    });
  });

  test("of another version than the one expected is refused", async () => {
    const id = await store.insert();
    expect(await changeAt(id, 2)).toBeNull();
    expect(await changeAt(id, 1)).toMatchObject({ version: 2 });
    expect(await changeAt(id, 1)).toBeNull();
  });

  test("and another of the same version at once: one wins", async () => {
    const ids = await store.insertMany(20);
    const changed = await Promise.all(
      ids.map((id) => Promise.all([changeAt(id, 1), changeAt(id, 1), changeAt(id, 1)])),
    );
    expect(changed.map((rows) => rows.filter((row) => row !== null).length)).toEqual(ids.map(() => 1));
  });
});

describe("a confirm", () => {
  const of = (id: string, attempt: number) =>
    database.query((connection) => confirmAttempt(connection, { id, attempt }));
  const refuse = (id: string, attempt: number) =>
    database.query((connection) => refuseConfirm(connection, { id, attempt }));

  test("of another attempt than the current one is refused", async () => {
    const id = await store.insert({ state: "running", attempts: 2 });
    expect(await of(id, 1)).toBeNull();
    expect(await of(id, 3)).toBeNull();
    expect(await of(id, 2)).toMatchObject({ confirmed_attempt: 2 });
  });

  test("after a cancel was requested is refused, and that is remembered for the current attempt alone", async () => {
    const id = await store.insert({ state: "running", attempts: 2, cancel_requested: true });
    expect(await of(id, 2)).toBeNull();
    await refuse(id, 1);
    expect(await store.read(id)).toMatchObject({ confirmed_attempt: null, confirm_refused: false });
    await refuse(id, 2);
    expect(await store.read(id)).toMatchObject({ confirmed_attempt: null, confirm_refused: true });
  });

  test("is not remembered as refused where nobody asked to cancel", async () => {
    const id = await store.insert({ state: "running" });
    await refuse(id, 1);
    expect(await store.read(id)).toMatchObject({ confirm_refused: false, version: 1 });
  });
});
