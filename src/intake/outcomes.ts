// Owns what intake answers: each outcome that a caller can meet, as a value. http/ maps them to status codes.

import type { Reach, TaskId } from "../store/reach.ts";
import type { Task, TaskState } from "../task/task.ts";

export type AcceptOutcome =
  /** Committed: a new task, `scheduled`, or `cancelled` at once by a tombstone. */
  | { readonly kind: "created"; readonly task: Task }
  /** A live task with this key stands: the very same request came before, or the caller said `keep`. */
  | { readonly kind: "existing"; readonly task: Task }
  /** The standing task took the new definition and due time. */
  | { readonly kind: "replaced"; readonly task: Task }
  /** A live task with this key stands, and the caller said `reject`, or `replace` while it runs. Nothing was stored. */
  | { readonly kind: "conflict"; readonly task: Task }
  /** A stranger's transaction held the row or the key for longer than the wait. Nothing was stored. */
  | { readonly kind: "locked" };

/** Nothing was stored. */
export type RefusedOutcome = Extract<AcceptOutcome, { readonly kind: "conflict" | "locked" }>;

export function isRefused(outcome: AcceptOutcome): outcome is RefusedOutcome {
  return outcome.kind === "conflict" || outcome.kind === "locked";
}

/** Of a task of many that are accepted together. */
export type TogetherOutcome =
  /** Committed: created, replaced, or it stands. */
  | { readonly kind: "accepted" }
  | RefusedOutcome
  /** Thrown; where the store was unavailable nobody knows whether it is stored. */
  | { readonly kind: "failed"; readonly error: unknown };

/** Names one task: by id, or the live one (else the newest) with a key, in a queue that the caller can see. */
export type TaskRef = TaskId | { readonly queue: string; readonly key: string };

export type CancelOutcome =
  /** No attempt starts any more: now cancelled, or it was already. */
  | { readonly kind: "cancelled"; readonly task: Task }
  /** An attempt is in flight; no further one follows. */
  | { readonly kind: "too-late"; readonly task: Task }
  /** It has ended otherwise, or its receiver holds a confirm. */
  | { readonly kind: "refused"; readonly task: Task }
  | { readonly kind: "not-found" };

export type ConfirmOutcome =
  | { readonly kind: "confirmed"; readonly task: Task }
  | { readonly kind: "refused"; readonly task: Task }
  | { readonly kind: "not-found" };

/** The outcome of pause, resume, run, retry and change. */
export type ChangeOutcome =
  | { readonly kind: "done"; readonly task: Task }
  | { readonly kind: "wrong-state"; readonly task: Task }
  | { readonly kind: "version-mismatch"; readonly task: Task }
  /** Retry only: the task's key is live on another task, the holder; null where a tombstone holds it. */
  | { readonly kind: "key-conflict"; readonly holder: Task | null }
  | { readonly kind: "not-found" };

/** Which tasks a bulk call means: all conditions hold; at least one of ids, keys, labels and held is given. `labels` matches live tasks of the queue, or of all. */
export interface BulkFilter {
  /** The queues that the caller can see: no other is looked into. */
  readonly reach: Reach;
  readonly queue?: string;
  readonly ids?: readonly string[];
  readonly keys?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Only tasks that a start after a gap holds back. */
  readonly held?: true;
}

export interface BulkRefusal {
  readonly id: string;
  readonly state: TaskState;
  readonly reason?: string;
}

/** `more`: the call reached its 10,000 tasks and others match. */
export interface BulkOutcome {
  readonly done: readonly string[];
  readonly notDone: readonly BulkRefusal[];
  readonly tombstones: readonly string[];
  readonly more: boolean;
}
