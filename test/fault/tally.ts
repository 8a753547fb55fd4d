// Owns counting what is allowed but unwanted: repeated calls by their cause, and lateness by phase. Pure.

import { attemptIn, type Due, duesOf } from "./dues.ts";
import { type Bounds, type HeldAttempt, type Histories, type Span, type View, viewOf } from "./history.ts";
import { latenessMs } from "./promises-of-time.ts";

/** What falls due this long after a fault is over is in the phase of recovery. */
const recoveryMs = 15_000;

export type Phase = "calm" | "under fault" | "recovering";

export interface Lateness {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export type DuplicateCause =
  | "crash between call and record"
  | "stop between check and write"
  | "stopped for longer than a lease"
  | "connection to Postgres lost for longer than a lease"
  | "call cut off by a drain"
  | "unexplained";

export interface Tally {
  /** By the start of each first attempt, less nothing: what held it back counts. */
  readonly lateness: Readonly<Record<Phase, Lateness>>;
  /** Calls made again although the receiver had one that nobody knows to have failed. */
  readonly duplicates: Readonly<Partial<Record<DuplicateCause, number>>>;
  /** The most that an attempt was late beyond all that may hold it back. */
  readonly unexcusedMsMax: number;
}

export function tally(histories: Histories, bounds: Bounds, faults: readonly Span[]): Tally {
  const view = viewOf(histories, bounds);
  const dues = [...duesOf(view)];
  const byPhase = Map.groupBy(
    dues.filter(({ isPaused, isCertain }) => isCertain && !isPaused),
    (due) => phaseOf(due, faults),
  );
  const lateness = (phase: Phase): Lateness =>
    summary((byPhase.get(phase) ?? []).flatMap((due) => rawLatenessMs(view, due) ?? []));
  const duplicates: Partial<Record<DuplicateCause, number>> = {};
  for (const attempt of histories.attempts) {
    const cause = duplicateCause(view, attempt);
    if (cause !== null) duplicates[cause] = (duplicates[cause] ?? 0) + 1;
  }
  return {
    lateness: { calm: lateness("calm"), "under fault": lateness("under fault"), recovering: lateness("recovering") },
    duplicates,
    unexcusedMsMax: Math.max(0, ...dues.map((due) => latenessMs(view, due) ?? 0)),
  };
}

function phaseOf({ dueAt }: Due, faults: readonly Span[]): Phase {
  if (faults.some(({ from, to }) => dueAt >= from && dueAt <= to)) return "under fault";
  return faults.some(({ to }) => dueAt > to && dueAt <= to + recoveryMs) ? "recovering" : "calm";
}

function rawLatenessMs(view: View, { id, number, dueAt, toldAt }: Due): number | null {
  const attempt = attemptIn(view, id, number);
  return attempt === undefined ? null : Math.max(0, attempt.startedAt - Math.max(dueAt, toldAt));
}

/** Why the call of a lost attempt, which its receiver had, was made again; null where it was not. */
function duplicateCause(
  view: View,
  { taskId, number, startedAt, finishedAt, outcome }: HeldAttempt,
): DuplicateCause | null {
  const requests = view.seenOf.get(taskId) ?? [];
  const lost = requests.find(({ attempt }) => attempt === number);
  if (outcome !== "lost" || lost === undefined || !requests.some(({ attempt }) => attempt > number)) return null;
  if (lost.arrivedAt > finishedAt) return "stop between check and write";
  const hows = new Set(
    (view.bounds.deaths ?? []).filter(({ at, until }) => at <= finishedAt && until >= startedAt).map(({ how }) => how),
  );
  if (hows.has("killed")) return "crash between call and record";
  if (hows.has("stopped")) return "stopped for longer than a lease";
  if (hows.has("cut off")) return "connection to Postgres lost for longer than a lease";
  return hows.has("drained") ? "call cut off by a drain" : "unexplained";
}

function summary(values: readonly number[]): Lateness {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (share: number): number => Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? 0);
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}
