// The history checker: compares what callers were told, what the receiver saw and what Postgres holds, and says which promise of the
// design (P1 to P10) they break. Pure: each promise is one generator of faults over the three histories.

/** The task as an answer of the API showed it. */
export interface ToldTask {
  readonly id: string;
  readonly state: string;
  readonly nextAttemptAt: number;
  readonly attempts: number;
}

/** One call of a caller. Instants are ms since the epoch by the clock of the test's process, with fractions. */
export interface Told {
  readonly call: "accept" | "cancel" | "change" | "read";
  /** What the call named: an id, or a key; null for a task without one. */
  readonly name: string | null;
  /** Null: no answer came. */
  readonly status: number | null;
  readonly task: ToldTask | null;
  readonly askedAt: number;
  readonly answeredAt: number;
}

/** One request at the receiver. */
export interface Seen {
  readonly id: string;
  readonly attempt: number;
  /** As its header says. */
  readonly dueAt: number;
  readonly arrivedAt: number;
}

/** A row of the tasks, by the clock of Postgres. */
export interface HeldTask {
  readonly id: string;
  readonly queue: string;
  readonly key: string | null;
  readonly state: string;
  readonly dueAt: number;
  readonly attempts: number;
  readonly attemptsBefore: number;
  readonly maxAttempts: number;
  readonly delivery: string;
}

export interface HeldAttempt {
  readonly taskId: string;
  readonly number: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly outcome: string;
}

export interface Histories {
  readonly told: readonly Told[];
  readonly seen: readonly Seen[];
  readonly tasks: readonly HeldTask[];
  readonly attempts: readonly HeldAttempt[];
}

export interface Bounds {
  /** How late an attempt may start and arrive of which a caller was told when it is due; null: not judged. */
  readonly latenessMsMax: number | null;
  /** Tasks that something the promise allows for held back: their lateness is not judged. */
  readonly heldBack?: ReadonlySet<string>;
  /** Postgres or every dispatcher was away: what fell due then counts from the end of it. */
  readonly outages?: readonly Outage[];
}

export interface Outage {
  readonly from: number;
  readonly to: number;
}

/** The receiver reads its clock otherwise than Postgres does; both are of one host. */
const clockToleranceMs = 2;
const shownMax = 5;
const ended = new Set(["succeeded", "failed", "cancelled", "missed"]);

/** The histories, by task. */
interface View extends Histories {
  readonly bounds: Bounds;
  readonly taskOf: ReadonlyMap<string, HeldTask>;
  readonly attemptsOf: ReadonlyMap<string, readonly HeldAttempt[]>;
  readonly seenOf: ReadonlyMap<string, readonly Seen[]>;
}

type Check = (view: View) => Iterable<string>;

const checks: Readonly<Record<string, Check>> = {
  "P1 accepted is durable": lost,
  "P2 never early": early,
  "P3 always fires, in time": lateOrNever,
  "P4 cancel is final": firedAfterCancel,
  "P5 one owner": overlapping,
  "P6 bounded": tooOften,
  "P7 recorded": unrecorded,
  "P8 ended states never change": changedAfterTheEnd,
  "P9 one live task a key": sharedKeys,
};

/** Every broken promise with the first tasks that show it; empty where all hold. P10 is P1 and P3 while Redis is wiped. */
export function brokenPromises(histories: Histories, bounds: Bounds): string[] {
  const view: View = {
    ...histories,
    bounds,
    taskOf: new Map(histories.tasks.map((task) => [task.id, task])),
    attemptsOf: Map.groupBy(histories.attempts, (attempt) => attempt.taskId),
    seenOf: Map.groupBy(histories.seen, (seen) => seen.id),
  };
  return Object.entries(checks).flatMap(([promise, check]) => {
    const faults = [...check(view)];
    const more = faults.length > shownMax ? [`${promise}: and ${faults.length - shownMax} more`] : [];
    return [...faults.slice(0, shownMax).map((fault) => `${promise}: ${fault}`), ...more];
  });
}

/** Ids of tasks that the receiver saw more than once. */
export function seenRepeatedly({ seen }: Histories): string[] {
  const byId = Map.groupBy(seen, (request) => request.id);
  return [...byId].filter(([, requests]) => requests.length > 1).map(([id]) => id);
}

/** An attempt of which a caller was told when it is due. */
interface Promised {
  readonly id: string;
  readonly number: number;
  readonly dueAt: number;
  /** Before it was told, perhaps because its key was locked, nobody could have fired it. */
  readonly toldAt: number;
}

/** What the last answer about each coming attempt said of its time. */
function promisedIn({ told }: Histories): Promised[] {
  const promised = new Map<string, Promised>();
  for (const { call, status, task, answeredAt } of told) {
    const isAnswered = status !== null && status < 300 && (call === "accept" || call === "change");
    if (!isAnswered || task === null || task.state !== "scheduled") continue;
    const number = task.attempts + 1;
    promised.set(`${task.id}/${number}`, { id: task.id, number, dueAt: task.nextAttemptAt, toldAt: answeredAt });
  }
  return [...promised.values()];
}

function acceptedIn({ told }: Histories): Set<string> {
  const accepted = told.filter(({ call, status }) => call === "accept" && status !== null && status < 300);
  return new Set(accepted.flatMap(({ task }) => (task === null ? [] : [task.id])));
}

function* lost(view: View): Iterable<string> {
  for (const id of acceptedIn(view)) if (!view.taskOf.has(id)) yield `${id} was accepted, and is gone`;
}

function* early(view: View): Iterable<string> {
  for (const { id, attempt, dueAt, arrivedAt } of view.seen) {
    if (arrivedAt + clockToleranceMs < dueAt) yield `${id}/${attempt} arrived ${dueAt - arrivedAt} ms early`;
  }
  for (const { id, number, dueAt } of promisedIn(view)) {
    const startedAt = attemptIn(view, id, number)?.startedAt ?? dueAt;
    if (startedAt < dueAt) yield `${id}/${number} started ${dueAt - startedAt} ms early`;
  }
}

function* lateOrNever(view: View): Iterable<string> {
  const cancels = new Set(view.told.filter((told) => told.call === "cancel").map((told) => told.name));
  for (const id of acceptedIn(view)) {
    const { state, key } = view.taskOf.get(id) ?? { state: "gone", key: null };
    if (state === "cancelled" && !cancels.has(id) && !cancels.has(key))
      yield `${id} is cancelled, and nobody asked for it`;
    if (state === "scheduled" || state === "running") yield `${id} has not ended: ${state}`;
    const hasFired = view.seenOf.has(id) || state === "cancelled" || state === "paused";
    if (!hasFired) yield `${id} never fired: ${state}`;
  }
  for (const promised of promisedIn(view)) {
    const lateMs = latenessMs(view, promised);
    if (lateMs > (view.bounds.latenessMsMax ?? lateMs))
      yield `${promised.id}/${promised.number} was ${Math.round(lateMs)} ms late`;
  }
}

/** How late an attempt started or arrived, whichever is later; 0 where it was not made or may be late. */
function latenessMs(view: View, { id, number, dueAt, toldAt }: Promised): number {
  const { latenessMsMax, heldBack, outages = [] } = view.bounds;
  const startedAt = attemptIn(view, id, number)?.startedAt ?? 0;
  const arrivedAt = view.seenOf.get(id)?.find((seen) => seen.attempt === number)?.arrivedAt ?? 0;
  if (latenessMsMax === null || heldBack?.has(id)) return 0;
  return Math.max(0, Math.max(startedAt, arrivedAt) - possibleFrom(Math.max(dueAt, toldAt), latenessMsMax, outages));
}

function attemptIn(view: View, id: string, number: number): HeldAttempt | undefined {
  return view.attemptsOf.get(id)?.find((attempt) => attempt.number === number);
}

/** What was due shortly before an outage may not have started yet when it began. */
function possibleFrom(dueAt: number, latenessMsMax: number, outages: readonly Outage[]): number {
  const hit = outages.filter(({ from, to }) => dueAt >= from - latenessMsMax && dueAt < to);
  return Math.max(dueAt, ...hit.map((outage) => outage.to));
}

/** After a 200 no attempt starts: none is recorded or seen beyond those that the answer told of. */
function* firedAfterCancel(view: View): Iterable<string> {
  for (const { call, status, task: told } of view.told) {
    if (call !== "cancel" || status !== 200 || told === null) continue;
    const task = view.taskOf.get(told.id);
    if (task === undefined || task.state !== "cancelled") yield `${told.id} was cancelled, and is ${task?.state}`;
    const numbers = (view.attemptsOf.get(told.id) ?? []).map((attempt) => attempt.number);
    const sent = (view.seenOf.get(told.id) ?? []).map((seen) => seen.attempt);
    const last = Math.max(0, task?.attempts ?? 0, ...numbers, ...sent);
    if (last > told.attempts) yield `${told.id} was cancelled after ${told.attempts} attempts, and had ${last}`;
  }
}

/** Attempts are numbered once, and none starts before the one before it was settled or recorded lost. */
function* overlapping(view: View): Iterable<string> {
  for (const [id, requests] of view.seenOf) {
    const numbers = requests.map((request) => request.attempt);
    if (new Set(numbers).size < numbers.length) yield `${id} was sent twice under one number: ${numbers.join(", ")}`;
  }
  for (const [id, attempts] of view.attemptsOf) {
    const inOrder = attempts.toSorted((one, other) => one.number - other.number);
    for (const [i, attempt] of inOrder.entries()) {
      const before = inOrder[i - 1];
      if (before !== undefined && attempt.startedAt < before.finishedAt)
        yield `${id}/${attempt.number} started before ${before.number} ended`;
    }
  }
}

function* tooOften(view: View): Iterable<string> {
  for (const { id, attempts, attemptsBefore, maxAttempts, delivery } of view.tasks) {
    if (attempts - attemptsBefore > maxAttempts)
      yield `${id} had ${attempts - attemptsBefore} of ${maxAttempts} attempts`;
    const sent = view.seenOf.get(id)?.length ?? 0;
    if (delivery === "at-most-once" && sent > 1) yield `${id} was sent ${sent} times, at most once`;
  }
}

/** Rows 1, 2, 3 … up to the task's count, but for the attempt in flight; and whatever was seen has one. */
function* unrecorded(view: View): Iterable<string> {
  for (const { id, state, attempts } of view.tasks) {
    const expected = state === "running" ? attempts - 1 : attempts;
    const numbers = (view.attemptsOf.get(id) ?? []).map((attempt) => attempt.number).toSorted((a, b) => a - b);
    const isWhole = numbers.length === expected && numbers.every((number, i) => number === i + 1);
    if (!isWhole) yield `${id} (${state}) made ${attempts} attempts, and has rows ${numbers.join(", ") || "none"}`;
  }
  for (const { id, attempt } of view.seen) {
    const task = view.taskOf.get(id);
    if (task === undefined) yield `${id}/${attempt} was seen, and no such task is there`;
    else if (attempt > task.attempts) yield `${id}/${attempt} was seen, and ${task.attempts} attempts are counted`;
  }
}

function* changedAfterTheEnd(view: View): Iterable<string> {
  for (const { call, status, task: told } of view.told) {
    if (told === null || status === null || !ended.has(told.state)) continue;
    const state = view.taskOf.get(told.id)?.state;
    if (state !== told.state) yield `${told.id} was ${told.state} (${call} ${status}), and is ${state}`;
  }
}

function* sharedKeys(view: View): Iterable<string> {
  const live = view.tasks.filter((task) => task.key !== null && !ended.has(task.state));
  for (const [name, tasks] of Map.groupBy(live, (task) => `${task.queue} ${task.key}`)) {
    if (tasks.length > 1) yield `${name} is live on ${tasks.map((task) => task.id).join(" and ")}`;
  }
}
