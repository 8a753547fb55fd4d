// Owns the checks of due times: P2 never early, P3 always fires and in time.

import { overlapMs } from "./allowance.ts";
import { attemptIn, type Due, duesOf } from "./dues.ts";
import type { Fault, HeldAttempt, Outage, Seen, Span, Told, View } from "./history.ts";
import { acceptedIn, callsOn } from "./told.ts";

/** The receiver reads its clock otherwise than Postgres does; both are of one host. */
const clockToleranceMs = 2;
/** An attempt that had begun when a process or connection was disturbed is with its receiver within this. */
const disturbedMsMax = 15_000;
/** A claim that was under way when its dispatcher died may commit this much later (statements end after 5 s). */
const lastClaimMsMax = 10_000;
/** However long the machine stood still, this is all that it explains. */
const stalledMsMax = 10_000;
/** Receivers refuse a signature that is further off than 300 s; up to here a call may have waited in a process that was stopped. */
const timestampMsMax = 60_000;

export function* early(view: View): Iterable<Fault> {
  for (const { id, attempt, dueAt, arrivedAt, timestamp = arrivedAt } of view.seen) {
    if (arrivedAt + clockToleranceMs < dueAt)
      yield { ids: [id], text: `${id}/${attempt} arrived ${dueAt - arrivedAt} ms early` };
    if (Math.abs(timestamp - arrivedAt) > timestampMsMax)
      yield { ids: [id], text: `${id}/${attempt} bears a time ${timestamp - arrivedAt} ms off` };
  }
  yield* dueTooSoon(view);
  for (const due of duesOf(view)) {
    const startedAt = attemptIn(view, due.id, due.number)?.startedAt;
    if (startedAt === undefined || !due.isCertain) continue;
    const name = `${due.id}/${due.number}`;
    if (due.isPaused) yield { ids: [due.id], text: `${name} started while its task was paused` };
    else if (startedAt < due.dueAt) yield { ids: [due.id], text: `${name} started ${due.dueAt - startedAt} ms early` };
  }
}

/** A delay counts from receipt: of the first request, where the answer is its replay. */
function* dueTooSoon({ told }: View): Iterable<Fault> {
  const accepts = told.filter(({ call }) => call === "accept");
  const calls = Map.groupBy(accepts, (one) => one.idempotencyKey ?? one.label ?? one);
  for (const repeats of calls.values()) {
    const askedAt = Math.min(...repeats.map((one) => one.firstAskedAt ?? one.askedAt));
    for (const { status, task, delayMs } of repeats) {
      if (status !== 201 || task === null || delayMs === undefined) continue;
      const shortMs = askedAt + delayMs - task.nextAttemptAt;
      if (shortMs > clockToleranceMs)
        yield { ids: [task.id], text: `${task.id} is due ${shortMs} ms before what was asked` };
    }
  }
}

export function* lateOrNever(view: View): Iterable<Fault> {
  yield* never(view);
  for (const due of duesOf(view)) {
    const lateMs = latenessMs(view, due);
    if (lateMs !== null && lateMs > (view.bounds.latenessMsMax ?? lateMs))
      yield { ids: [due.id], text: `${due.id}/${due.number} was ${Math.round(lateMs)} ms late`, dueAt: due.dueAt };
  }
  for (const attempt of view.attempts) yield* takenOverLate(view, attempt);
}

function* never(view: View): Iterable<Fault> {
  for (const id of acceptedIn(view.told)) {
    const task = view.taskOf.get(id);
    if (task === undefined) continue;
    const fault = (text: string): Fault => ({ ids: [id], text: `${id} ${text}`, dueAt: task.dueAt });
    if (task.state === "cancelled" && !callsOn(view, id).some(isCancel))
      yield fault("is cancelled, and nobody asked for it");
    if (task.state === "scheduled" || task.state === "running") yield fault(`has not ended: ${task.state}`);
    const hasFired = task.attempts > 0 && (view.seenOf.has(id) || view.attemptsOf.has(id));
    if (!hasFired && task.state !== "cancelled" && task.state !== "paused") yield fault(`never fired: ${task.state}`);
  }
}

function isCancel({ call }: Told): boolean {
  return call === "cancel" || call === "tombstone";
}

/**
 * How late an attempt started, or arrived where that is later, beyond all that held it back; null where it was not made or may be late.
 * One that was disturbed on its way to the receiver is judged by its start, unless it was longer on its way than a takeover takes.
 */
export function latenessMs(view: View, due: Due): number | null {
  const { latenessMsMax, heldBack, disturbances = [] } = view.bounds;
  const attempt = attemptIn(view, due.id, due.number);
  const arrival = arrivalOf(view, due);
  if (latenessMsMax === null || heldBack?.has(due.id) || !due.isCertain || due.isPaused) return null;
  if (attempt === undefined && arrival === undefined) return null;
  const startedAt = attempt?.startedAt ?? arrival?.arrivedAt ?? 0;
  const arrivedAt = arrival?.arrivedAt ?? startedAt;
  const isDisturbed =
    arrivedAt - startedAt <= disturbedMsMax &&
    disturbances.some(({ from, to }) => from <= arrivedAt && to >= startedAt);
  const at = isDisturbed ? startedAt : Math.max(startedAt, arrivedAt);
  const from = possibleFrom(view, due, latenessMsMax);
  return Math.max(0, at - from - stalledMs(view, { from, to: at }));
}

function arrivalOf({ seenOf }: View, { id, number }: Due): Seen | undefined {
  return seenOf.get(id)?.find((seen) => seen.attempt === number);
}

/** From when on it could have started. What was due shortly before an outage may not have started yet when it began. */
function possibleFrom(view: View, { id, dueAt, toldAt }: Due, latenessMsMax: number): number {
  const queue = view.taskOf.get(id)?.queue;
  const concerns = (outage: Outage): boolean => outage.queue === undefined || outage.queue === queue;
  let from = Math.max(dueAt, toldAt);
  for (const outage of (view.bounds.outages ?? []).filter(concerns).toSorted((one, other) => one.from - other.from))
    if (from >= outage.from - latenessMsMax && from < outage.to) from = outage.to;
  return from;
}

/** For how much of the span the machine stood still. */
function stalledMs({ bounds }: View, { from, to }: Span): number {
  return Math.min(stalledMsMax, overlapMs(bounds.stalls ?? [], { from, to }));
}

/** An attempt is lost only with its dispatcher, and its task is then taken over in time. */
function* takenOverLate(view: View, { taskId, number, startedAt, finishedAt, outcome }: HeldAttempt): Iterable<Fault> {
  const { deaths, latenessMsMax } = view.bounds;
  if (outcome !== "lost" || deaths === undefined || latenessMsMax === null) return;
  const by = Math.max(
    ...deaths
      .filter(({ at, until }) => at <= finishedAt && until >= startedAt - lastClaimMsMax)
      .map(({ takenOverBy }) => takenOverBy),
  );
  const lateMs = finishedAt - by - stalledMs(view, { from: by, to: finishedAt });
  if (Number.isFinite(by) && lateMs > 0)
    yield { ids: [taskId], text: `${taskId}/${number} was lost, and taken over ${Math.round(lateMs)} ms too late` };
}
