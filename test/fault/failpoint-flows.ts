// Owns what callers and receivers do while processes die at failpoints: flows that between them pass every one, and go on until answered.

import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { ReceivedRequest, ReceiverAnswer } from "../support/receiver.ts";
import { type Answered, type Caller, isWorthRepeating } from "./caller.ts";
import { inTransaction, rowsOf } from "./held.ts";
import { hostNow } from "./host-clock.ts";
import { sleepUntil, until } from "./until.ts";
import type { World } from "./world.ts";

const repeatMs = 50;
const quickRetry = { minDelay: "100ms", backoff: "fixed", jitter: 0 };
/** How long a row stays locked after it fell due, for claims to meet the lock. */
const lockedMs = 300;
/** Late by more than this is missed, but not by a moment. */
const graceMs = 1_000;
/** For a process to come back and fire a task. */
const endMsMax = 240_000;

/** `/again` fails a first attempt, `/hang` never answers one, `/confirm` asks before it acts, `/declined` asks after a cancel. */
export async function answerTo({ path, headers }: ReceivedRequest, caller: Caller): Promise<ReceiverAnswer> {
  const attempt = Number(headers["lapse-attempt"]);
  const id = String(headers["webhook-id"]);
  if (path === "/again" && attempt === 1) return { status: 500 };
  if (path === "/hang" && attempt === 1) return { hang: true };
  if (path === "/declined") await caller.cancel({ id });
  if (path !== "/confirm" && path !== "/declined") return {};
  const confirmed = await caller.confirm(id, attempt);
  return { status: confirmed.status === null ? 500 : 200 };
}

/** Accepts, cancels and confirms of every kind, by callers that repeat each call until it is answered. */
export async function useIntake({ caller, receiver }: World, queue: string): Promise<void> {
  const task = { url: receiver.url, queue, retry: quickRetry };
  const accept = (more: Readonly<Record<string, unknown>>) => insist(() => caller.accept({ ...task, ...more }));
  await Promise.all([
    accept({}),
    accept({ delivery: "at-most-once", delay: "200ms" }),
    accept({ url: `${receiver.url}/confirm` }),
    accept({ url: `${receiver.url}/declined` }),
    caller.acceptInsistently({ ...task, key: "once" }, `${queue}-once`),
    insist(() =>
      caller.acceptBatch(
        [0, 1].map((i) => ({ ...task, key: `batch-${i}` })),
        { atomic: true },
      ),
    ),
    replace(accept),
    cancelTwice(caller, queue, accept),
    cancelBefore(caller, queue, accept),
    defineSchedule(caller, { url: receiver.url, queue }),
  ]);
}

type Accept = (more: Readonly<Record<string, unknown>>) => Promise<Answered>;

async function replace(accept: Accept): Promise<void> {
  await accept({ key: "replaced", delay: "1h" });
  await accept({ key: "replaced", delay: "100ms", onConflict: "replace" });
}

async function cancelTwice(caller: Caller, queue: string, accept: Accept): Promise<void> {
  const accepted = await accept({ key: "unwanted", delay: "1h" });
  const cancelled = await insist(() => caller.cancel({ id: idOf(accepted) }));
  const again = await insist(() => caller.cancel({ key: "unwanted", queue }));
  expect([cancelled.status, again.status]).toEqual([200, 200]);
}

async function cancelBefore(caller: Caller, queue: string, accept: Accept): Promise<void> {
  await accept({ key: "gone", delay: "1h" });
  await insist(() => caller.plantTombstone("gone", queue, "10m"));
  expect((await accept({ key: "gone" })).task?.state).toBe("cancelled");
}

/** The very same request again, after an answer that was lost, is the first one's. */
async function defineSchedule(caller: Caller, { url, queue }: { url: string; queue: string }): Promise<void> {
  const schedule = { name: queue, url, queue, trigger: { type: "interval", every: "1h" } };
  const made = await insist(() => caller.call("POST", "/v1/schedules", schedule));
  const { id } = JSON.parse(made.body) as { id: string };
  const paused = await insist(() => caller.call("POST", `/v1/schedules/${id}/pause`));
  expect([[200, 201].includes(made.status ?? 0), paused.status]).toEqual([true, 200]);
}

/**
 * Tasks that are fired, retried, missed, locked when they fall due, and won by a claim whose answer is lost, by a dispatcher that came
 * `since` an instant. Resolves to those that were held back by it.
 */
export async function useDispatch(world: World, queue: string, since: number): Promise<string[]> {
  const { caller, receiver } = world;
  const task = { url: receiver.url, queue, retry: quickRetry };
  if (needsRate(queue)) await caller.call("PUT", `/v1/queues/${queue}`, { rateLimit: { limit: 1_000, per: "1s" } });
  const lock = (afterwards: AfterLock): Promise<string> => lockAtItsTime(world, task, { since, afterwards });
  const held = [lock("let go"), lock("claim unheard")];
  await Promise.all([
    caller.accept(task),
    caller.accept({ ...task, delivery: "at-most-once" }),
    caller.accept({ ...task, delivery: "at-most-once", delay: "300ms" }),
    caller.accept({ ...task, url: `${receiver.url}/again` }),
    caller.accept({ ...task, delay: "1500ms" }),
    miss(caller, task),
    ...(needsOccurrences(queue) ? [occur(world, queue)] : []),
  ]);
  return Promise.all(held);
}

/** Paused until its grace is over; then retried until it fires, since a retry may be missed in its turn. */
async function miss(caller: Caller, task: Readonly<Record<string, unknown>>): Promise<void> {
  const accepted = await caller.accept({ ...task, delay: "300ms", misfireGrace: `${graceMs}ms` });
  const id = idOf(accepted);
  expect((await caller.change(id, "pause")).task?.state).toBe("paused");
  await sleepUntil((accepted.task?.nextAttemptAt ?? 0) + graceMs + 1);
  await caller.change(id, "resume");
  const hasFired = async () => {
    const { task: standing } = await caller.call("GET", `/v1/tasks/${id}`);
    if (standing?.state === "missed") await caller.change(id, "retry");
    return (standing?.attempts ?? 0) > 0;
  };
  await until(hasFired, endMsMax, `${id} is missed, and fires when it is retried`);
}

/** Only at their own steps, so that the others are not kept waiting for processors. */
function needsOccurrences(step: string): boolean {
  return step.startsWith("schedule.") || step === "claim.judged";
}

/** Of what dispatchers do, a claim within a rate limit is what takes several statements in one piece. */
function needsRate(step: string): boolean {
  return step.startsWith("flush.");
}

/** A few occurrences: in the end each has one task, and there is no other. */
async function occur({ caller, receiver, databaseUrl }: World, queue: string): Promise<void> {
  const startAt = Math.ceil(hostNow()) + occurrenceMs;
  const instants = Array.from({ length: occurrencesCount }, (_, i) => startAt + i * occurrenceMs);
  const [from, to] = [startAt, instants.at(-1) ?? startAt].map((at) => new Date(at).toISOString());
  const trigger = { type: "interval", every: `${occurrenceMs}ms`, startAt: from, endAt: to };
  const schedule = { name: queue, queue, url: receiver.url, trigger, coalesce: false, maxInstances: 100 };
  expect((await caller.call("POST", "/v1/schedules", schedule)).status).toBe(201);
  await sleepUntil(instants.at(-1) ?? startAt);
  const made = () => rowsOf<{ at: string }>(databaseUrl, occurrencesText(queue));
  await until(async () => (await made()).length >= instants.length, endMsMax, `${queue} brings forth its tasks`);
  expect((await made()).map(({ at }) => Number(at))).toEqual(instants);
}

const occurrenceMs = 1_000;
const occurrencesCount = 4;
const occurrencesText = (queue: string): string =>
  `select (extract(epoch from occurrence_at) * 1000)::bigint as at from lapse.tasks t join lapse.schedules s on s.id = t.schedule_id
   where s.name = '${queue}' and occurrence_at is not null order by occurrence_at`;

type AfterLock = "let go" | "claim unheard";

/** Holds a task's row while it falls due; then lets go, or claims it for a living dispatcher, which hears nothing of it. */
async function lockAtItsTime(
  { caller, databaseUrl }: World,
  task: Readonly<Record<string, unknown>>,
  { since, afterwards }: { readonly since: number; readonly afterwards: AfterLock },
): Promise<string> {
  const hasCome = async () => (await rowsOf(databaseUrl, dispatcherText("$1"), [since])).length > 0;
  await until(hasCome, endMsMax, "a dispatcher has registered its lease");
  const accepted = await caller.accept({ ...task, delay: "500ms" });
  const id = idOf(accepted);
  await inTransaction(databaseUrl, async (query) => {
    await query("select from lapse.tasks where id = $1 for update", [id]);
    await sleepUntil((accepted.task?.nextAttemptAt ?? 0) + lockedMs);
    if (afterwards === "claim unheard") await query(claimText, [id, since]);
  });
  return id;
}

/** The one that renewed its lease last, of those that came since: the dead of before still have theirs for a while. */
const dispatcherText = (since: string): string => `select id from lapse.dispatchers
  where dead_at is null and started_at >= to_timestamp(${since}::float8 / 1000) order by lease_until desc limit 1`;
const claimText = `update lapse.tasks set state = 'running', attempts = attempts + 1, attempt_started_at = clock_timestamp(), lateness_ms = 0,
    version = version + 1, owner = (${dispatcherText("$2")})
  where id = $1 and state = 'scheduled'`;

/** Repeats a call until an answer says what came of it. */
async function insist(call: () => Promise<Answered>): Promise<Answered> {
  while (true) {
    const answered = await call();
    if (!isWorthRepeating(answered)) return answered;
    await sleep(repeatMs);
  }
}

function idOf({ task, status }: Answered): string {
  if (task === null) throw new Error(`answered ${status}, without a task`);
  return task.id;
}
