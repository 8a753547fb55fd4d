// Owns the statement that stores new tasks: what is sent for each, and in which form.

import { v7 as uuidv7 } from "uuid";
import type { NewTask } from "../task/new-task.ts";
import { type BoundStatement, bind, type Rows, type Statement } from "./database.ts";
import { bodyColumns } from "./task-rows.ts";

/** A new task with its id and times, ready to be stored. */
export interface Arrival {
  readonly id: string;
  readonly task: NewTask;
  readonly createdAt: number;
  readonly dueAt: number;
}

/** A column of an arrival: its name, how it is sent, and what a task has there. */
type Column = readonly [name: string, form: Form, of: (arrival: Arrival) => unknown];

/**
 * Each column is one array. An instant goes as the number that it is: Postgres reads one in a sixth of the time of its text. `shared` is JSON
 * that nearly all tasks of a flush have in common, and that takes Postgres 5 µs to read: each text is sent once, in an array of its own, and
 * a row has its place there.
 */
type Form = "uuid" | "text" | "int" | "bigint" | "instant" | "shared";

const columns: readonly Column[] = [
  ["id", "uuid", ({ id }) => id],
  ["queue", "text", ({ task }) => task.queue],
  ["key", "text", ({ task }) => task.key],
  ["due_at", "instant", ({ dueAt }) => dueAt],
  ["created_at", "instant", ({ createdAt }) => createdAt],
  ["url", "text", ({ task }) => task.url],
  ["method", "text", ({ task }) => task.method],
  ["headers", "shared", ({ task }) => task.headers],
  ["payload", "text", ({ task }) => bodyColumns(task.body).payload],
  ["body", "text", ({ task }) => bodyColumns(task.body).body],
  ["content_type", "text", ({ task }) => bodyColumns(task.body).content_type],
  ["timeout_ms", "int", ({ task }) => task.timeoutMs],
  ["retry", "shared", ({ task }) => task.retry],
  ["misfire_grace_ms", "bigint", ({ task }) => task.misfireGraceMs],
  ["delivery", "text", ({ task }) => task.delivery],
  ["max_reschedules", "int", ({ task }) => task.maxReschedules],
  ["labels", "shared", ({ task }) => task.labels],
  ["traceparent", "text", ({ task }) => task.traceparent],
  ["request_hash", "text", ({ task }) => task.requestHash],
];

const [statePlace, notAfterPlace, tallyPlace, sharedPlace] = [1, 2, 3, 4].map((n) => `$${columns.length + n}`);
const names = columns.map(([name]) => name).join(", ");
const arrays = columns.map(([, form], i) => `$${i + 1}::${arrayType(form)}`).join(", ");
const selected = columns.map(([name, form]) => `${valueOf(name, form)} as ${name}`).join(", ");

function arrayType(form: Form): string {
  return form === "instant" ? "float8[]" : form === "shared" ? "int[]" : `${form}[]`;
}

function valueOf(name: string, form: Form): string {
  if (form === "instant") return `to_timestamp(${name} / 1000)`;
  return form === "shared" ? `(${sharedPlace}::jsonb[])[${name}]` : name;
}

/**
 * Counts what it stores, and nothing else: it may be sent again after its answer was lost, and may then store what a key had kept out.
 * A network that stood still may deliver it long after its caller was told 503 and has asked again: it must store nothing then, since its
 * key may be free again, and the task would be a second one. `on conflict do nothing` covers a taken key and, where it is sent again, the
 * ids themselves. Its plan depends on nothing that the tables hold. One row answers for all.
 */
const storeTasks: Statement = {
  name: "accept_tasks",
  keepsPlan: true,
  text: `with stored as (
      insert into lapse.tasks (${names}, state, next_attempt_at, updated_at, finished_at)
      select ${names}, ${statePlace}::text, due_at, created_at, case when ${statePlace}::text = 'cancelled' then created_at end
      from (select ${selected} from unnest(${arrays}) as sent (${names})) as arrival
      where ${notAfterPlace}::timestamptz is null or clock_timestamp() < ${notAfterPlace}::timestamptz
      on conflict do nothing
      returning id, queue
    ), counted as (
      insert into lapse.tallies (id, queue, kind, count)
      select ${tallyPlace}::uuid, queue, 'accepted', count(*) from stored group by queue
    )
    select case when count(*) < cardinality($1) then coalesce(array_agg(id), '{}') end as ids from stored`,
};

/** `notAfter`: by Postgres's clock, when it is to store nothing any more; null: never. */
export function storing(
  arrivals: readonly Arrival[],
  { state, notAfter }: { state: "scheduled" | "cancelled"; notAfter: string | null },
): BoundStatement {
  const shared = new SharedTexts();
  const values = columns.map(([, form, of]) =>
    arrivals.map(form === "shared" ? (arrival) => shared.placeOf(of(arrival)) : of),
  );
  return bind(storeTasks, [...values, state, notAfter, uuidv7(), shared.texts]);
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
