import { afterAll, expect, test } from "vitest";
import { v7 } from "uuid";
import { claim, readOwned, readStanding } from "../../src/store/claims.ts";
import { readDue, readDueSoon, readWindow } from "../../src/store/due.ts";
import { settleAttempts } from "../../src/store/settle.ts";
import { insertArrivals, findStanding } from "../../src/store/accept.ts";
import { cancelTasksById, cancelTasksByKey } from "../../src/store/cancel.ts";
import { findRowByKey } from "../../src/store/reads.ts";
import { pruneEnded } from "../../src/store/retention.ts";
import { readShares } from "../../src/store/shares.ts";
import { listTasks } from "../../src/store/listing.ts";
import { openStore, arrival, settlingOf } from "./store.ts";
import { Explainer, type Recorded } from "./plans.ts";
import { makeBacklog } from "./backlog.ts";

const owners = [v7(), v7()];
const store = await openStore();
console.time("backlog");
await makeBacklog(store, { due: 10_000, waiting: 100_000, ended: 100_000 }, owners);
console.timeEnd("backlog");
const ex = await Explainer.open(store.url);
afterAll(async () => { await ex.close(); await store.close(); });

test("show", async () => {
  const ids = (await store.query<{ id: string }>("select id from lapse.tasks where queue='default' and state='scheduled' and next_attempt_at <= now() order by md5(id::text) limit 100")).map((r) => r.id);
  const running = (await store.query<{ id: string; }>("select id from lapse.tasks where owner = $1", [owners[0]])).map((r) => r.id);
  const keys = (await store.query<{ key: string; }>("select key from lapse.tasks where queue='default' and state='scheduled' order by md5(id::text) limit 100")).map((r) => r.key);
  const settl = running.map((id) => settlingOf({ id, attempt: 1 } as never, owners[0]!));
  const now = Date.now();
  const all: Record<string, Recorded[]> = {
    claim: await ex.record((d) => claim(d, owners[0]!, ids)),
    standing: await ex.record((d) => d.query((c) => readStanding(c, ids))),
    owned: await ex.record((d) => d.query((c) => readOwned(c, owners[0]!))),
    due: await ex.record((d) => readDue(d, "default", 100)),
    soon: await ex.record((d) => d.query((c) => readDueSoon(c, { aheadMs: 3000, limit: 100, except: [], after: [] }))),
    soon2: await ex.record((d) => d.query((c) => readDueSoon(c, { aheadMs: 3000, limit: 100, except: [], after: [{ queue: "default", nextAttemptAt: now - 300_000, id: v7() }] }))),
    window: await ex.record((d) => d.query((c) => readWindow(c, { queue: "default", nextAttemptAt: now - 300_000, id: v7() }, { until: now + 600_000, limit: 100 }))),
    settle: await ex.record((d) => settleAttempts(d, settl)),
    insert: await ex.record((d) => insertArrivals(d, v7(), Array.from({ length: 100 }, (_, i) => arrival({ key: `new-${i}` })))),
    find: await ex.record((d) => d.query((c) => findStanding(c, arrival({ key: keys[0]! })))),
    cancelId: await ex.record((d) => cancelTasksById(d, ids)),
    cancelKey: await ex.record((d) => cancelTasksByKey(d, keys.map((key) => ({ queue: "default", key })))),
    byKey: await ex.record((d) => d.query((c) => findRowByKey(c, "default", "order-77:ended"))),
    prune: await ex.record((d) => pruneEnded(d, v7(), { retentionMs: 3600_000, limit: 100 })),
    shares: await ex.record((d) => d.query((c) => readShares(c, owners[0]!))),
    list: await ex.record((d) => listTasks(d, {}, { order: "dueAt", limit: 50, after: { dueAt: now - 300_000, id: v7() } }).catch(() => 0)),
    list1: await ex.record((d) => listTasks(d, { queue: "default", states: ["succeeded"] }, { order: "dueAt", limit: 50, after: null }).catch(() => 0)),
    listC: await ex.record((d) => listTasks(d, { queue: "default" }, { order: "-createdAt", limit: 50, after: null }).catch(() => 0)),
  };
  for (const [name, statements] of Object.entries(all)) for (const s of statements) for (const mode of ["custom", "generic"] as const) {
    const { text, ...r } = await ex.explain(s, mode);
    console.log(name, s.name, mode, JSON.stringify(r) + "\n" + text);
  }
});
