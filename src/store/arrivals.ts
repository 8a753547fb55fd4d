// Owns the statement that stores new tasks: what is sent for each, and in which form.

import { v7 as uuidv7 } from "uuid";
import { keyName } from "../task/key-name.ts";
import type { NewTask } from "../task/new-task.ts";
import { type BoundStatement, bind, type Rows, type Statement } from "./database.ts";
import { type Column, instantType, SentRows } from "./sent-rows.ts";
import { bodyColumns } from "./task-rows.ts";

/** A new task with its id and times, ready to be stored. */
export interface Arrival {
  readonly id: string;
  readonly task: NewTask;
  readonly createdAt: number;
  readonly dueAt: number;
}

/** Two tasks of one name may not be written by one statement; null: it has no key. */
export function nameOf({ task }: Arrival): string | null {
  return task.key === null ? null : keyName(task);
}

/** JSON that nearly all tasks of a flush have in common, and that takes Postgres 5 µs to read: each text is sent once, and a row has its place. */
const sharedType = { type: "int", read: (sent: string) => `(${sharedPlace}::jsonb[])[${sent}]` };

const columns: readonly Column<Arrival, SharedTexts>[] = [
  { name: "queue", type: "text", of: ({ task }) => task.queue },
  { name: "key", type: "text", of: ({ task }) => task.key },
  { name: "due_at", ...instantType, of: ({ dueAt }) => dueAt },
  { name: "created_at", ...instantType, of: ({ createdAt }) => createdAt },
  { name: "url", type: "text", of: ({ task }) => task.url },
  { name: "method", type: "text", of: ({ task }) => task.method },
  { name: "headers", ...sharedType, of: ({ task }, shared) => shared.placeOf(task.headers) },
  { name: "payload", type: "text", of: ({ task }) => bodyColumns(task.body).payload },
  { name: "body", type: "text", of: ({ task }) => bodyColumns(task.body).body },
  { name: "content_type", type: "text", of: ({ task }) => bodyColumns(task.body).content_type },
  { name: "timeout_ms", type: "int", of: ({ task }) => task.timeoutMs },
  { name: "retry", ...sharedType, of: ({ task }, shared) => shared.placeOf(task.retry) },
  { name: "misfire_grace_ms", type: "bigint", of: ({ task }) => task.misfireGraceMs },
  { name: "delivery", type: "text", of: ({ task }) => task.delivery },
  { name: "max_reschedules", type: "int", of: ({ task }) => task.maxReschedules },
  { name: "labels", ...sharedType, of: ({ task }, shared) => shared.placeOf(task.labels) },
  { name: "traceparent", type: "text", of: ({ task }) => task.traceparent },
  { name: "request_hash", type: "text", of: ({ task }) => task.requestHash },
];

const [statePlace, notAfterPlace, tallyPlace, sharedPlace] = [0, 1, 2, 3].map((n) => SentRows.place(columns, n));
const sent = new SentRows(columns);

/**
 * Counts what it stores, and nothing else: it may be sent again after its answer was lost, and may then store what a key had kept out.
 * A network that stood still may deliver it long after its caller was told 503 and has asked again: it must store nothing then, since its
 * key may be free again, and the task would be a second one. Its plan depends on nothing that the tables hold. One row answers for all.
 */
function storing(name: string, onConflict: "on conflict do nothing" | ""): Statement {
  return {
    name,
    keepsPlan: true,
    text: `with stored as (
      insert into lapse.tasks (id, ${sent.names}, state, next_attempt_at, updated_at, finished_at)
      select id, ${sent.names}, ${statePlace}::text, due_at, created_at, case when ${statePlace}::text = 'cancelled' then created_at end
      from (${sent.text}) as arrival
      where ${notAfterPlace}::timestamptz is null or clock_timestamp() < ${notAfterPlace}::timestamptz
      ${onConflict}
      returning id, queue
    ), counted as (
      insert into lapse.tallies (id, queue, kind, count)
      select ${tallyPlace}::uuid, queue, 'accepted', count(*) from stored group by queue
    )
    select case when count(*) < cardinality($1) then coalesce(array_agg(id), '{}') end as ids from stored`,
  };
}

/** A taken key is passed over and, where it is sent again, what it has stored already. */
const storeTasks = storing("accept_tasks", "on conflict do nothing");
/** Nothing can stand in the way of ids just made without a key: to look whether something does took Postgres 2 of 14 µs a task. */
const storeNewTasks = storing("accept_new_tasks", "");

export interface Storing {
  readonly state: "scheduled" | "cancelled";
  /** By Postgres's clock, when it is to store nothing any more; null: never. */
  readonly notAfter: string | null;
  /** None of them can stand already. */
  readonly isFirstSend: boolean;
}

export function bindStoring(arrivals: readonly Arrival[], { state, notAfter, isFirstSend }: Storing): BoundStatement {
  const shared = new SharedTexts();
  const statement = isFirstSend && arrivals.every(({ task }) => task.key === null) ? storeNewTasks : storeTasks;
  return bind(statement, [
    ...sent.values(
      arrivals.map(({ id }) => id),
      arrivals,
      shared,
    ),
    state,
    notAfter,
    uuidv7(),
    shared.texts,
  ]);
}

/** The different ones of many values as JSON, and each one's place among them, counted from 1 as in Postgres. */
class SharedTexts {
  readonly #places = new Map<string, number>();
  /** A queue's policy is the very same object in task after task. */
  #lastValue: unknown = null;
  #lastPlace = 0;

  get texts(): string[] {
    return [...this.#places.keys()];
  }

  placeOf(value: unknown): number {
    if (value !== this.#lastValue) {
      const text = JSON.stringify(value);
      this.#lastPlace = this.#places.get(text) ?? this.#places.size + 1;
      this.#places.set(text, this.#lastPlace);
      this.#lastValue = value;
    }
    return this.#lastPlace;
  }
}

/** The ids that the statement stored: it names them only where some were left out. */
export function storedOf([answer]: Rows, arrivals: readonly Arrival[]): Set<string> {
  if (answer === undefined) throw new Error("a statement that stores tasks did not say which");
  const ids = answer["ids"] as readonly string[] | null;
  return new Set(ids ?? arrivals.map(({ id }) => id));
}
