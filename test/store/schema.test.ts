// Owns the facts about the schema: that its types in the code are true, and that no half of a transition can be stored.

import { readFileSync } from "node:fs";
import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import { endedStates, taskStates } from "../../src/task/task.ts";
import { openStore, type RowFields } from "./store.ts";

const store = await openStore();
afterAll(() => store.close());

const states = [...taskStates, "tombstone"] as const;
const otherThan = (state: string): (typeof states)[number][] => states.filter((one) => one !== state);
const instant = "2026-11-21T02:30:00.000Z";

interface Column {
  readonly isNullable: boolean;
  readonly hasDefault: boolean;
}

describe("the tables as the code sees them", () => {
  const source = readFileSync(new URL("../../src/store/tables.ts", import.meta.url), "utf8");
  const declared = declaredTables(source);

  test("are all those of the schema, and no others", async () => {
    const rows = await store.query<{ name: string }>(
      `select 'lapse.' || table_name as name from information_schema.tables
       where table_schema = 'lapse' and table_type = 'BASE TABLE' and table_name not like 'kysely%' order by 1`,
    );
    expect([...declared.keys()].toSorted()).toEqual(rows.map((row) => row.name));
  });

  test.each([...declared])("%s has the columns of the schema, null where they may be null", async (table, columns) => {
    const rows = await store.query<{ name: string; nullable: boolean }>(
      `select column_name as name, is_nullable = 'YES' as nullable from information_schema.columns
       where table_schema = 'lapse' and 'lapse.' || table_name = $1`,
      [table],
    );
    const nullability = new Map([...columns].map(([name, { isNullable }]) => [name, isNullable]));
    expect(nullability).toEqual(new Map(rows.map((row) => [row.name, row.nullable])));
  });

  test.each([...declared])(
    "%s may be written without a column only where the schema has a default",
    async (table, columns) => {
      const rows = await store.query<{ name: string }>(
        `select column_name as name from information_schema.columns
       where table_schema = 'lapse' and 'lapse.' || table_name = $1 and column_default is not null`,
        [table],
      );
      const defaults = new Set(rows.map((row) => row.name));
      const left = [...columns].filter(([, { hasDefault }]) => hasDefault).map(([name]) => name);
      expect(left.filter((name) => !defaults.has(name))).toEqual([]);
    },
  );
});

interface Refusal {
  readonly constraint: string;
  readonly what: string;
  readonly fields: RowFields;
}

const taskRefusals: readonly Refusal[] = [
  { constraint: "state_is_known", what: "another state", fields: { state: "done" as never } },
  ...states.map((state) => ({
    constraint: "finished_iff_ended",
    what: `a ${state} task ${isEnded(state) ? "without" : "with"} a time of its end`,
    fields: { state, key: uuidv7(), finished_at: isEnded(state) ? null : instant },
  })),
  ...["owner", "attempt_started_at", "lateness_ms"].flatMap((column) => [
    {
      constraint: "owned_iff_running",
      what: `a running task without ${column}`,
      fields: { state: "running" as const, [column]: null },
    },
    ...otherThan("running").map((state) => ({
      constraint: "owned_iff_running",
      what: `a ${state} task with ${column}`,
      fields: {
        state,
        key: uuidv7(),
        [column]: { owner: uuidv7(), attempt_started_at: instant, lateness_ms: 0 }[column],
      },
    })),
  ]),
  {
    constraint: "running_has_an_attempt",
    what: "a running task without an attempt",
    fields: { state: "running", attempts: 0 },
  },
  {
    constraint: "attempts_only_grow",
    what: "more attempts before the budget than attempts",
    fields: { attempts: 1, attempts_before: 2 },
  },
  {
    constraint: "attempts_only_grow",
    what: "less than no attempts before the budget",
    fields: { attempts_before: -1 },
  },
  {
    constraint: "attempts_only_grow",
    what: "more attempts before the due time than attempts",
    fields: { attempts: 1, attempts_at_due: 2 },
  },
  {
    constraint: "attempts_only_grow",
    what: "less than no attempts before the due time",
    fields: { attempts_at_due: -1 },
  },
  { constraint: "attempts_only_grow", what: "less than no reschedules", fields: { reschedules: -1 } },
  {
    constraint: "one_body",
    what: "a payload beside a body",
    fields: { payload: "1", body: "1", content_type: "text/plain" },
  },
  { constraint: "body_has_a_type", what: "a body without a type", fields: { body: "1" } },
  { constraint: "body_has_a_type", what: "a type without a body", fields: { content_type: "text/plain" } },
  { constraint: "tombstone_names_a_key", what: "a tombstone without a key", fields: { state: "tombstone" } },
  {
    constraint: "tombstone_names_a_key",
    what: "a tombstone with attempts",
    fields: { state: "tombstone", key: "k", attempts: 1 },
  },
  ...taskStates.map((state) => ({
    constraint: "task_has_a_url",
    what: `a ${state} task without a url`,
    fields: { state, url: null },
  })),
  { constraint: "delivery_is_known", what: "another delivery", fields: { delivery: "exactly-once" } },
  ...otherThan("paused").map((state) => ({
    constraint: "held_only_while_paused",
    what: `a ${state} task that is held`,
    fields: { state, key: uuidv7(), held: true },
  })),
  {
    constraint: "confirmed_attempt_was_made",
    what: "a confirm of an attempt to come",
    fields: { attempts: 1, confirmed_attempt: 2 },
  },
  {
    constraint: "refused_only_after_a_cancel",
    what: "a refused confirm without a cancel",
    fields: { state: "running", confirm_refused: true },
  },
];

const refusals: readonly { readonly constraint: string; readonly what: string; readonly text: string }[] = [
  {
    constraint: "concurrency_is_positive",
    what: "a queue without slots",
    text: "insert into lapse.queues (name, concurrency) values ('q', 0)",
  },
  {
    constraint: "rate_limit_is_whole",
    what: "a rate without its window",
    text: "insert into lapse.queues (name, rate_limit_count) values ('q', 1)",
  },
  {
    constraint: "rate_limit_is_positive",
    what: "a rate of none",
    text: "insert into lapse.queues (name, rate_limit_count, rate_limit_per_ms) values ('q', 0, 1)",
  },
  {
    constraint: "rate_limit_is_positive",
    what: "a window without length",
    text: "insert into lapse.queues (name, rate_limit_count, rate_limit_per_ms) values ('q', 1, 0)",
  },
  {
    constraint: "defaults_are_named",
    what: "a default of another field",
    text: `insert into lapse.queues (name, defaults) values ('q', '{"url":"x"}')`,
  },
  {
    constraint: "count_is_positive",
    what: "no starts",
    text: "insert into lapse.rate_starts (queue, bucket, at, count) values ('q', 1, now(), 0)",
  },
  {
    constraint: "fired_is_not_negative",
    what: "fewer than no attempts",
    text: `insert into lapse.queue_activity (queue, owner, fired) values ('q', '${uuidv7()}', -1)`,
  },
  { constraint: "number_counts_from_one", what: "an attempt 0", text: attempt("0", "'succeeded'") },
  { constraint: "outcome_is_known", what: "another outcome", text: attempt("1", "'done'") },
  { constraint: "slots_are_not_negative", what: "a negative share", text: share(-1, 0) },
  { constraint: "slots_are_not_negative", what: "a negative wish", text: share(0, -1) },
  {
    constraint: "kind_is_known",
    what: "another kind of tally",
    text: `insert into lapse.tallies (id, queue, kind, count) values ('${uuidv7()}', 'q', 'lost', 1)`,
  },
  {
    constraint: "one_row",
    what: "a second heartbeat",
    text: "insert into lapse.heartbeat (id, beaten_at) values (2, now())",
  },
  {
    constraint: "one_recording",
    what: "a second word on what is recorded",
    text: "insert into lapse.event_recording (id) values (2)",
  },
  {
    constraint: "types_are_named",
    what: "a subscription to nothing",
    text: `insert into lapse.subscriptions (id, url, types, cursor_xid) values ('${uuidv7()}', 'http://a', '{}', '1')`,
  },
  { constraint: "scopes_are_known", what: "an API key of another scope", text: apiKey("'{tasks:read,root}'", "null") },
  { constraint: "scopes_are_known", what: "an API key without scopes", text: apiKey("'{}'", "null") },
  { constraint: "queues_are_named", what: "an API key confined to nothing", text: apiKey("'{tasks:read}'", "'{}'") },
  { constraint: "admin_is_not_confined", what: "a confined admin", text: apiKey("'{tasks:read,admin}'", "'{a}'") },
  {
    constraint: "digest_is_a_sha256",
    what: "an API key with another digest",
    text: apiKey("'{admin}'", "null", "'secret'"),
  },
];

describe("the schema", () => {
  test.each(states)("stores a %s row that is whole", async (state) => {
    const id = await store.insert({ state, key: uuidv7() });
    expect(await store.read(id)).toMatchObject({ state });
  });

  test.each(taskRefusals)("$constraint refuses $what", async ({ constraint, fields }) => {
    await expect(store.insert(fields)).rejects.toMatchObject({ code: "23514", constraint });
  });

  test.each(refusals)("$constraint refuses $what", async ({ constraint, text }) => {
    await expect(store.query(text)).rejects.toMatchObject({ code: "23514", constraint });
  });

  test("has no check that no row of these breaks", async () => {
    const checks = await store.query<{ name: string }>(
      `select conname as name from pg_constraint where contype = 'c' and connamespace = 'lapse'::regnamespace order by 1`,
    );
    const broken = new Set([...taskRefusals, ...refusals].map(({ constraint }) => constraint));
    expect(checks.map((check) => check.name)).toEqual([...broken].toSorted());
  });

  test("refuses a second live task with a key, also beside a tombstone", async () => {
    for (const state of ["scheduled", "paused", "running", "tombstone"] as const) {
      const key = uuidv7();
      await store.insert({ state, key });
      for (const other of ["scheduled", "paused", "running", "tombstone"] as const) {
        await expect(store.insert({ state: other, key })).rejects.toMatchObject({ constraint: "tasks_live_key" });
      }
      await store.insert({ state: "succeeded", key });
    }
  });
});

function isEnded(state: string): boolean {
  return (endedStates as readonly string[]).includes(state);
}

function attempt(number: string, outcome: string): string {
  return `insert into lapse.attempts (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome)
    values ('${uuidv7()}', ${number}, now(), now(), 0, 0, ${outcome})`;
}

function apiKey(scopes: string, queues: string, digest = "sha256('k')"): string {
  return `insert into lapse.api_keys (id, name, scopes, queues, digest, created_by)
    values ('${uuidv7()}', 'k', ${scopes}, ${queues}, ${digest}, 'root')`;
}

function share(slots: number, wanted: number): string {
  return `insert into lapse.shares (queue, owner, slots, wanted) values ('q', '${uuidv7()}', ${slots}, ${wanted})`;
}

/** Reads the interfaces of tables.ts: they are types, and leave nothing behind to ask at run time. */
function declaredTables(source: string): Map<string, Map<string, Column>> {
  const interfaces = new Map(
    [...source.matchAll(/export interface (\w+) \{\n([^}]*)\}/g)].map(([, name = "", body = ""]) => [name, body]),
  );
  const tables = [...(interfaces.get("Tables") ?? "").matchAll(/"([\w.]+)": (\w+);/g)];
  return new Map(tables.map(([, table = "", type = ""]) => [table, columnsOf(interfaces.get(type) ?? "")]));
}

function columnsOf(body: string): Map<string, Column> {
  const members = [...body.matchAll(/^ {2}(\w+): (.+);$/gm)];
  return new Map(
    members.map(([, name = "", type = ""]) => [
      name,
      { isNullable: /\| null$|^Nullable/.test(type), hasDefault: /^(Generated|Json)<.*>$/.test(type) },
    ]),
  );
}
