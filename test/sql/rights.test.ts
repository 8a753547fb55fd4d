// Owns the checks of who may do what from SQL: the roles reach the two functions or the view and nothing else, whatever stands in their
// search_path; and a migration by a user who may not make roles.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../../src/store/migrate.ts";
import { createDatabase, execute, type TestDatabase, urlOf } from "../support/database.ts";
import { unique } from "../support/flow.ts";
import { startPostgres } from "../support/servers.ts";
import { createRole, openSql, type Parameters, type SqlClient } from "./sql.ts";

let database: TestDatabase;
let owner: SqlClient;
let client: SqlClient;
let report: SqlClient;
let stranger: SqlClient;

beforeAll(async () => {
  database = await createDatabase();
  const role = async (...roles: string[]): Promise<SqlClient> => openSql(await createRole(database.url, roles));
  owner = await openSql(database.url);
  client = await role("lapse_client");
  report = await role("lapse_report");
  stranger = await role();
});
afterAll(async () => {
  await Promise.all([owner, client, report, stranger].map((session) => session.end()));
  await database.drop();
});

const denied = { code: "42501" };
const task: Parameters = { url: ["http://127.0.0.1:9/hook", "text"], delay: ["1 hour", "interval"] };

/** Names of the schema's own catalogue, as the owner sees it. */
async function names(query: string): Promise<string[]> {
  return (await owner.query<{ name: string }>(query)).map(({ name }) => name);
}

describe("lapse_client", () => {
  test("may call the two functions", async () => {
    const id = await client.schedule(task);
    expect(await client.cancel({ id: [id, "uuid"] })).toBe("cancelled");
  });

  test("can touch no table or view", async () => {
    const relations = await names(
      "select relname as name from pg_class where relnamespace = 'lapse'::regnamespace and relkind in ('r', 'v', 'S')",
    );
    expect(relations).toContain("tasks");
    const rights = "select, insert, update, delete, truncate, references, trigger";
    for (const relation of relations) {
      const [row] = await client.query("select has_table_privilege($1, $2) as any", [`lapse.${relation}`, rights]);
      expect([relation, row]).toEqual([relation, { any: false }]);
    }
    await expect(client.query("select from lapse.tasks")).rejects.toMatchObject(denied);
    await expect(client.query("create table lapse.mine ()")).rejects.toMatchObject(denied);
  });
});

describe("lapse_report", () => {
  test("reads what became of tasks, without what was sent", async () => {
    const id = await client.schedule({ ...task, key: [unique("key"), "text"], labels: ['{"shop": "eu"}', "jsonb"] });
    const [row] = await report.query("select * from lapse.task_report where id = $1", [id]);
    expect(row).toMatchObject({
      id,
      queue: "default",
      state: "scheduled",
      labels: { shop: "eu" },
      attempts: 0,
      last_outcome: null,
    });
    for (const secret of ["url", "headers", "payload", "body", "response_snippet", "error"])
      expect(row).not.toHaveProperty(secret);
  });

  test("shows how the last attempt ended, and no tombstone", async () => {
    const [id, key] = [await client.schedule(task), unique("key")];
    await owner.query(
      `insert into lapse.attempts (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, status)
       values ($1, 1, now(), now(), 7, 3, 'failed', 500), ($1, 2, now(), now(), 8, 4, 'succeeded', 200)`,
      [id],
    );
    await owner.query("update lapse.tasks set state = 'succeeded', attempts = 2, finished_at = now() where id = $1", [
      id,
    ]);
    await client.cancel({ key: [key, "text"], tombstone: ["1 hour", "interval"] });
    const rows = await report.query("select * from lapse.task_report where id = $1 or key = $2", [id, key]);
    expect(rows).toMatchObject([
      { id, last_lateness_ms: "8", last_duration_ms: "4", last_outcome: "succeeded", last_status: 200 },
    ]);
  });

  test("can neither write, nor read a table, nor call a function", async () => {
    await expect(report.query("delete from lapse.task_report")).rejects.toThrow("cannot delete from view");
    await expect(report.query("select from lapse.tasks")).rejects.toMatchObject(denied);
    await expect(report.schedule(task)).rejects.toMatchObject(denied);
    await expect(report.cancel({ key: ["a", "text"] })).rejects.toMatchObject(denied);
  });
});

describe("everybody else", () => {
  test("may call nothing and read nothing", async () => {
    await expect(stranger.schedule(task)).rejects.toMatchObject(denied);
    await expect(stranger.query("select from lapse.task_report")).rejects.toMatchObject(denied);
  });

  test("may call no function of the schema, its triggers' aside, which nobody can call", async () => {
    const open = await names(
      `select p.proname as name from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
       where p.pronamespace = 'lapse'::regnamespace and x.grantee = 0 and p.prorettype <> 'trigger'::regtype`,
    );
    expect(open).toEqual([]);
  });
});

describe("a search_path of the caller's", () => {
  const shadowed = [
    "clock_timestamp() returns timestamptz",
    "gen_random_uuid() returns uuid",
    "length(text) returns int",
    "lower(text) returns text",
    "octet_length(text) returns int",
    "sha256(bytea) returns bytea",
    "isfinite(timestamptz) returns boolean",
    "jsonb_typeof(jsonb) returns text",
    "starts_with(text, text) returns boolean",
    "same(text, text) returns boolean",
  ];

  test("cannot put its own functions, operators and tables in the place of others'", async () => {
    await execute(database.url, `grant create on database ${new URL(database.url).pathname.slice(1)} to public`);
    await client.query("create schema evil");
    await client.query("create table evil.calls (as_user text)");
    await client.query("grant all on schema evil to public; grant all on evil.calls to public");
    for (const signature of shadowed) {
      await client.query(
        `create function evil.${signature} language plpgsql as $$ begin insert into evil.calls values (current_user); return null; end $$`,
      );
    }
    await client.query("create operator evil.= (leftarg = text, rightarg = text, function = evil.same)");
    await client.query("create operator evil.<> (leftarg = text, rightarg = text, function = evil.same)");
    await client.query("create temp table tasks (id text); create temp table queues (name text)");
    await client.query("set search_path = evil, pg_temp, pg_catalog");
    const id = await client.schedule({
      ...task,
      key: ["k", "text"],
      headers: ['{"a": "b"}', "jsonb"],
      labels: ['{"a": "b"}', "jsonb"],
    });
    expect(await client.cancel({ key: ["k", "text"] })).toBe("cancelled");
    await client.query("reset search_path");
    expect(await client.query("select * from evil.calls")).toEqual([]);
    expect(await owner.query("select state from lapse.tasks where id = $1", [id])).toEqual([{ state: "cancelled" }]);
  });

  test("is not looked at by any function that runs as its owner", async () => {
    const settings = await owner.query<{ name: string; path: string | null }>(
      `select p.proname as name, (select c from unnest(p.proconfig) as c where starts_with(c, 'search_path=')) as path
       from pg_proc p where p.pronamespace = 'lapse'::regnamespace and p.prosecdef`,
    );
    expect(settings.map(({ name }) => name)).toEqual(expect.arrayContaining(["schedule_task", "cancel_task"]));
    for (const { path } of settings) expect(path).toMatch(/pg_temp$/);
  });
});

describe("a user who may not make roles", () => {
  test("migrates all the same, and the README's statements give the rights later", async () => {
    const postgres = await startPostgres();
    try {
      await execute(postgres.url, "create role plain login password 'plain'");
      await execute(postgres.url, "create database shop owner plain");
      const plainUrl = new URL(urlOf(postgres.url, "shop"));
      [plainUrl.username, plainUrl.password] = ["plain", "plain"];
      await migrate(plainUrl.href);
      const plain = await openSql(plainUrl.href);
      expect(await plain.query("select from pg_roles where rolname like 'lapse\\_%'")).toEqual([]);
      const [, asAdmin = "", asOwner = ""] =
        /-- As an administrator:\n(.*?)-- As the owner of the schema:\n(.*?)```/s.exec(
          readFileSync(new URL("../../README.md", import.meta.url), "utf8"),
        ) ?? [];
      await execute(postgres.url, asAdmin);
      await plain.query(asOwner);
      const shop = await openSql(await createRole(urlOf(postgres.url, "shop"), ["lapse_client", "lapse_report"]));
      const id = await shop.schedule(task);
      expect(await shop.query("select id from lapse.task_report")).toEqual([{ id }]);
      await Promise.all([shop.end(), plain.end()]);
    } finally {
      await postgres.stop();
    }
  });
});
