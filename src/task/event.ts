// Owns what an event is: its types, and how it goes out. Pure: no I/O and no clock.

export const eventTypes = [
  "task.created",
  "task.cancelled",
  "task.rescheduled",
  "task.started",
  "task.succeeded",
  "task.attempt-failed",
  "task.failed",
  "task.missed",
  "task.paused",
  "task.resumed",
  "schedule.max-instances",
  "schedule.ended",
  "queue.paused",
  "queue.resumed",
  "origin.parked",
  "origin.resumed",
] as const;
export type EventType = (typeof eventTypes)[number];

/** Something that happened, with what it happened to. */
export interface LapseEvent {
  /** Its place among all events: two events have different ids, and the same event the same. */
  readonly id: string;
  readonly type: EventType;
  readonly at: number;
  /** Null where it concerns no queue. */
  readonly queue: string | null;
  readonly taskId: string | null;
  readonly key: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What of an item's data are instants, as Postgres wrote them. */
const instants: ReadonlySet<string> = new Set(["dueAt", "nextAttemptAt", "occurrenceAt"]);

/** The event's JSON, as streams and subscriptions carry it. */
export function renderEvent({ id, type, at, queue, taskId, key, data }: LapseEvent): string {
  const dated = Object.entries(data).map(([name, value]) => [name, instants.has(name) ? toInstant(value) : value]);
  return JSON.stringify({
    id,
    type,
    at: new Date(at).toISOString(),
    queue,
    taskId,
    key,
    data: Object.fromEntries(dated),
  });
}

/** Null for what SQL has put beyond what a date can be. */
function toInstant(value: unknown): string | null {
  const at = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? null : new Date(at).toISOString();
}

/** Which events somebody wants, and may see. */
export interface EventFilter {
  /** Null: all. */
  readonly types: readonly EventType[] | null;
  /** Null: all, and those that concern none. */
  readonly queues: readonly string[] | null;
}

export function isWanted({ types, queues }: EventFilter, { type, queue }: LapseEvent): boolean {
  if (types !== null && !types.includes(type)) return false;
  return queues === null || (queue !== null && queues.includes(queue));
}

/** Queues of Lapse's own: their tasks are no events, and callers cannot create any in them. */
export const ownQueuePrefix = "lapse:";

export function isOwnQueue(queue: string): boolean {
  return queue.startsWith(ownQueuePrefix);
}
