// Owns when a task falls due that a caller makes or changes.

import type { Clock } from "../runtime/clock.ts";
import type { DueTime } from "../task/new-task.ts";

/** In whole ms, never earlier than Postgres would say; a time in the past is now. */
export function dueTime(due: DueTime, clock: Clock): number {
  const now = clock.after(0);
  return due.kind === "at" ? Math.max(Math.ceil(due.at), now) : clock.after(due.delayMs);
}
