// Owns when each attempt was due: by what callers were told, else by what the attempt before it came to.

import type { HeldAttempt, Told, View } from "./history.ts";
import { isAnswered, isUnknown, callsOn } from "./told.ts";

/** A call that nobody answered has done what it does, or never will, after this. */
const unknownMsMax = 30_000;

/** An attempt of which it is known when it is due. */
export interface Due {
  readonly id: string;
  readonly number: number;
  readonly dueAt: number;
  /** Before it was told or recorded, perhaps because its key was locked, nobody could have fired it. */
  readonly toldAt: number;
  /** Nothing may have moved it since. */
  readonly isCertain: boolean;
  readonly isPaused: boolean;
}

/** When each attempt that was made, or that a caller was told of, is due. */
export function* duesOf(view: View): Iterable<Due> {
  for (const id of new Set([...view.attemptsOf.keys(), ...view.toldOf.keys()])) {
    if (!view.taskOf.has(id)) continue;
    const told = (view.toldOf.get(id) ?? []).filter(isAnswered);
    const numbers = new Set((view.attemptsOf.get(id) ?? []).map(({ number }) => number));
    for (const { task } of told) if (task?.state === "scheduled") numbers.add(task.attempts + 1);
    const unknown = unknownChanges(view, id);
    for (const number of numbers) {
      const due = toldDue(told, number, unknown) ?? followingDue(view, { id, number }, unknown);
      if (due !== null) yield { id, number, ...due };
    }
  }
}

export function attemptIn({ attemptsOf }: View, id: string, number: number): HeldAttempt | undefined {
  return attemptsOf.get(id)?.find((attempt) => attempt.number === number);
}

type DueAt = Omit<Due, "id" | "number">;

/** What the last answer about the coming attempt said of its time: versions say which was the last. */
function toldDue(told: readonly Told[], number: number, unknown: readonly Told[]): DueAt | null {
  const waiting = told.filter(
    ({ task }) => task?.attempts === number - 1 && (task.state === "scheduled" || task.state === "paused"),
  );
  const version = Math.max(...waiting.map(({ task }) => task?.version ?? 0));
  const [last] = waiting
    .filter(({ task }) => task?.version === version)
    .toSorted((one, other) => one.answeredAt - other.answeredAt);
  if (last === undefined || last.task === null) return null;
  return {
    dueAt: last.task.nextAttemptAt,
    toldAt: last.answeredAt,
    isCertain: unknown.every((change) => change.answeredAt + unknownMsMax < last.askedAt),
    isPaused: last.task.state === "paused",
  };
}

/** What follows from the attempt before: its policy, or what its receiver asked for. Due at the earliest after the receiver's answer. */
function followingDue(view: View, { id, number }: Pick<Due, "id" | "number">, unknown: readonly Told[]): DueAt | null {
  const before = attemptIn(view, id, number - 1);
  if (before === undefined) return null;
  const said = view.seenOf.get(id)?.find((seen) => seen.attempt === number - 1)?.said ?? null;
  const delayMs = followingDelayMs(view, before, said?.rescheduleMs ?? null);
  if (delayMs === null) return null;
  const isCertain = unknown.length === 0;
  // An answer to a call that had been given up was heard by nobody.
  const heardAt = said === null || said.status === null || before.status === null ? before.startedAt : said.at;
  return { dueAt: heardAt + delayMs, toldAt: before.finishedAt + delayMs, isCertain, isPaused: false };
}

/** Null: it may have been another time, which only Lapse knows. */
function followingDelayMs(
  view: View,
  { taskId, outcome, status }: HeldAttempt,
  rescheduleMs: number | null,
): number | null {
  switch (outcome) {
    case "rescheduled":
      return rescheduleMs;
    case "lost":
      return 0;
    case "succeeded":
      return null;
    default:
      // These may come with a Retry-After.
      return status === 429 || status === 503 ? null : (view.taskOf.get(taskId)?.retryDelayMs ?? null);
  }
}

/** Changes of the task of which nobody knows whether they were made. */
function unknownChanges(view: View, id: string): Told[] {
  const isChange = ({ call, action }: Told): boolean =>
    call === "change" || (call === "accept" && action === "replace");
  return callsOn(view, id).filter((told) => isChange(told) && isUnknown(told));
}
