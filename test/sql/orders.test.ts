// Owns the checks of tasks that a shop makes and cancels inside its own transactions, from psql and from kysely: they are fired on time
// although no process was told, and gone where the transaction is rolled back.

import { Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { execute } from "../support/database.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { psqlName, runPsql } from "./psql.ts";
import { createRole } from "./sql.ts";

/** Promise P3. */
const lateMsMax = 2_000;

interface Shop {
  orders: { id: string; total: number };
}

describe.each(["own", "away"] as const)("where Redis is %s, a task made by SQL", (redis) => {
  let flow: Flow;
  let shopUrl: string;
  let shop: Kysely<Shop>;

  beforeAll(async () => {
    flow = await startFlow({ redis });
    shopUrl = await createRole(flow.service.databaseUrl, ["lapse_client"]);
    const name = new URL(shopUrl).username;
    await execute(flow.service.databaseUrl, "create table public.orders (id text primary key, total numeric not null)");
    await execute(flow.service.databaseUrl, `grant select, insert, delete on public.orders to ${name}`);
    shop = new Kysely<Shop>({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: shopUrl }) }) });
  });
  afterAll(async () => {
    await shop.destroy();
    await flow.stop();
  });

  const placed = (id: string, url: string, delay: string, queue = "default"): string => `
    insert into orders values ('${id}', 99.5);
    select lapse.schedule_task(url => '${url}', delay => interval '${delay}', key => '${id}', payload => '{"orderId": 1042}'::jsonb, queue => '${queue}');`;

  test.each([
    ["now, in a queue that nobody knew", "0", unique("queue")],
    ["now", "0", "default"],
    ["in 3.5 s", "3.5 seconds", "default"],
  ])(`is fired on time where psql commits it, due %s (${psqlName})`, async (_what, delay, queue) => {
    const [order, hook] = [unique("order"), flow.hook()];
    const { values, errors } = await runPsql(shopUrl, `begin; ${placed(order, hook.url, delay, queue)} commit;`);
    expect(errors).toBe("");
    const request = await hook.next();
    expect(request.headers).toMatchObject({ "webhook-id": values[0], "lapse-key": order, "lapse-queue": queue });
    expect(request.body.toString()).toBe('{"orderId": 1042}');
    const { lastAttempt } = await flow.reaches(values[0] ?? "", "succeeded");
    expect(lastAttempt?.latenessMs).toBeLessThan(lateMsMax);
  });

  test(`is gone where psql rolls it back, and its order with it (${psqlName})`, async () => {
    const [order, hook, other] = [unique("order"), flow.hook(), flow.hook()];
    const { values } = await runPsql(shopUrl, `begin; ${placed(order, hook.url, "0", unique("queue"))} rollback;`);
    expect((await flow.api.get(`/v1/tasks/${values[0]}`)).status).toBe(404);
    expect(await shop.selectFrom("orders").where("id", "=", order).execute()).toEqual([]);
    // The key is free, and whatever was due before this one would have been fired before it.
    await runPsql(shopUrl, placed(order, other.url, "0"));
    await other.next();
    expect(hook.requests).toEqual([]);
  });

  test(`stops a script of psql at a fault, which names the field (${psqlName})`, async () => {
    const run = await runPsql(shopUrl, `begin; ${placed(unique("order"), "ftp://shop", "0")} commit;`);
    expect(run.isOk).toBe(false);
    expect(run.errors).toContain("lapse.schedule_task: url must be an absolute http or https URL");
  });

  test("is committed with its order by kysely, and fired on time", async () => {
    const [order, hook] = [unique("order"), flow.hook()];
    const id = await shop.transaction().execute(async (trx) => {
      await trx.insertInto("orders").values({ id: order, total: 10 }).execute();
      const made = await sql<{ id: string }>`
        select lapse.schedule_task(url => ${hook.url}, delay => ${"1 second"}, key => ${order}, payload => ${JSON.stringify({ order })},
          retry => ${JSON.stringify({ maxAttempts: 2 })}, labels => ${JSON.stringify({ order })}) as id`.execute(trx);
      return made.rows[0]?.id ?? "";
    });
    await hook.next();
    const task = await flow.reaches(id, "succeeded");
    expect(task).toMatchObject({ key: order, labels: { order }, retry: { maxAttempts: 2 } });
    expect(task.lastAttempt?.latenessMs).toBeLessThan(lateMsMax);
  });

  test("is gone where kysely's transaction fails after it", async () => {
    const order = unique("order");
    const hook = flow.hook();
    const failing = shop.transaction().execute(async (trx) => {
      await trx.insertInto("orders").values({ id: order, total: 10 }).execute();
      await sql`select lapse.schedule_task(url => ${hook.url}, key => ${order})`.execute(trx);
      await trx.insertInto("orders").values({ id: order, total: 10 }).execute();
    });
    await expect(failing).rejects.toMatchObject({ code: "23505" });
    expect((await flow.api.get(`/v1/tasks/by-key/${order}`)).status).toBe(404);
  });

  test("is not fired where its payment cancels it in one transaction with the order's change", async () => {
    const [order, hook] = [unique("order"), flow.hook()];
    const made = await runPsql(shopUrl, placed(order, hook.url, "1.5 seconds"));
    const verdict = await shop.transaction().execute(async (trx) => {
      await trx.deleteFrom("orders").where("id", "=", order).execute();
      const cancelled = await sql<{ verdict: string }>`select lapse.cancel_task(key => ${order}) as verdict`.execute(
        trx,
      );
      return cancelled.rows[0]?.verdict;
    });
    expect(verdict).toBe("cancelled");
    const later = flow.hook();
    await runPsql(shopUrl, placed(unique("order"), later.url, "2 seconds"));
    await later.next();
    expect(hook.requests).toEqual([]);
    expect(await flow.read(made.values[0] ?? "")).toMatchObject({ state: "cancelled", attempts: 0 });
  });

  test("is accounted for: the audit balances and names nothing overdue", async () => {
    const { queues, balanced } = (await flow.api.get("/v1/audit")).as<{
      balanced: boolean;
      queues: { accepted: number }[];
    }>();
    expect(balanced).toBe(true);
    expect(queues.reduce((sum, { accepted }) => sum + accepted, 0)).toBe(7);
  });
});
