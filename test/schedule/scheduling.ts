// Owns the set-up of tests of schedules: making one over the API, and reading the tasks that it brought forth.

import type { z } from "zod";
import type { scheduleAnswer } from "../../src/http/schemas/answers.ts";
import type { TaskJson } from "../support/api.ts";
import { type Flow, unique } from "../support/flow.ts";

export type ScheduleJson = z.output<typeof scheduleAnswer>;

export const secondMs = 1_000;
export const everySecond = { type: "interval", every: "1s" } as const;
/** Whose first occurrence is an hour off: nothing is made ahead. */
export const everyHour = { type: "interval", every: "1h" } as const;

/** Makes a schedule; fails unless it is created. */
export async function makeSchedule(flow: Flow, fields: Readonly<Record<string, unknown>> = {}): Promise<ScheduleJson> {
  const body = { name: unique("schedule"), trigger: everyHour, url: flow.hook().url, ...fields };
  const answer = await flow.api.post("/v1/schedules", body);
  if (answer.status !== 201) throw new Error(`The schedule was not created: ${answer.status} ${answer.text}`);
  return answer.as<ScheduleJson>();
}

export async function readSchedule(flow: Flow, id: string): Promise<ScheduleJson> {
  return (await flow.api.get(`/v1/schedules/${id}`)).as<ScheduleJson>();
}

/** Its tasks by due time. */
export async function tasksOf(flow: Flow, scheduleId: string, query = ""): Promise<TaskJson[]> {
  const answer = await flow.api.get(`/v1/tasks?scheduleId=${scheduleId}&limit=500${query}`);
  return answer.as<{ items: TaskJson[] }>().items;
}
