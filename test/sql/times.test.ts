// Owns the facts about the times of tasks made by SQL: from when they count, by which calendar, and how they are rounded.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openStore } from "../store/store.ts";
import { createRole, openSql, type Parameters, type SqlClient } from "./sql.ts";

const store = await openStore();
let shop: SqlClient;

beforeAll(async () => {
  shop = await openSql(await createRole(store.url, ["lapse_client"]));
});
afterAll(async () => {
  await shop.end();
  await store.close();
});

const task: Parameters = { url: ["http://127.0.0.1:9/hook", "text"] };

describe("a time", () => {
  const day = 86_400_000;
  test.each<readonly [what: string, delay: string, ms: number | null]>([
    // Some of them lead over a change of New York's clocks, whatever day it is.
    ...["1 month", "4 months", "6 months", "9 months"].map(
      (delay) => [`of ${delay}, by the calendar in UTC, whatever the session's zone`, delay, null] as const,
    ),
    ["of a day, which is 24 hours in UTC", "1 day", day],
    ["of ten calendar years", "10 years", null],
  ])("%s", async (_what, delay, ms) => {
    await shop.query(
      "set timezone to 'America/New_York'; set intervalstyle to 'sql_standard'; set datestyle to 'German'",
    );
    const row = await store.read(await shop.schedule({ ...task, delay: [delay, "interval"] }));
    await shop.query("reset all");
    const [expected] = await store.query<{ at: number }>(
      `select extract(epoch from (timestamptz 'epoch' + $1 * interval '1 ms') at time zone 'UTC' + $2::interval)::float8 * 1000 as at`,
      [row.created_at, delay],
    );
    expect(Math.abs(row.due_at - (expected?.at ?? 0))).toBeLessThanOrEqual(1);
    if (ms !== null) expect(Math.abs(row.due_at - row.created_at - ms)).toBeLessThanOrEqual(1);
  });

  test("is in whole milliseconds, and never before it was asked for", async () => {
    const before = await store.query<{ at: Date }>("select clock_timestamp() as at");
    const id = await shop.schedule({ ...task, due_at: ["2031-01-01T00:00:00.000001Z", "timestamptz"] });
    const now = await shop.schedule({ ...task, delay: ["1.000001 seconds", "interval"] });
    const [row] = await store.query<{ isWhole: boolean; due: string; isLater: boolean }>(
      `select bool_and(date_trunc('milliseconds', c) = c) as "isWhole" from lapse.tasks t,
       unnest(array[t.due_at, t.next_attempt_at, t.created_at, t.updated_at]) c where t.id = any($1)`,
      [[id, now]],
    );
    expect(row).toEqual({ isWhole: true });
    expect((await store.read(id)).due_at).toBe(Date.parse("2031-01-01T00:00:00.001Z"));
    expect((await store.read(now)).due_at).toBeGreaterThan((before[0]?.at.getTime() ?? 0) + 1_000);
  });

  test("counts from the call, not from the transaction's begin; the id has the call's time, too", async () => {
    await shop.query("begin");
    const [begin] = await shop.query<{ at: number }>("select extract(epoch from now())::float8 * 1000 as at");
    await shop.query("select pg_sleep(0.2)");
    const id = await shop.schedule({ ...task, delay: ["1 s", "interval"] });
    await shop.query("commit");
    const row = await store.read(id);
    expect(row.created_at - (begin?.at ?? 0)).toBeGreaterThanOrEqual(200);
    expect(row.due_at - row.created_at).toBeGreaterThanOrEqual(999);
    expect(id.replace("-", "").slice(0, 12)).toBe(row.created_at.toString(16).padStart(12, "0"));
  });
});
