// Owns the fact about what stands in the way of many arrivals: it is looked up, not searched for, also before any statistics were made.

import { expect, test } from "vitest";
import { findStandingByKeys } from "../../src/store/accept.ts";
import { makeBacklog } from "./backlog.ts";
import { Explainer } from "./plans.ts";
import { arrival, openStore } from "./store.ts";

test("many taken keys cost a look into an index each, however many tasks there are beside them", async () => {
  const store = await openStore();
  await store.query("alter table lapse.tasks set (autovacuum_enabled = off)");
  await makeBacklog(store, { due: 2_000, waiting: 20_000, ended: 2_000 }, []);
  const taken = await store.query<{ key: string }>(
    "select key from lapse.tasks where queue = 'default' and state = 'scheduled' limit 500",
  );
  const explainer = await Explainer.open(store);
  const arrivals = taken.map(({ key }) => arrival({ key }));
  const sent = await explainer.record((database) => database.query((c) => findStandingByKeys(c, arrivals)));
  const readings = await explainer.explain(sent, "custom");
  expect(readings.map(({ scanned }) => scanned)).toEqual([[]]);
  expect(readings[0]?.taskRows).toBe(arrivals.length);
  // A look goes down the index, and to the row.
  expect(readings[0]?.pages).toBeLessThan(8 * arrivals.length);
  await explainer.close();
  await store.close();
});
