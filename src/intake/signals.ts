// Owns what intake tells the rest of the process after a commit. All are hints: a lost one costs lateness, not a task.

import type { DueEntry, GoneEntry } from "../due-index/due-index.ts";

export interface IntakeSignals {
  /** New tasks wait, due at these times. */
  made(entries: readonly DueEntry[]): void;
  /** Tasks wait, due at these times: earlier or later than they did. */
  due(entries: readonly DueEntry[]): void;
  /** Tasks wait no more. `at`, where it is known: when they would have been due. */
  gone(entries: readonly GoneEntry[]): void;
  /** A queue was resumed, or its limits were changed: what waits there is to be looked at now, and entered anew. */
  queueChanged(queue: string): void;
}
