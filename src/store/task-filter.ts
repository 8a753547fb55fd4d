// Owns what a listing can ask for.

import type { Task, TaskState } from "../task/task.ts";
import type { Reach } from "./reach.ts";

export interface TaskFilter {
  /** The queues that the caller can see; left out: all. */
  readonly reach?: Reach;
  readonly queue?: string;
  readonly states?: readonly TaskState[];
  readonly key?: string;
  readonly keyPrefix?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly dueAfter?: number;
  readonly dueBefore?: number;
  readonly scheduleId?: string;
}

export type TaskOrder = "dueAt" | "-createdAt";

/** Where the page before ended: its last task's due time (for `dueAt`) and id. */
export interface TaskCursor {
  readonly dueAt: number;
  readonly id: string;
}

export interface TaskPage {
  readonly items: readonly Task[];
  /** Null on the last page. */
  readonly next: TaskCursor | null;
}
