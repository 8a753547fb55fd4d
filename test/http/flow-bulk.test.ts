// Owns the checks of the bulk calls through the real service: which tasks a filter means, and what becomes of each.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TaskState, taskStates } from "../../src/task/task.ts";
import type { TaskJson } from "../support/api.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { taskIn, waitingForRetry } from "../support/states.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

type Action = "cancel" | "pause" | "resume" | "retry";
interface Refusal {
  readonly id: string;
  readonly state: TaskState;
  readonly reason?: string;
}
interface Outcome {
  readonly done: readonly string[];
  readonly notDone: readonly Refusal[];
  readonly more: boolean;
}

const names = {
  cancel: ["cancelled", "notCancelled"],
  pause: ["paused", "notPaused"],
  resume: ["resumed", "notResumed"],
  retry: ["retried", "notRetried"],
} as const;
/** The states that each call changes, and the state that it leads to, in which a task counts as done already. */
const changed: Readonly<Record<Action, { readonly from: readonly TaskState[]; readonly to: TaskState | null }>> = {
  cancel: { from: ["scheduled", "paused"], to: "cancelled" },
  pause: { from: ["scheduled"], to: "paused" },
  resume: { from: ["paused"], to: "scheduled" },
  retry: { from: ["failed", "missed"], to: null },
};
const actions = Object.keys(names) as Action[];

async function bulk(action: Action, filter: object): Promise<Outcome> {
  const answer = (await flow.api.post(`/v1/tasks/${action}`, filter)).as<Record<string, unknown>>();
  const [done, notDone] = names[action];
  return {
    done: answer[done] as string[],
    notDone: answer[notDone] as Refusal[],
    more: answer["more"] === true,
  };
}

async function labelled(count: number, fields: object = {}): Promise<{ labels: { of: string }; tasks: TaskJson[] }> {
  const labels = { of: unique("of") };
  const tasks = await Promise.all(Array.from({ length: count }, () => flow.create({ ...fields, labels })));
  return { labels, tasks };
}

const ids = (tasks: readonly TaskJson[]): string[] => tasks.map(({ id }) => id).toSorted();

describe.each(actions)("bulk %s", (action) => {
  const { from, to } = changed[action];

  test.each(taskStates)("by id of a task that is %s", async (state) => {
    const { id, finishedAt } = await taskIn(flow, state, { key: unique("key") });
    const outcome = await bulk(action, { ids: [id] });
    const isDone = from.includes(state) || state === to;
    expect(outcome.done).toEqual(isDone ? [id] : []);
    expect(outcome.notDone).toMatchObject(isDone ? [] : [{ id, state }]);
    const after = await flow.read(id);
    if (!from.includes(state)) expect(after.state).toBe(state);
    else if (to !== null) expect(after.state).toBe(to);
    else expect(after.finishedAt).not.toBe(finishedAt);
  });

  test("without a condition is 422: it would mean everything", async () => {
    for (const filter of [{}, { queue: "default" }, { dryRun: true }, { ids: [] }, { keys: [] }, { labels: {} }])
      expect((await flow.api.post(`/v1/tasks/${action}`, filter)).status).toBe(422);
  });

  test("of what is not there does nothing", async () => {
    const filter = { ids: ["01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57"] };
    expect(await bulk(action, filter)).toEqual({ done: [], notDone: [], more: false });
    expect(await bulk(action, { keys: [unique("none")] })).toEqual({ done: [], notDone: [], more: false });
  });

  test.each(from)("as a dry run says so of a task that is %s, and leaves it", async (state) => {
    const task = await taskIn(flow, state, { key: unique("key") });
    expect((await bulk(action, { keys: [task.key], dryRun: true })).done).toEqual([task.id]);
    expect(await flow.read(task.id)).toEqual(task);
  });
});

describe("a filter", () => {
  test("of labels means the live tasks that have them all, in any queue", async () => {
    const { labels, tasks } = await labelled(3);
    const elsewhere = await flow.create({ labels: { ...labels, more: "1" }, queue: "elsewhere" });
    await flow.create({ labels: { of: "another" } });
    expect((await bulk("pause", { labels })).done.toSorted()).toEqual(ids([...tasks, elsewhere]));
    expect((await bulk("resume", { labels: { ...labels, more: "1" } })).done).toEqual([elsewhere.id]);
    expect((await bulk("resume", { labels: { ...labels, more: "2" } })).done).toEqual([]);
  });

  test("of labels means no task that has ended", async () => {
    const { labels, tasks } = await labelled(2);
    await flow.api.delete(`/v1/tasks/${tasks[0]?.id}`);
    expect(await bulk("cancel", { labels })).toMatchObject({ done: [tasks[1]?.id], notDone: [] });
  });

  test("of a queue narrows labels and ids", async () => {
    const { labels, tasks } = await labelled(2, { queue: "narrow" });
    await flow.create({ labels });
    expect((await bulk("cancel", { labels, queue: "narrow", dryRun: true })).done.toSorted()).toEqual(ids(tasks));
    expect((await bulk("cancel", { ids: ids(tasks), queue: "default" })).done).toEqual([]);
    expect((await bulk("cancel", { ids: ids(tasks) })).done.toSorted()).toEqual(ids(tasks));
  });

  test("of keys means the queue default, unless it is named", async () => {
    const key = unique("key");
    const { id } = await flow.create({ key, queue: "mail" });
    expect((await bulk("cancel", { keys: [key] })).done).toEqual([]);
    expect((await bulk("cancel", { keys: [key], queue: "mail" })).done).toEqual([id]);
  });

  test("of a key means its live task, not one that ended before", async () => {
    const key = unique("key");
    await taskIn(flow, "succeeded", { key });
    const { id } = await flow.create({ key });
    expect(await bulk("cancel", { keys: [key, key] })).toMatchObject({ done: [id], notDone: [] });
  });

  test("of ids, keys and labels means the tasks that all of them fit", async () => {
    const { labels, tasks } = await labelled(3, {});
    const keyed = await flow.create({ labels, key: unique("key") });
    const filter = { ids: [...ids(tasks), keyed.id], keys: [keyed.key], labels };
    expect((await bulk("cancel", filter)).done).toEqual([keyed.id]);
    expect((await bulk("cancel", { ...filter, labels: { of: "another" } })).done).toEqual([]);
  });

  test("that fits more than 10,000 tasks takes as many, and says that there are others until there are none", async () => {
    const labels = { of: unique("many") };
    const task = { url: flow.hook().url, delay: "1h", labels };
    const batches = [...Array.from({ length: 10 }, () => 1_000), 1];
    for (const count of batches)
      await flow.api.post("/v1/tasks/batch", { tasks: Array.from({ length: count }, () => task) });
    for (const action of ["pause", "resume", "cancel"] as const) {
      const first = await bulk(action, { labels });
      expect([first.done.length, first.more]).toEqual([10_000, true]);
      const second = await bulk(action, { labels });
      expect([second.done.length, second.more]).toEqual([1, false]);
    }
  });
});

describe("bulk cancel", () => {
  test("asks a task in flight to end, and says that it was not cancelled", async () => {
    const { task, release } = await flow.running();
    expect((await bulk("cancel", { ids: [task.id] })).notDone).toEqual([{ id: task.id, state: "running" }]);
    expect((await flow.read(task.id)).cancelRequested).toBe(true);
    release({ status: 500 });
    expect((await flow.reaches(task.id, "cancelled")).attempts).toBe(1);
  });

  test("as a dry run asks nothing of a task in flight", async () => {
    const { task, release } = await flow.running();
    expect((await bulk("cancel", { ids: [task.id], dryRun: true })).notDone).toEqual([
      { id: task.id, state: "running" },
    ]);
    expect((await flow.read(task.id)).cancelRequested).toBe(false);
    release();
  });

  test("keeps what it cancelled from being called", async () => {
    const hook = flow.hook();
    const { labels } = await labelled(20, { url: hook.url, delay: "2s" });
    expect((await bulk("cancel", { labels })).done).toHaveLength(20);
    await flow.reaches((await flow.create({ url: flow.hook().url, delay: "2100ms" })).id, "succeeded");
    expect(hook.requests).toHaveLength(0);
  });
});

describe("bulk retry", () => {
  const failing = (fields: object): Promise<TaskJson> => taskIn(flow, "failed", { ...fields });

  test("of several with one key takes the newest alone", async () => {
    const key = unique("key");
    const labels = { of: unique("of") };
    const [first, second, third] = [
      await failing({ key, labels }),
      await failing({ key, labels }),
      await failing({ key, labels }),
    ];
    const other = await failing({ key: unique("key"), labels });
    const outcome = await bulk("retry", { labels });
    expect(outcome.done.toSorted()).toEqual(ids([third, other]));
    expect(outcome.notDone.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      { id: first.id, state: "failed", reason: "key-conflict" },
      { id: second.id, state: "failed", reason: "key-conflict" },
    ]);
  });

  test("of several without a key takes them all", async () => {
    const labels = { of: unique("of") };
    const tasks = [await failing({ labels }), await failing({ labels })];
    expect((await bulk("retry", { labels })).done.toSorted()).toEqual(ids(tasks));
  });

  test.each([false, true])("passes over one whose key is live on another task (dry run: %s)", async (dryRun) => {
    const key = unique("key");
    const { id } = await failing({ key });
    await flow.create({ key });
    const outcome = await bulk("retry", { ids: [id], dryRun });
    expect(outcome).toMatchObject({ done: [], notDone: [{ id, state: "failed", reason: "key-conflict" }] });
  });

  test.each([{}, { key: unique("key") }])("says why it did not take a task in another state, of %j", async (fields) => {
    const { id } = await waitingForRetry(flow, fields);
    expect((await bulk("retry", { ids: [id] })).notDone).toEqual([{ id, state: "scheduled", reason: "wrong-state" }]);
  });

  test("fires what it took", async () => {
    const hook = flow.hook([{ status: 410 }, {}]);
    const { id } = await flow.create({ url: hook.url, delay: "0s" });
    await flow.reaches(id, "failed");
    await bulk("retry", { ids: [id] });
    expect((await flow.reaches(id, "succeeded")).attempts).toBe(2);
  });
});
