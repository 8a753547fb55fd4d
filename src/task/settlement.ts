// Owns what a settled attempt leads to; `settle` in settle.ts decides it, the store writes it.

import type { AttemptOutcome } from "./task.ts";

/** What comes next for the task. The store turns it into `cancelled` where a cancel was requested and it says anything but succeeded. */
export type Next =
  | { readonly kind: "succeeded" }
  | { readonly kind: "failed" }
  /** A failed attempt with attempts left: backoff moves `nextAttemptAt` alone. */
  | { readonly kind: "retry"; readonly nextAttemptAt: number }
  /** The receiver asked to be called again: sets `dueAt` too, with a fresh budget of attempts. */
  | { readonly kind: "reschedule"; readonly dueAt: number };

export interface Settlement {
  readonly outcome: AttemptOutcome;
  readonly status: number | null;
  readonly error: string | null;
  /** Up to 1 KiB of the answer, without NUL; null where none came. */
  readonly responseSnippet: string | null;
  readonly next: Next;
  /** False where the receiver said that it did not act: an answer other than 2xx, or a reschedule. A confirm of this attempt ends then. */
  readonly confirmStands: boolean;
  /** The receiver ended the schedule that made the task. */
  readonly endsSchedule: boolean;
}
