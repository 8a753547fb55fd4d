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

type Value = string | number | null;

/** A column of an arrival beside its id: its name, how it is sent, and what a task has there. */
type Column = readonly [name: string, form: Form, of: (arrival: Arrival, shared: SharedTexts) => Value];

/**
 * An instant goes as the number that it is: Postgres reads one in a sixth of the time of its text. `shared` is JSON that nearly all tasks of
 * a flush have in common, and that takes Postgres 5 µs to read: each text is sent once, in an array of its own, and a row has its place there.
 */
type Form = "text" | "int" | "bigint" | "instant" | "shared";

const columns: readonly Column[] = [
  ["queue", "text", ({ task }) => task.queue],
  ["key", "text", ({ task }) => task.key],
  ["due_at", "instant", ({ dueAt }) => dueAt],
  ["created_at", "instant", ({ createdAt }) => createdAt],
  ["url", "text", ({ task }) => task.url],
  ["method", "text", ({ task }) => task.method],
  ["headers", "shared", ({ task }, shared) => shared.placeOf(task.headers)],
  ["payload", "text", ({ task }) => bodyColumns(task.body).payload],
  ["body", "text", ({ task }) => bodyColumns(task.body).body],
  ["content_type", "text", ({ task }) => bodyColumns(task.body).content_type],
  ["timeout_ms", "int", ({ task }) => task.timeoutMs],
  ["retry", "shared", ({ task }, shared) => shared.placeOf(task.retry)],
  ["misfire_grace_ms", "bigint", ({ task }) => task.misfireGraceMs],
  ["delivery", "text", ({ task }) => task.delivery],
  ["max_reschedules", "int", ({ task }) => task.maxReschedules],
  ["labels", "shared", ({ task }, shared) => shared.placeOf(task.labels)],
  ["traceparent", "text", ({ task }) => task.traceparent],
  ["request_hash", "text", ({ task }) => task.requestHash],
];

/** Postgres's names for the forms. */
const types = { text: "text", int: "int", bigint: "bigint", instant: "float8", shared: "int" } as const;

/** After the ids: each column's values, then each column's value that is all rows' own, then what the statement is told. */
const eachPlace = (i: number): string => `$${2 + i}`;
const commonPlace = (i: number): string => `$${2 + columns.length + i}`;
const [statePlace, notAfterPlace, tallyPlace, sharedPlace] = [2, 3, 4, 5].map((n) => `$${2 * columns.length + n}`);
const names = columns.map(([name]) => name).join(", ");
const arrays = columns.map(([, form], i) => `${eachPlace(i)}::${types[form]}[]`).join(", ");
const selected = columns.map(([name, form], i) => `${valueOf(name, form, commonPlace(i))} as ${name}`).join(", ");

function valueOf(name: string, form: Form, common: string): string {
  const value = `coalesce(${name}, ${common}::${types[form]})`;
  if (form === "instant") return `to_timestamp(${value} / 1000)`;
  return form === "shared" ? `(${sharedPlace}::jsonb[])[${value}]` : value;
}

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
      insert into lapse.tasks (id, ${names}, state, next_attempt_at, updated_at, finished_at)
      select id, ${names}, ${statePlace}::text, due_at, created_at, case when ${statePlace}::text = 'cancelled' then created_at end
      from (select id, ${selected} from unnest($1::uuid[], ${arrays}) as sent (id, ${names})) as arrival
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
  const sent = columns.map(([, , of]) => columnValues(arrivals.map((arrival) => of(arrival, shared))));
  const statement = isFirstSend && arrivals.every(({ task }) => task.key === null) ? storeNewTasks : storeTasks;
  return bind(statement, [
    arrayText(arrivals.map(({ id }) => id)),
    ...sent.map(({ each }) => each),
    ...sent.map(({ common }) => common),
    state,
    notAfter,
    uuidv7(),
    shared.texts,
  ]);
}

/**
 * One value where all rows have the same, else each its own. Most columns are the same in all of a batch, and to write, send and read them
 * for each task took Postgres 3 of 18 µs, and as much here.
 */
function columnValues(values: readonly Value[]): { readonly each: string; readonly common: Value } {
  const [first = null] = values;
  if (values.every((value) => value === first)) return { each: "{}", common: first };
  return { each: arrayText(values), common: null };
}

/** An array as Postgres reads it (its manual, section 8.15.2). Like pg's own, without asking each element what it is. */
function arrayText(values: readonly Value[]): string {
  return `{${values.map((value) => (typeof value === "string" ? quoted(value) : (value ?? "NULL"))).join(",")}}`;
}

function quoted(text: string): string {
  return `"${/["\\]/.test(text) ? text.replaceAll(/["\\]/g, "\\$&") : text}"`;
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
