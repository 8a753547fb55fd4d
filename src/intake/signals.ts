// Owns what intake tells the rest of the process after a commit. All are hints: a lost one costs lateness, not a task.

import type { DueEntry } from "../due-index/due-index.ts";

export interface IntakeSignals {
  /** New tasks wait, due at these times. */
  made(entries: readonly DueEntry[]): void;
  /** Tasks wait, due at these times: earlier or later than they did. */
  due(entries: readonly DueEntry[]): void;
  /** Tasks wait no more. */
  gone(entries: readonly Omit<DueEntry, "at">[]): void;
  /** A queue was resumed, or its limits were changed: what waits there is to be looked at now, and entered anew. */
  queueChanged(queue: string): void;
}
