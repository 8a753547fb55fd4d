// The history checker itself: a clean history breaks nothing, and each kind of fault is found under its promise.

import { expect, test } from "vitest";
import {
  brokenPromises,
  type Bounds,
  type HeldAttempt,
  type HeldTask,
  type Histories,
  type Seen,
  seenRepeatedly,
  type Told,
} from "./history.ts";

const dueAt = 1_000_000;
const bounds: Bounds = { latenessMsMax: 2_000 };
const task: HeldTask = {
  id: "a",
  queue: "default",
  key: "order-a",
  state: "succeeded",
  dueAt,
  attempts: 1,
  attemptsBefore: 0,
  maxAttempts: 10,
  delivery: "at-least-once",
};
const accepted: Told = {
  call: "accept",
  name: "order-a",
  status: 201,
  task: { id: "a", state: "scheduled", nextAttemptAt: dueAt, attempts: 0 },
  askedAt: dueAt - 110,
  answeredAt: dueAt - 100,
};
const cancelled: Told = { ...accepted, call: "cancel", status: 200, task: { ...told("cancelled"), attempts: 0 } };
const seen: Seen = { id: "a", attempt: 1, dueAt, arrivedAt: dueAt + 5 };
const attempt: HeldAttempt = {
  taskId: "a",
  number: 1,
  startedAt: dueAt + 2,
  finishedAt: dueAt + 9,
  outcome: "succeeded",
};
const clean: Histories = { told: [accepted], seen: [seen], tasks: [task], attempts: [attempt] };

function told(state: string): NonNullable<Told["task"]> {
  return { id: "a", state, nextAttemptAt: dueAt, attempts: 1 };
}

test("a task that was accepted, fired in time and recorded breaks no promise", () => {
  expect(brokenPromises(clean, bounds)).toEqual([]);
});

test("a task that was retried, taken over or cancelled in time breaks no promise", () => {
  const second = { ...attempt, number: 2, startedAt: dueAt + 10_000, finishedAt: dueAt + 10_009 };
  const takenOver: Histories = {
    ...clean,
    seen: [seen, { ...seen, attempt: 2, arrivedAt: dueAt + 10_003 }],
    tasks: [{ ...task, attempts: 2 }],
    attempts: [{ ...attempt, outcome: "lost", finishedAt: dueAt + 9_999 }, second],
  };
  expect(brokenPromises(takenOver, bounds)).toEqual([]);
  const stopped: Histories = {
    told: [accepted, cancelled],
    seen: [],
    tasks: [{ ...task, state: "cancelled", attempts: 0 }],
    attempts: [],
  };
  expect(brokenPromises(stopped, bounds)).toEqual([]);
});

const faults: [string, string, Histories][] = [
  ["a task that is gone", "P1", { ...clean, tasks: [] }],
  ["an arrival before the due time", "P2", { ...clean, seen: [{ ...seen, arrivedAt: dueAt - 50 }] }],
  ["a start before the due time", "P2", { ...clean, attempts: [{ ...attempt, startedAt: dueAt - 1 }] }],
  ["a task that never fired", "P3", { ...clean, seen: [], tasks: [{ ...task, state: "failed" }] }],
  ["a task that does not end", "P3", { ...clean, tasks: [{ ...task, state: "running", attempts: 2 }] }],
  ["a late arrival", "P3", { ...clean, seen: [{ ...seen, arrivedAt: dueAt + 2_001 }] }],
  ["a task that nobody cancelled", "P3", { ...clean, tasks: [{ ...task, state: "cancelled" }] }],
  ["a task that fired after its cancel", "P4", { ...clean, told: [accepted, cancelled] }],
  ["one number sent twice", "P5", { ...clean, seen: [seen, { ...seen, arrivedAt: dueAt + 6 }] }],
  [
    "attempts that overlap",
    "P5",
    {
      ...clean,
      tasks: [{ ...task, attempts: 2 }],
      attempts: [attempt, { ...attempt, number: 2, startedAt: dueAt + 8 }],
    },
  ],
  ["more attempts than allowed", "P6", { ...clean, tasks: [{ ...task, attempts: 1, maxAttempts: 0 }] }],
  [
    "a second sending, at most once",
    "P6",
    { ...clean, seen: [seen, { ...seen, attempt: 2 }], tasks: [{ ...task, delivery: "at-most-once" }] },
  ],
  ["an attempt without its row", "P7", { ...clean, attempts: [] }],
  ["a request that nobody counted", "P7", { ...clean, seen: [{ ...seen, attempt: 7 }] }],
  ["an end that changed", "P8", { ...clean, told: [accepted, { ...accepted, call: "read", task: told("failed") }] }],
  [
    "a key of two live tasks",
    "P9",
    {
      ...clean,
      told: [],
      tasks: [
        { ...task, state: "paused" },
        { ...task, id: "b", state: "paused" },
      ],
    },
  ],
];

test.each(faults)("%s breaks %s", (_name, promise, histories) => {
  expect(brokenPromises(histories, bounds).map((fault) => fault.slice(0, 2))).toContain(promise);
});

test("what fell due in an outage counts from its end, and what is held back is not late", () => {
  const late: Histories = {
    ...clean,
    seen: [{ ...seen, arrivedAt: dueAt + 6_000 }],
    attempts: [{ ...attempt, startedAt: dueAt + 5_999, finishedAt: dueAt + 6_001 }],
  };
  expect(brokenPromises(late, bounds)).toHaveLength(1);
  expect(brokenPromises(late, { ...bounds, outages: [{ from: dueAt - 1_000, to: dueAt + 5_000 }] })).toEqual([]);
  expect(brokenPromises(late, { ...bounds, outages: [{ from: dueAt - 1_000, to: dueAt + 3_000 }] })).toHaveLength(1);
  expect(brokenPromises(late, { ...bounds, heldBack: new Set(["a"]) })).toEqual([]);
});

test("of many tasks that break a promise the first are shown, and the others counted", () => {
  const many = Array.from({ length: 12 }, (_, i) => ({ ...accepted, task: { ...told("scheduled"), id: `gone-${i}` } }));
  const shown = brokenPromises({ ...clean, told: many }, { latenessMsMax: null }).filter((fault) =>
    fault.startsWith("P1"),
  );
  expect(shown).toHaveLength(6);
  expect(shown.at(-1)).toBe("P1 accepted is durable: and 7 more");
});

test("a request that comes twice is told by its id, whatever its number", () => {
  expect(seenRepeatedly(clean)).toEqual([]);
  expect(seenRepeatedly({ ...clean, seen: [seen, { ...seen, attempt: 2 }] })).toEqual(["a"]);
});
