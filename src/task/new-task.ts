// Owns what intake is given to accept: a checked definition and what to do where its key is taken.

import type { TaskDefinition } from "./task.ts";

export type OnConflict = "reject" | "keep" | "replace";

/** When a new task is due: at an instant, after a delay from receipt, or now (a delay of 0). */
export type DueTime =
  | { readonly kind: "at"; readonly at: number }
  | { readonly kind: "delay"; readonly delayMs: number };

interface Placed {
  readonly queue: string;
  readonly key: string | null;
  readonly onConflict: OnConflict;
  readonly due: DueTime;
}

/** What a queue may say of a task that leaves it out. */
type DefaultedField = "retry" | "timeoutMs" | "misfireGraceMs";

/** A task as its caller wrote it: the fields that its queue has defaults for may be missing. */
export type TaskRequest = Placed &
  Omit<TaskDefinition, DefaultedField> & { readonly [Field in DefaultedField]?: TaskDefinition[Field] | undefined };

export interface NewTask extends TaskDefinition, Placed {
  /**
   * SHA-256 (base64url) of the request's fields after defaults, `delay` as given: "the very same request" has the same. Null without a key:
   * nothing then asks for it.
   */
  readonly requestHash: string | null;
}

/** The fields that a PATCH may change; one left out stays. */
export interface TaskChanges {
  readonly due?: DueTime;
  readonly url?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: TaskDefinition["body"];
  readonly retry?: TaskDefinition["retry"];
  readonly timeoutMs?: number;
  readonly labels?: Readonly<Record<string, string>>;
}
