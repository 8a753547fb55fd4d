// Owns bringing a task into any of its states over the API alone.

import type { TaskState } from "../../src/task/task.ts";
import type { TaskJson } from "./api.ts";
import { type Flow, until } from "./flow.ts";

type Fields = Readonly<Record<string, unknown>>;

/** A task in the state. One that runs is held by its receiver until the receiver closes. */
export async function taskIn(flow: Flow, state: TaskState, fields: Fields = {}): Promise<TaskJson> {
  switch (state) {
    case "scheduled":
      return flow.create(fields);
    case "paused":
      return paused(flow, fields);
    case "running":
      return (await flow.running(fields)).task;
    case "succeeded":
      return fired(flow, { ...fields, url: flow.hook().url }, state);
    case "failed":
      return fired(flow, { ...fields, url: flow.hook({ status: 410 }).url }, state);
    case "cancelled":
      return (await flow.api.delete(`/v1/tasks/${(await flow.create(fields)).id}`)).task;
    case "missed":
      return missed(flow, fields);
    default:
      return state satisfies never;
  }
}

/** A task whose first attempt failed, and whose next is an hour away. */
export async function waitingForRetry(flow: Flow, fields: Fields = {}): Promise<TaskJson> {
  const retry = { backoff: "fixed", minDelay: "1h", jitter: 0 };
  const task = await flow.create({ url: flow.hook([{ status: 500 }, {}]).url, delay: "0s", retry, ...fields });
  return until(
    () => flow.read(task.id),
    ({ state, attempts }) => state === "scheduled" && attempts === 1,
  );
}

/** A task that is paused, and whose time has passed. */
export async function overdueWhilePaused(flow: Flow, fields: Fields = {}): Promise<TaskJson> {
  const { id } = await paused(flow, fields);
  const { task } = await flow.api.patch(`/v1/tasks/${id}`, { delay: "0s" });
  await until(Date.now, (now) => now > Date.parse(task.dueAt) + 10);
  return task;
}

async function paused(flow: Flow, fields: Fields): Promise<TaskJson> {
  return (await flow.api.post(`/v1/tasks/${(await flow.create(fields)).id}/pause`)).task;
}

async function fired(flow: Flow, fields: Fields, state: TaskState): Promise<TaskJson> {
  return flow.reaches((await flow.create({ delay: "0s", ...fields })).id, state);
}

async function missed(flow: Flow, fields: Fields): Promise<TaskJson> {
  const { id } = await overdueWhilePaused(flow, { misfireGrace: "1ms", ...fields });
  await flow.api.post(`/v1/tasks/${id}/resume`);
  return flow.reaches(id, "missed");
}
