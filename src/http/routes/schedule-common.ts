// Owns what the routes of schedules share: answers that carry one, the problem where there is none, and reading what a path names.

import { z } from "zod";
import type { Schedule } from "../../store/schedule.ts";
import type { ScheduleId } from "../../store/schedules.ts";
import type { Answer } from "../answer.ts";
import { exampleSchedule } from "../examples.ts";
import { ApiProblem } from "../problem.ts";
import { renderSchedule } from "../render-schedule.ts";
import type { AnswerDoc, Call } from "../route.ts";
import { scheduleAnswer } from "../schemas/answers.ts";
import { readId } from "../schemas/fields.ts";

export const schedulesPath = "/v1/schedules";

export const scheduleParams = {
  id: z.string().meta({ description: "The schedule's id.", example: exampleSchedule.id }),
};

/** A schedule, with its version as the ETag that `If-Match` takes. */
export function scheduleResult(status: number, schedule: Schedule): Answer {
  const location = status === 201 ? { location: `${schedulesPath}/${schedule.id}` } : {};
  return { status, headers: { etag: `"${schedule.version}"`, ...location }, body: renderSchedule(schedule) };
}

export function scheduleDoc(description: string, example: unknown): AnswerDoc {
  return { description, schema: scheduleAnswer, example, headers: { etag: "Its version, for `If-Match`." } };
}

export function scheduleNotFound(): ApiProblem {
  return new ApiProblem("schedule-not-found", "There is no schedule of this id.");
}

/** The schedule of the id in a path, as far as the caller can see. An id that is no UUID names none. */
export function scheduleIdOf({ params, caller }: Pick<Call, "params" | "caller">): ScheduleId {
  const id = readId(params.id ?? "");
  if (id === null) throw scheduleNotFound();
  return { id, reach: caller.queues };
}
