// Owns the facts about the schema: that its types in the code are true, and that no half of a transition can be stored.

import { readFileSync } from "node:fs";
import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import { endedStates, taskStates } from "../../src/task/task.ts";
import { refusals } from "./refusals.ts";
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
