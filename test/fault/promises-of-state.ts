// Owns the checks of what tasks become: durable, cancelled for good, owned by one, bounded, recorded, ended, one a key.

import type { Fault, HeldAttempt, HeldTask, Seen, Told, View } from "./history.ts";
import { isAnswered, isEnded, isUnknown, callsOn } from "./told.ts";

/** The receiver reads its clock otherwise than Postgres does; both are of one host. */
const clockToleranceMs = 2;
/** A claim that was under way when its dispatcher died may commit this much later (statements end after 5 s). */
const lastClaimMsMax = 10_000;

/** P1. */
export function* lost(view: View): Iterable<Fault> {
  for (const told of view.told) {
    const { call, task } = told;
    if (call !== "accept" || !isAnswered(told) || task === null || view.taskOf.has(task.id)) continue;
    yield { ids: [task.id], text: `${task.id} was accepted, and is gone`, dueAt: task.nextAttemptAt };
  }
}

/** P4. After a 200 no attempt starts, nor does the call of one that had started; after a 202 none follows. */
export function* firedAfterCancel(view: View): Iterable<Fault> {
  for (const cancel of view.told) {
    const { call, status, task: told, answeredAt } = cancel;
    if (call !== "cancel" || told === null || (status !== 200 && status !== 202)) continue;
    const fault = (text: string): Fault => ({ ids: [told.id], text: `${told.id} ${text}` });
    const state = view.taskOf.get(told.id)?.state;
    if (status === 200 && state !== "cancelled") yield fault(`was cancelled, and is ${state}`);
    if (status === 202 && state !== "cancelled" && state !== "succeeded" && state !== "running")
      yield fault(`was to have no further attempt, and is ${state}`);
    const last = lastAttempt(view, told.id);
    if (last > told.attempts) yield fault(`was cancelled (${status}) after ${told.attempts} attempts, and had ${last}`);
    const sent = (view.seenOf.get(told.id) ?? []).find((seen) => seen.arrivedAt > answeredAt + clockToleranceMs);
    if (status === 200 && sent !== undefined && !isStopped(view, sent))
      yield fault(
        `arrived as attempt ${sent.attempt}, ${sent.arrivedAt - answeredAt} ms after its cancel was answered`,
      );
  }
  for (const told of view.told) yield* confirmedAndCancelled(view, told);
}

function lastAttempt(view: View, id: string): number {
  const numbers = (view.attemptsOf.get(id) ?? []).map((attempt) => attempt.number);
  const sent = (view.seenOf.get(id) ?? []).map((seen) => seen.attempt);
  return Math.max(0, view.taskOf.get(id)?.attempts ?? 0, ...numbers, ...sent);
}

/** What is left by design: a process stopped between its last look at its lease and the write. It is counted, not judged. */
export function isStopped({ bounds, attemptsOf }: View, { id, attempt, arrivedAt }: Seen): boolean {
  const row = attemptsOf.get(id)?.find(({ number }) => number === attempt);
  const startedAt = row?.startedAt ?? arrivedAt;
  return (bounds.deaths ?? []).some(({ how, at, until }) => how === "stopped" && at >= startedAt && until <= arrivedAt);
}

/** Exactly one of payment and timeout wins: a receiver that was told to act stands against every cancel, and one told not to is cancelled. */
function* confirmedAndCancelled(view: View, { call, name, status, attempt, askedAt }: Told): Iterable<Fault> {
  if (call !== "confirm" || name === null || attempt === undefined) return;
  const fault = (text: string): Fault => ({ ids: [name], text: `${name}/${attempt} ${text}` });
  const cancels = (view.toldOf.get(name) ?? []).filter((told) => told.call === "cancel");
  const isTooLate = cancels.some(
    (told) => told.status === 202 && told.task?.attempts === attempt && told.answeredAt < askedAt,
  );
  if (status === 200 && isTooLate) yield fault("was confirmed after a cancel had been noted");
  if (status === 200 && hasActed(view, name, attempt) && cancels.some((told) => told.status === 200))
    yield fault("was confirmed, and cancelled as well");
  if (status === 409 && isTooLate && view.taskOf.get(name)?.state !== "cancelled")
    yield fault(`was told not to act, and is ${view.taskOf.get(name)?.state}`);
}

/** A confirm stands unless the receiver's answer said that it did not act. */
function hasActed({ seenOf }: View, id: string, attempt: number): boolean {
  const said = seenOf.get(id)?.find((seen) => seen.attempt === attempt)?.said ?? null;
  return said === null || said.status === null || (isSuccess(said.status) && said.rescheduleMs === null);
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

/** P5. Attempts are numbered once, none starts before the one before it was settled or lost, and none is lost while its owner lives. */
export function* overlapping(view: View): Iterable<Fault> {
  for (const [id, requests] of view.seenOf) {
    const numbers = requests.map((request) => request.attempt);
    if (new Set(numbers).size < numbers.length)
      yield { ids: [id], text: `${id} was sent twice under one number: ${numbers.join(", ")}` };
  }
  for (const [id, attempts] of view.attemptsOf) {
    for (const [i, attempt] of attempts.entries()) {
      const before = attempts[i - 1];
      if (before !== undefined && attempt.startedAt < before.finishedAt)
        yield { ids: [id], text: `${id}/${attempt.number} started before ${before.number} ended` };
      if (attempt.outcome === "lost" && !hasLostItsOwner(view, attempt))
        yield { ids: [id], text: `${id}/${attempt.number} was lost, and no dispatcher had died` };
    }
  }
}

function hasLostItsOwner({ bounds }: View, { startedAt, finishedAt }: HeldAttempt): boolean {
  if (bounds.deaths === undefined) return true;
  return bounds.deaths.some(({ at, until }) => at <= finishedAt && until >= startedAt - lastClaimMsMax);
}

/** P6. */
export function* tooOften(view: View): Iterable<Fault> {
  for (const { id, attempts, attemptsBefore, maxAttempts, delivery } of view.tasks) {
    const fault = (text: string): Fault => ({ ids: [id], text: `${id} ${text}` });
    const made = attempts - attemptsBefore;
    if (made > maxAttempts) yield fault(`had ${made} of ${maxAttempts} attempts`);
    const sent = view.seenOf.get(id)?.length ?? 0;
    const allowed = 1 + askedAgain(view, id);
    if (attempts > maxAttempts * allowed)
      yield fault(`had ${attempts} attempts, ${maxAttempts} for each of ${allowed} rounds`);
    if (delivery === "at-most-once" && sent > allowed) yield fault(`was sent ${sent} times, at most once`);
  }
}

/** How often a caller or its receiver may have begun the task's budget anew. */
function askedAgain(view: View, id: string): number {
  const isAgain = ({ call, action }: Told): boolean =>
    action === "retry" || (call === "accept" && action === "replace");
  const calls = callsOn(view, id).filter((told) => isAgain(told) && (isAnswered(told) || isUnknown(told)));
  const rescheduled = (view.attemptsOf.get(id) ?? []).filter(({ outcome }) => outcome === "rescheduled");
  return calls.length + rescheduled.length;
}

/** P7. Rows 1, 2, 3 … up to the task's count, but for the attempt in flight; whatever was seen has one; and they say what was. */
export function* unrecorded(view: View): Iterable<Fault> {
  for (const { id, state, attempts } of view.tasks) {
    const expected = state === "running" ? attempts - 1 : attempts;
    const numbers = (view.attemptsOf.get(id) ?? []).map((attempt) => attempt.number);
    const isWhole = numbers.length === expected && numbers.every((number, i) => number === i + 1);
    if (!isWhole)
      yield {
        ids: [id],
        text: `${id} (${state}) made ${attempts} attempts, and has rows ${numbers.join(", ") || "none"}`,
      };
  }
  for (const { id, attempt, said } of view.seen) {
    const fault = (text: string): Fault => ({ ids: [id], text: `${id}/${attempt} ${text}` });
    const task = view.taskOf.get(id);
    const row = view.attemptsOf.get(id)?.find(({ number }) => number === attempt);
    if (task === undefined) yield fault("was seen, and no such task is there");
    else if (attempt > task.attempts) yield fault(`was seen, and ${task.attempts} attempts are counted`);
    if (
      row?.status !== null &&
      row?.status !== undefined &&
      said !== undefined &&
      row.status !== (said?.status ?? null)
    )
      yield fault(`was answered ${said?.status ?? "by nothing whole"}, and is recorded as ${row.status}`);
  }
  for (const { taskId, number, outcome } of view.attempts) {
    const wasSeen = view.seenOf.get(taskId)?.some(({ attempt }) => attempt === number) ?? false;
    if ((outcome === "succeeded" || outcome === "rescheduled") && !wasSeen)
      yield { ids: [taskId], text: `${taskId}/${number} is recorded as ${outcome}, and was never seen` };
  }
}

/** P8. Versions only grow, and none comes after the one under which a task ended, unless a retry was asked for. */
export function* changedAfterTheEnd(view: View): Iterable<Fault> {
  for (const { call, status, task: told, askedAt } of view.told) {
    if (told === null || status === null || !isEnded(told.state)) continue;
    const held = view.taskOf.get(told.id);
    const isSame = held?.state === told.state && (Number.isNaN(told.version) || held.version === told.version);
    if (isSame || wasRetried(view, told.id, askedAt)) continue;
    const text = `${told.id} was ${told.state} (${call} ${status}, version ${told.version}), and is ${held?.state}, version ${held?.version}`;
    yield { ids: [told.id], text };
  }
}

function wasRetried(view: View, id: string, since: number): boolean {
  return callsOn(view, id).some(
    (told) => told.action === "retry" && told.answeredAt >= since && (isAnswered(told) || isUnknown(told)),
  );
}

/** P9. At the end, at each accept, and of each call that was repeated under an Idempotency-Key. */
export function* sharedKeys(view: View): Iterable<Fault> {
  const live = view.tasks.filter((task) => task.key !== null && !isEnded(task.state));
  for (const [name, tasks] of Map.groupBy(live, (task) => `${task.queue} ${task.key}`)) {
    const ids = tasks.map((task) => task.id);
    if (ids.length > 1) yield { ids, text: `${name} is live on ${ids.join(" and ")}` };
  }
  const byKey = Map.groupBy(
    view.tasks.filter((task) => task.key !== null),
    (task) => `${task.queue} ${task.key}`,
  );
  for (const tasks of byKey.values()) yield* acceptedBesideAnother(view, tasks);
  yield* storedTwice(view);
  yield* madeTwice(view);
}

/** An occurrence whose task was cancelled may be made anew, by a change of its schedule. */
function* madeTwice({ tasks }: View): Iterable<Fault> {
  const made = tasks.filter(({ occurrence, state }) => occurrence !== null && state !== "cancelled");
  for (const [occurrence, same] of Map.groupBy(made, (task) => task.occurrence)) {
    const ids = same.map(({ id }) => id);
    if (ids.length > 1) yield { ids, text: `the occurrence ${occurrence} has the tasks ${ids.join(" and ")}` };
  }
}

/** A task of the key was accepted while another was live from before it was asked for until after it was answered. */
function* acceptedBesideAnother(view: View, tasks: readonly HeldTask[]): Iterable<Fault> {
  if (tasks.length < 2) return;
  const accepts = tasks.flatMap(({ id }) =>
    (view.toldOf.get(id) ?? []).filter(
      ({ call, status, task }) => call === "accept" && status === 201 && task?.state === "scheduled",
    ),
  );
  for (const later of accepts) {
    for (const { id, finishedAt } of tasks) {
      const firstToldAt = Math.min(
        ...accepts.filter(({ task }) => task?.id === id).map(({ answeredAt }) => answeredAt),
      );
      const isLive =
        firstToldAt < (later.firstAskedAt ?? later.askedAt) &&
        (finishedAt ?? Number.POSITIVE_INFINITY) > later.answeredAt;
      if (id !== later.task?.id && isLive && !wasRetried(view, id, 0))
        yield {
          ids: [id, later.task?.id ?? ""],
          text: `${id} was live while ${later.task?.id} was accepted with its key`,
        };
    }
  }
}

/** However often its flush was sent, a POST that was made once, or under one Idempotency-Key, stores one task. */
function* storedTwice({ told, tasks }: View): Iterable<Fault> {
  const held = Map.groupBy(tasks, (task) => task.label ?? "");
  for (const [label, calls] of Map.groupBy(
    told.filter(({ call }) => call === "accept"),
    (one) => one.label ?? "",
  )) {
    if (label === "") continue;
    const ids = (held.get(label) ?? []).map((task) => task.id);
    const isOnce = calls.length === 1 || calls[0]?.idempotencyKey !== undefined;
    if (isOnce && ids.length > 1)
      yield { ids, text: `${label} was asked for once, and is stored as ${ids.join(" and ")}` };
    const named = new Set(calls.filter(isAnswered).flatMap(({ task }) => task?.id ?? []));
    if (isOnce && named.size > 1)
      yield {
        ids: [...named],
        text: `${label} was answered with ${[...named].join(" and ")} under one Idempotency-Key`,
      };
  }
}
