// Owns reading one task of many in a request, a batch's item or an import's line: what to accept, or why not.

import type { TaskRequest } from "../task/new-task.ts";
import { type Caller, confinementProblem } from "./access.ts";
import { faultsOf } from "./faults.ts";
import { ApiProblem, type Fault, validationFailed } from "./problem.ts";
import type { TaskSchemas } from "./schemas/task-input.ts";
import { toTaskRequest } from "./task-input.ts";

export interface WrittenTask {
  /** As JSON.parse gave it. */
  readonly value: unknown;
  /** The payload as it was written. */
  readonly payloadText: string | null;
  /** Strings that cannot be stored. */
  readonly faults: readonly Fault[];
  /** Where it stands in the body; empty where it is a text of its own. */
  readonly path: string;
}

/** What holds for all tasks of one request. */
export interface TaskReading {
  readonly schemas: TaskSchemas;
  readonly caller: Caller;
  readonly traceparent: string | null;
}

/** All faults at once; a task that the caller's key may not put into its queue is refused like one of its own. */
export function readTask(
  written: WrittenTask,
  { schemas, caller, traceparent }: TaskReading,
): TaskRequest | ApiProblem {
  const { value, payloadText, path } = written;
  const read = schemas.newTask.safeParse(value);
  const faults = [...(read.success ? [] : faultsOf(read.error, path)), ...written.faults];
  if (!read.success || faults.length > 0) return validationFailed(faults);
  try {
    const task = toTaskRequest(read.data, { payloadText, traceparent, path });
    return confinementProblem(caller, task.queue, `${path}/queue`) ?? task;
  } catch (error) {
    if (error instanceof ApiProblem) return error;
    throw error;
  }
}
