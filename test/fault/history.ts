// The history checker: compares what callers were told, what the receiver saw and what Postgres holds, and says which promise of the
// design (P1 to P10) they break, with the whole story of each task that shows it. Pure: each promise is a generator of faults.

import { early, lateOrNever } from "./promises-of-time.ts";
import {
  changedAfterTheEnd,
  firedAfterCancel,
  lost,
  overlapping,
  sharedKeys,
  tooOften,
  unrecorded,
} from "./promises-of-state.ts";
import { tellStory } from "./story.ts";

/** The task as an answer of the API showed it. */
export interface ToldTask {
  readonly id: string;
  readonly state: string;
  readonly nextAttemptAt: number;
  readonly attempts: number;
  readonly version: number;
}

/** One call of a caller, and of a call on many tasks each of them. Instants are ms since the epoch by the clock of the test's process. */
export interface Told {
  readonly call: "accept" | "cancel" | "change" | "read" | "confirm" | "tombstone";
  /** What the call named: an id, or a key; null for a task without one. */
  readonly name: string | null;
  /** Null: no answer came. */
  readonly status: number | null;
  readonly task: ToldTask | null;
  readonly askedAt: number;
  readonly answeredAt: number;
  /** Of a change: what was asked; of an accept its onConflict where it has one. */
  readonly action?: string;
  /** The delay that an accept asked for, in ms. */
  readonly delayMs?: number;
  /** When an accept was asked first; a repeat's answer may be the first one's. */
  readonly firstAskedAt?: number;
  readonly idempotencyKey?: string;
  /** The attempt that a receiver asked to confirm. */
  readonly attempt?: number;
  /** What the test calls a logical call: every repeat of it has the same. */
  readonly label?: string;
}

/** How the receiver answered: a whole answer with its status, or none; `rescheduleMs` where it asked to be called again. */
export interface ReceiverSaid {
  readonly at: number;
  readonly status: number | null;
  readonly rescheduleMs: number | null;
}

/** One request at the receiver. */
export interface Seen {
  readonly id: string;
  readonly attempt: number;
  /** As its header says. */
  readonly dueAt: number;
  readonly arrivedAt: number;
  /** As its header says, in ms; left out where the test does not look at it. */
  readonly timestamp?: number;
  /** Null or left out: not known, or it never answered. */
  readonly said?: ReceiverSaid | null;
}

/** A row of the tasks, by the clock of Postgres. */
export interface HeldTask {
  readonly id: string;
  readonly queue: string;
  readonly key: string | null;
  readonly state: string;
  readonly dueAt: number;
  readonly finishedAt: number | null;
  readonly attempts: number;
  readonly attemptsBefore: number;
  readonly maxAttempts: number;
  /** Where the policy leaves nothing to chance, after what time the next attempt is due; else null. */
  readonly retryDelayMs: number | null;
  readonly delivery: string;
  readonly version: number;
  /** Its label `call`. */
  readonly label: string | null;
  /** The schedule and the occurrence that it was made for. */
  readonly occurrence: string | null;
}

export interface HeldAttempt {
  readonly taskId: string;
  readonly number: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly outcome: string;
  readonly status: number | null;
}

export interface Histories {
  readonly told: readonly Told[];
  readonly seen: readonly Seen[];
  readonly tasks: readonly HeldTask[];
  readonly attempts: readonly HeldAttempt[];
}

export interface Span {
  readonly from: number;
  readonly to: number;
}

/** A time in which nothing, or nothing of a queue, could fire: what fell due then counts from its end. */
export interface Outage extends Span {
  readonly queue?: string;
}

/** A dispatcher died, was stopped, drained, or cut off from Postgres. */
export interface Death {
  readonly at: number;
  /** When it was over: the process went on, or the way to Postgres was mended; `at` where it never did. */
  readonly until: number;
  /** By when another must have taken its tasks over. */
  readonly takenOverBy: number;
  readonly how: "killed" | "stopped" | "drained" | "cut off";
}

export interface Happening extends Span {
  readonly what: string;
}

export interface Bounds {
  /** How late an attempt may start and arrive of which it is known when it is due; null: not judged. */
  readonly latenessMsMax: number | null;
  /** Tasks that something the promise allows for held back (a user's lock, an origin's breaker): their lateness is not judged. */
  readonly heldBack?: ReadonlySet<string>;
  /** Postgres or every dispatcher was away, or a queue was paused or full. */
  readonly outages?: readonly Outage[];
  /** Left out: who died is not known, and an attempt may be lost at any time. */
  readonly deaths?: readonly Death[];
  /** What happened to connections and processes: an attempt that had begun may then reach its receiver late. */
  readonly disturbances?: readonly Span[];
  /** All that was done to the world, for the stories. */
  readonly happenings?: readonly Happening[];
  /** What Redis went through: a task lost or late then breaks P10 as well. */
  readonly redisFaults?: readonly Span[];
  /** When the machine itself stood still, as measured: it counts as nobody's lateness. */
  readonly stalls?: readonly Span[];
}

/** The histories, by task. */
export interface View extends Histories {
  readonly bounds: Bounds;
  readonly taskOf: ReadonlyMap<string, HeldTask>;
  readonly attemptsOf: ReadonlyMap<string, readonly HeldAttempt[]>;
  readonly seenOf: ReadonlyMap<string, readonly Seen[]>;
  /** Answers that show the task, whatever was asked. */
  readonly toldOf: ReadonlyMap<string, readonly Told[]>;
  /** Calls by what they named: an id, or a key. */
  readonly callsNaming: ReadonlyMap<string, readonly Told[]>;
}

export interface Fault {
  /** The tasks that show it. */
  readonly ids: readonly string[];
  readonly text: string;
  /** When what should have happened was due, where that matters. */
  readonly dueAt?: number;
}

type Check = (view: View) => Iterable<Fault>;

const shownMax = 5;
/** Redis comes back into use this much after it is well again at most. */
const redisRecoversMs = 5_000;

const checks: Readonly<Record<string, Check>> = {
  "P1 accepted is durable": lost,
  "P2 never early": early,
  "P3 always fires, in time": lateOrNever,
  "P4 cancel is final": firedAfterCancel,
  "P5 one owner": overlapping,
  "P6 bounded": tooOften,
  "P7 recorded": unrecorded,
  "P8 ended states never change": changedAfterTheEnd,
  "P9 one live task a key, one an occurrence": sharedKeys,
  "P10 the due index is disposable": lostToRedis,
};

/** Every broken promise with the stories of the first tasks that show it; empty where all hold. */
export function brokenPromises(histories: Histories, bounds: Bounds): string[] {
  const view = viewOf(histories, bounds);
  return Object.entries(checks).flatMap(([promise, check]) => {
    const faults = [...check(view)];
    const more = faults.length > shownMax ? [`${promise}: and ${faults.length - shownMax} more`] : [];
    return [...faults.slice(0, shownMax).map((fault) => `${promise}: ${fault.text}${tellStory(view, fault)}`), ...more];
  });
}

export function viewOf(histories: Histories, bounds: Bounds): View {
  return {
    ...histories,
    bounds,
    taskOf: new Map(histories.tasks.map((task) => [task.id, task])),
    attemptsOf: Map.groupBy(
      histories.attempts.toSorted((one, other) => one.number - other.number),
      (attempt) => attempt.taskId,
    ),
    seenOf: Map.groupBy(histories.seen, (seen) => seen.id),
    toldOf: Map.groupBy(histories.told, ({ task }) => task?.id ?? ""),
    callsNaming: Map.groupBy(histories.told, ({ name }) => name ?? ""),
  };
}

/** Ids of tasks that the receiver saw more than once. */
export function seenRepeatedly({ seen }: Histories): string[] {
  const byId = Map.groupBy(seen, (request) => request.id);
  return [...byId].filter(([, requests]) => requests.length > 1).map(([id]) => id);
}

/** P10 is P1 and P3 while Redis is wiped, gone or stale. */
function* lostToRedis(view: View): Iterable<Fault> {
  for (const fault of [...lost(view), ...lateOrNever(view)]) {
    const at = fault.dueAt;
    const isRedis = (view.bounds.redisFaults ?? []).some(
      ({ from, to }) => at !== undefined && at >= from && at <= to + redisRecoversMs,
    );
    if (isRedis) yield { ...fault, text: `${fault.text}, while Redis was impaired` };
  }
}
