// Owns what the answers of the API mean to the checker.

import type { Told, View } from "./history.ts";

const ended = new Set(["succeeded", "failed", "cancelled", "missed"]);

export function isEnded(state: string): boolean {
  return ended.has(state);
}

/** It was answered, and done. */
export function isAnswered({ status }: Told): boolean {
  return status !== null && status < 300;
}

/** No answer, or one that may hide a success: nobody knows whether it was done. */
export function isUnknown({ status }: Told): boolean {
  return status === null || status >= 500;
}

/** By what calls may have named the task: its id, its key. */
export function namesOf({ taskOf }: View, id: string): Set<string> {
  const key = taskOf.get(id)?.key;
  return new Set(key === null || key === undefined ? [id] : [id, key]);
}

/** Tasks of which a caller was told that they are accepted. */
export function acceptedIn(told: readonly Told[]): Set<string> {
  const accepted = told.filter((one) => one.call === "accept" && isAnswered(one));
  return new Set(accepted.flatMap(({ task }) => (task === null ? [] : [task.id])));
}
