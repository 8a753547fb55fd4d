import { afterAll, expect, test } from "vitest";
import { v7 } from "uuid";
import pg from "pg";
import { claim, readOwned, readStanding } from "../../src/store/claims.ts";
import { readDue, readDueSoon, readWindow } from "../../src/store/due.ts";
import { settleAttempts } from "../../src/store/settle.ts";
import { insertArrivals, findStanding } from "../../src/store/accept.ts";
import { cancelTasksById, cancelTasksByKey } from "../../src/store/cancel.ts";
import { listTasks } from "../../src/store/listing.ts";
import { openStore, arrival, settlingOf } from "./store.ts";
import { Explainer, type Recorded } from "./plans.ts";
import { makeBacklog } from "./backlog.ts";

const owners = [v7(), v7()];
const store = await openStore();
const ex = await Explainer.open(store.url);
afterAll(async () => {
  await ex.close();
  await store.close();
});
function literal(value: unknown): string {
  if (value === null || value === undefined) return "null";
  return `'${(Array.isArray(value) ? arrayText(value) : String(value)).replaceAll("'", "''")}'`;
}
function arrayText(values: readonly unknown[]): string {
  return `{${values.map((value) => (value === null ? "NULL" : `"${String(value).replaceAll(/["\\]/g, (c) => `\\${c}`)}"`)).join(",")}}`;
}
test("show", async () => {
  const client = new pg.Client({ connectionString: store.url });
  await client.connect();
  const arr = () => arrival({ key: v7() });
  const fake = (id: string) => settlingOf({ id, attempt: 1 } as never, owners[0]!);
  for (let round = 0; round < 10; round++) {
    const a = arr();
    const rec = [
      ...(await ex.record((d) => insertArrivals(d, v7(), [a]))),
      ...(await ex.record((d) => claim(d, owners[0]!, [a.id]))),
      ...(await ex.record((d) => readDue(d, "default", 8))),
      ...(await ex.record((d) => settleAttempts(d, [fake(a.id)]))),
      ...(await ex.record((d) => cancelTasksById(d, [a.id]))),
      ...(await ex.record((d) => cancelTasksByKey(d, [{ queue: "default", key: "k" }]))),
    ];
    for (const s of rec) await client.query({ name: s.name, text: s.text, values: s.values as unknown[] });
    if (round === 9) {
      console.time("load");
      await store.query("alter table lapse.tasks set (autovacuum_enabled = off)");
      await store.query("alter table lapse.attempts set (autovacuum_enabled = off)");
      await makeBacklog(store, { due: 10000, waiting: 100000, ended: 100000 }, owners).catch((e) => console.log(e));
      console.timeEnd("load");
      for (const s of rec) {
        await client.query("begin");
        const { rows } = await client.query(`explain execute ${s.name}(${s.values.map(literal).join(",")})`);
        await client.query("rollback");
        console.log(s.name + "\n" + rows.map((r) => r["QUERY PLAN"]).join("\n"));
      }
    }
  }
  await client.end();
  for (const [filter, page] of [
    [
      { queue: "lane-1", states: ["scheduled"] },
      { order: "-createdAt", limit: 50, after: null },
    ],
    [
      { queue: "lane-1", states: ["failed"] },
      { order: "-createdAt", limit: 50, after: null },
    ],
    [
      { queue: "default", states: ["scheduled"] },
      { order: "-createdAt", limit: 50, after: null },
    ],
    [{ keyPrefix: "order-77" }, { order: "-createdAt", limit: 50, after: null }],
    [
      { keyPrefix: "order-77", queue: "default" },
      { order: "dueAt", limit: 50, after: null },
    ],
    [
      { labels: { customer: "c20" }, queue: "default" },
      { order: "dueAt", limit: 50, after: null },
    ],
  ] as never[])
    for (const s of await ex.record((d) => listTasks(d, filter, page))) {
      const { text, ...r } = await ex.explain(s, "custom");
      console.log("LIST", JSON.stringify(filter), JSON.stringify(r) + "\n" + text);
    }
});
