import { afterAll, expect, test } from "vitest";
import { v7 } from "uuid";
import { readDue, readDueSoon, readWindow } from "../../src/store/due.ts";
import { listTasks } from "../../src/store/listing.ts";
import { pruneEnded, removeSpentTombstones } from "../../src/store/retention.ts";
import { findCandidates } from "../../src/store/bulk.ts";
import { openStore } from "./store.ts";
import { Explainer } from "./plans.ts";
import { makeBacklog } from "./backlog.ts";

const owners = [v7(), v7()];
const store = await openStore();
const ex = await Explainer.open(store.url);
afterAll(async () => { await ex.close(); await store.close(); });
test("show", async () => {
  await makeBacklog(store, { due: 10000, waiting: 100000, ended: 100000 }, owners);
  await store.query("update lapse.tasks set next_attempt_at = now() + interval '1 hour', due_at = now() + interval '1 hour' where state='scheduled' and next_attempt_at < now()");
  await store.query("vacuum analyze");
  const show = async (label: string, recs: Awaited<ReturnType<typeof ex.record>>) => {
    for (const s of recs) { const { text, ...r } = await ex.explain(s, "custom"); console.log(label, JSON.stringify(r) + "\n" + text); }
  };
  const fix = (recs: Awaited<ReturnType<typeof ex.record>>) => recs.map((r) => ({ ...r, text: r.text.replaceAll("<= clock_timestamp()", "<= (select clock_timestamp())").replaceAll("< clock_timestamp() -", "< (select clock_timestamp()) -") }));
  const gen = async (label: string, recs: Awaited<ReturnType<typeof ex.record>>) => { for (const s of recs) { const { text, ...r } = await ex.explain(s, "generic"); console.log(label, JSON.stringify(r) + "\n" + text); } };
  await gen("due none", fix(await ex.record((d) => readDue(d, "default", 100))));
  await gen("soon none", fix(await ex.record((d) => d.query((c) => readDueSoon(c, { aheadMs: 3000, limit: 100, except: [], after: [] })))));
  await show("soon none", fix(await ex.record((d) => d.query((c) => readDueSoon(c, { aheadMs: 3000, limit: 100, except: [], after: [{ queue: "default", nextAttemptAt: 1000, id: v7() }] })))));
  await gen("prune none", fix(await ex.record((d) => pruneEnded(d, v7(), { retentionMs: 100*86400_000, limit: 100 }))));
});
