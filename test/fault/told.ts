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

/** The calls that named the task: its id, or its key, which may have been another task's before. */
export function callsOn({ taskOf, callsNaming }: View, id: string): readonly Told[] {
  const key = taskOf.get(id)?.key ?? null;
  return [...(callsNaming.get(id) ?? []), ...(key === null ? [] : (callsNaming.get(key) ?? []))];
}

/** Tasks of which a caller was told that they are accepted. */
export function acceptedIn(told: readonly Told[]): Set<string> {
  const accepted = told.filter((one) => one.call === "accept" && isAnswered(one));
  return new Set(accepted.flatMap(({ task }) => (task === null ? [] : [task.id])));
}
