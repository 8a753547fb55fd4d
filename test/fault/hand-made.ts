// Owns a history made by hand that breaks no promise, and its parts, to be broken one by one.

import type { Bounds, Death, HeldAttempt, HeldTask, Histories, Seen, Told } from "./history.ts";

export const dueAt = 1_000_000;
export const bounds: Bounds = { latenessMsMax: 2_000, deaths: [] };
export const task: HeldTask = {
  id: "a",
  queue: "default",
  key: "order-a",
  state: "succeeded",
  dueAt,
  finishedAt: dueAt + 9,
  attempts: 1,
  attemptsBefore: 0,
  maxAttempts: 10,
  retryDelayMs: 500,
  delivery: "at-least-once",
  version: 3,
  label: "call-a",
  occurrence: null,
};
export const accepted: Told = {
  call: "accept",
  name: "order-a",
  status: 201,
  task: { id: "a", state: "scheduled", nextAttemptAt: dueAt, attempts: 0, version: 1 },
  askedAt: dueAt - 110,
  firstAskedAt: dueAt - 110,
  delayMs: 100,
  answeredAt: dueAt - 100,
  label: "call-a",
};
export const cancelled: Told = {
  ...accepted,
  call: "cancel",
  status: 200,
  task: { ...told("cancelled"), attempts: 0, version: 2 },
};
export const cancelNoted: Told = {
  ...cancelled,
  status: 202,
  task: { ...told("running"), version: 2 },
  answeredAt: dueAt + 3,
};
export const said = { at: dueAt + 7, status: 200, rescheduleMs: null };
export const seen: Seen = { id: "a", attempt: 1, dueAt, arrivedAt: dueAt + 5, said };
export const attempt: HeldAttempt = {
  taskId: "a",
  number: 1,
  startedAt: dueAt + 2,
  finishedAt: dueAt + 9,
  outcome: "succeeded",
  status: 200,
};
export const confirmed: Told = {
  call: "confirm",
  name: "a",
  attempt: 1,
  status: 200,
  task: { ...told("running"), version: 3 },
  askedAt: dueAt + 5,
  answeredAt: dueAt + 6,
};
export const lostAttempt: HeldAttempt = { ...attempt, outcome: "lost", status: null, finishedAt: dueAt + 11_000 };
export const secondAttempt: HeldAttempt = {
  ...attempt,
  number: 2,
  startedAt: dueAt + 11_000,
  finishedAt: dueAt + 11_009,
};
export const death: Death = { at: dueAt + 50, until: dueAt + 50, takenOverBy: dueAt + 15_050, how: "killed" };
export const clean: Histories = { told: [accepted], seen: [seen], tasks: [task], attempts: [attempt] };
/** Its dispatcher died after the receiver had answered, and another fired it again. */
export const takenOver: Histories = {
  ...clean,
  seen: [seen, { ...seen, attempt: 2, arrivedAt: dueAt + 11_003, said: { ...said, at: dueAt + 11_005 } }],
  tasks: [{ ...task, attempts: 2, version: 4, finishedAt: dueAt + 11_009 }],
  attempts: [lostAttempt, secondAttempt],
};
/** Its first attempt failed, and the second is due 500 ms after that. */
export const failed: HeldAttempt = { ...attempt, outcome: "failed", status: 500 };
export const retriedAt = dueAt + 509;
export const retried: Histories = {
  ...clean,
  seen: [
    { ...seen, said: { ...said, status: 500 } },
    { ...seen, attempt: 2, arrivedAt: retriedAt + 3, said: { ...said, at: retriedAt + 4 } },
  ],
  tasks: [{ ...task, attempts: 2, finishedAt: retriedAt + 9, version: 5 }],
  attempts: [failed, { ...attempt, number: 2, startedAt: retriedAt, finishedAt: retriedAt + 9 }],
};

export function told(state: string): NonNullable<Told["task"]> {
  return { id: "a", state, nextAttemptAt: dueAt, attempts: 1, version: 3 };
}

export function cancelledTask(changes: Partial<HeldTask> = {}): HeldTask {
  return { ...task, state: "cancelled", version: 2, ...changes };
}

export const other: HeldTask = { ...task, id: "b", label: "call-b", finishedAt: dueAt + 5_000 };

/** Which promises are broken, without the stories. */
export function promisesOf(broken: readonly string[]): string[] {
  return [...new Set(broken.map((fault) => fault.split(" ")[0] ?? ""))];
}
