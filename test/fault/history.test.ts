// The history checker itself: a clean history breaks nothing, and each kind of fault is found under its promise.

import { expect, test } from "vitest";
import {
  dueAt,
  bounds,
  task,
  accepted,
  cancelled,
  cancelNoted,
  said,
  seen,
  attempt,
  confirmed,
  secondAttempt,
  death,
  clean,
  takenOver,
  failed,
  retriedAt,
  retried,
  told,
  cancelledTask,
  other,
  promisesOf,
} from "./hand-made.ts";
import { brokenPromises, type Histories, seenRepeatedly, type Told } from "./history.ts";

test("a task that was accepted, fired in time and recorded breaks no promise", () => {
  expect(brokenPromises(clean, bounds)).toEqual([]);
});

test("a task that was retried, taken over, cancelled or confirmed in time breaks no promise", () => {
  expect(brokenPromises(retried, bounds)).toEqual([]);
  expect(brokenPromises(takenOver, { ...bounds, deaths: [death] })).toEqual([]);
  const stopped: Histories = {
    told: [accepted, cancelled],
    seen: [],
    tasks: [{ ...task, state: "cancelled", attempts: 0, version: 2 }],
    attempts: [],
  };
  expect(brokenPromises(stopped, bounds)).toEqual([]);
  expect(brokenPromises({ ...clean, told: [accepted, confirmed] }, bounds)).toEqual([]);
});

const faults: [string, string, Histories][] = [
  ["a task that is gone", "P1", { ...clean, tasks: [] }],
  ["an arrival before the due time", "P2", { ...clean, seen: [{ ...seen, arrivedAt: dueAt - 50 }] }],
  ["a start before the due time", "P2", { ...clean, attempts: [{ ...attempt, startedAt: dueAt - 1 }] }],
  ["a due time before what was asked for", "P2", { ...clean, told: [{ ...accepted, delayMs: 150 }] }],
  [
    "a start while the task was paused",
    "P2",
    {
      ...clean,
      told: [
        accepted,
        {
          ...accepted,
          call: "change",
          action: "pause",
          status: 200,
          task: { ...told("paused"), attempts: 0, version: 2 },
        },
      ],
    },
  ],
  [
    "a retry before its time",
    "P2",
    { ...retried, attempts: [failed, { ...secondAttempt, startedAt: dueAt + 400, finishedAt: retriedAt + 9 }] },
  ],
  ["a signature's time an hour off", "P2", { ...clean, seen: [{ ...seen, timestamp: dueAt + 3_600_000 }] }],
  [
    "a task that never fired",
    "P3",
    { ...clean, seen: [], attempts: [], tasks: [{ ...task, state: "failed", attempts: 0 }] },
  ],
  ["a task that does not end", "P3", { ...clean, tasks: [{ ...task, state: "running", attempts: 2 }] }],
  ["a late arrival", "P3", { ...clean, seen: [{ ...seen, arrivedAt: dueAt + 2_001 }] }],
  ["a late start", "P3", { ...clean, attempts: [{ ...attempt, startedAt: dueAt + 2_001, finishedAt: dueAt + 2_002 }] }],
  [
    "a late retry",
    "P3",
    {
      ...retried,
      attempts: [failed, { ...secondAttempt, startedAt: retriedAt + 2_001, finishedAt: retriedAt + 2_009 }],
    },
  ],
  ["a task that nobody cancelled", "P3", { ...clean, tasks: [{ ...task, state: "cancelled" }] }],
  ["a task that fired after its cancel", "P4", { ...clean, told: [accepted, cancelled], tasks: [cancelledTask()] }],
  [
    "a task that is not cancelled after all",
    "P4",
    { ...clean, told: [accepted, { ...cancelled, task: told("cancelled"), answeredAt: dueAt + 600 }] },
  ],
  [
    "a call that arrives after its cancel",
    "P4",
    {
      ...clean,
      told: [accepted, { ...cancelled, task: { ...told("cancelled"), version: 2 }, answeredAt: dueAt + 4 }],
      seen: [{ ...seen, arrivedAt: dueAt + 50 }],
      tasks: [cancelledTask()],
    },
  ],
  ["an attempt after a cancel that was noted", "P4", { ...takenOver, told: [accepted, cancelNoted] }],
  [
    "a cancel that was noted and forgotten",
    "P4",
    { ...clean, told: [accepted, cancelNoted], tasks: [{ ...task, state: "failed" }] },
  ],
  [
    "a confirmed attempt that is cancelled",
    "P4",
    {
      ...clean,
      told: [
        accepted,
        confirmed,
        { ...cancelled, task: { ...told("cancelled"), version: 4 }, answeredAt: dueAt + 600 },
      ],
      tasks: [cancelledTask({ version: 4 })],
    },
  ],
  [
    "a confirm after a cancel",
    "P4",
    { ...clean, told: [accepted, { ...cancelNoted, task: told("running") }, confirmed] },
  ],
  [
    "a refused confirm whose task succeeds",
    "P4",
    { ...clean, told: [accepted, cancelNoted, { ...confirmed, status: 409, task: null }] },
  ],
  ["one number sent twice", "P5", { ...clean, seen: [seen, { ...seen, arrivedAt: dueAt + 6 }] }],
  [
    "attempts that overlap",
    "P5",
    { ...clean, tasks: [{ ...task, attempts: 2 }], attempts: [attempt, { ...secondAttempt, startedAt: dueAt + 8 }] },
  ],
  ["an attempt that is lost while its owner lives", "P5", takenOver],
  [
    "more attempts than allowed",
    "P6",
    {
      ...retried,
      told: [accepted, { ...accepted, call: "change", action: "retry", name: "a", status: null, task: null }],
      tasks: [{ ...task, attempts: 2, maxAttempts: 1 }],
    },
  ],
  [
    "a budget that began anew by itself",
    "P6",
    { ...retried, tasks: [{ ...task, attempts: 2, attemptsBefore: 1, maxAttempts: 1 }] },
  ],
  [
    "a second sending, at most once",
    "P6",
    { ...clean, seen: [seen, { ...seen, attempt: 2 }], tasks: [{ ...task, delivery: "at-most-once" }] },
  ],
  ["an attempt without its row", "P7", { ...clean, attempts: [] }],
  ["a request that nobody counted", "P7", { ...clean, seen: [seen, { ...seen, attempt: 7 }] }],
  ["a request of no task", "P7", { ...clean, seen: [seen, { ...seen, id: "z" }] }],
  ["a status that nobody answered", "P7", { ...clean, seen: [{ ...seen, said: { ...said, status: 500 } }] }],
  ["a success that nobody saw", "P7", { ...clean, seen: [] }],
  ["an end that changed", "P8", { ...clean, told: [accepted, { ...accepted, call: "read", task: told("failed") }] }],
  [
    "an end that was written twice",
    "P8",
    { ...clean, told: [accepted, { ...accepted, call: "read", task: { ...told("succeeded"), version: 2 } }] },
  ],
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
  [
    "a key accepted while another had it",
    "P9",
    {
      ...clean,
      told: [
        accepted,
        {
          ...accepted,
          firstAskedAt: dueAt + 1,
          askedAt: dueAt + 1,
          answeredAt: dueAt + 2,
          task: { ...told("scheduled"), id: "b" },
        },
      ],
      tasks: [task, other],
    },
  ],
  ["a call that was stored twice", "P9", { ...clean, tasks: [task, { ...other, label: "call-a" }] }],
  [
    "an Idempotency-Key of two tasks",
    "P9",
    {
      ...clean,
      told: [
        { ...accepted, idempotencyKey: "once" },
        { ...accepted, idempotencyKey: "once", task: { ...told("scheduled"), id: "b" } },
      ],
    },
  ],
];

test.each(faults)("%s breaks %s", (_name, promise, histories) => {
  expect(promisesOf(brokenPromises(histories, bounds))).toContain(promise);
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

test("a task that is lost or late while Redis was impaired breaks P10 as well", () => {
  const redisFaults = [{ from: dueAt - 1_000, to: dueAt + 1_000 }];
  const late: Histories = { ...clean, seen: [{ ...seen, arrivedAt: dueAt + 2_001 }] };
  for (const histories of [late, { ...clean, tasks: [] }]) {
    expect(promisesOf(brokenPromises(histories, { ...bounds, redisFaults }))).toContain("P10");
    expect(promisesOf(brokenPromises(histories, bounds))).not.toContain("P10");
  }
});

test("a takeover that takes too long breaks P3, and one in time does not", () => {
  const slow = { ...death, takenOverBy: dueAt + 10_000 };
  expect(promisesOf(brokenPromises(takenOver, { ...bounds, deaths: [slow] }))).toEqual(["P3"]);
  const stalls = [{ from: dueAt + 10_000, to: dueAt + 11_000 }];
  expect(brokenPromises(takenOver, { ...bounds, deaths: [slow], stalls })).toEqual([]);
});

test("what was disturbed on its way is judged by its start, and what the machine did not let run is not late", () => {
  const late: Histories = { ...clean, seen: [{ ...seen, arrivedAt: dueAt + 5_000 }] };
  const span = { from: dueAt + 1_000, to: dueAt + 4_500 };
  expect(promisesOf(brokenPromises(late, bounds))).toEqual(["P3"]);
  expect(brokenPromises(late, { ...bounds, disturbances: [span] })).toEqual([]);
  expect(brokenPromises(late, { ...bounds, stalls: [span] })).toEqual([]);
  const tooLate: Histories = { ...clean, seen: [{ ...seen, arrivedAt: dueAt + 15_010 }] };
  expect(promisesOf(brokenPromises(tooLate, { ...bounds, disturbances: [span] }))).toEqual(["P3"]);
});

test("what nobody can know is not judged: a change whose answer was lost may have moved the due time", () => {
  const change: Told = { ...accepted, call: "change", action: "run", name: "a", status: null, task: null };
  const late: Histories = { ...clean, seen: [{ ...seen, arrivedAt: dueAt + 5_000 }] };
  expect(brokenPromises({ ...late, told: [accepted, change] }, bounds)).toEqual([]);
});

test("a fault comes with its task's whole story, in the order of time, and with what was done to the world", () => {
  const happenings = [{ from: dueAt - 20, to: dueAt + 20, what: "kill of dispatcher-1" }];
  const [fault = ""] = brokenPromises(
    { ...takenOver, told: [accepted, cancelNoted] },
    { ...bounds, deaths: [death], happenings },
  );
  const lines = fault.split("\n").slice(2);
  const at = (text: string): number => lines.findIndex((line) => line.includes(text));
  const order = [
    "asked: accept",
    "told: accept",
    "kill of dispatcher-1",
    "attempt 1 started",
    "seen: attempt 1",
    "said: attempt 1",
    "attempt 1 lost",
    "seen: attempt 2",
    "row: succeeded",
  ].map(at);
  expect(order).not.toContain(-1);
  expect(order).toEqual(order.toSorted((one, another) => one - another));
});
