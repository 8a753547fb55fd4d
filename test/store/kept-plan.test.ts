// Owns the facts about plans that are kept: made while the tables look empty, they stay right as tasks pour in.

import { expect, test } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { insertArrivals } from "../../src/store/accept.ts";
import { claim } from "../../src/store/claims.ts";
import type { Database } from "../../src/store/database.ts";
import { settleAttempts } from "../../src/store/settle.ts";
import type { ClaimedTask } from "../../src/task/claimed-task.ts";
import { makeBacklog } from "./backlog.ts";
import { batch, faultsOf } from "./plan-listings.ts";
import { Explainer, type Recorded } from "./plans.ts";
import { arrival, openStore, settlingOf } from "./store.ts";

const owner = uuidv7();
const owners = [owner, uuidv7()];

/** Of each the ids are of tasks that are due, or that the owner has in flight. */
const statements: Readonly<Record<string, (database: Database, ids: readonly string[]) => Promise<unknown>>> = {
  claim: (database, ids) => claim(database, owner, ids),
  settle: (database, ids) =>
    settleAttempts(
      database,
      ids.map((id) => settlingOf({ id, attempt: 1 } as ClaimedTask, owner)),
    ),
  accept: (database, ids) =>
    insertArrivals(
      database,
      ids.map(() => arrival()),
      { notAfter: Date.now() + 3_600_000 },
    ),
};

test.each(["never analysed", "vacuumed while empty"])("of tables %s", async (past) => {
  const store = await openStore();
  for (const table of ["tasks", "attempts"]) {
    await store.query(`alter table lapse.${table} set (autovacuum_enabled = off)`);
    if (past === "vacuumed while empty") await store.query(`vacuum analyze lapse.${table}`);
  }
  const explainer = await Explainer.open(store, { keepsPlan: true });
  const record = async (name: string, ids: readonly string[]): Promise<Recorded> => {
    const sent = await explainer.record(async (database) => statements[name]?.(database, ids));
    expect(sent).toEqual([expect.objectContaining({ keepsPlan: true })]);
    return sent[0] as Recorded;
  };
  const ids = Array.from({ length: batch }, () => uuidv7());
  for (const name of Object.keys(statements)) await explainer.warm(await record(name, ids));

  await makeBacklog(store, { due: 2_000, waiting: 20_000, ended: 20_000 }, owners);
  await store.query(`insert into lapse.dispatchers (id, lease_until) values ('${owner}', now() + interval '1 hour')`);
  const found = async (where: string): Promise<string[]> => {
    const rows = await store.query<{ id: string }>(`select id from lapse.tasks where ${where} limit ${batch}`);
    return rows.map((row) => row.id);
  };
  const due = await found("state = 'scheduled' and next_attempt_at <= now()");
  const inFlight = await found(`owner = '${owner}'`);
  expect(inFlight.length).toBeGreaterThan(10);
  for (const [name, its] of Object.entries({ claim: due, settle: inFlight, accept: due })) {
    const reading = await explainer.explainWarm(await record(name, its));
    expect([name, ...faultsOf(reading, {})]).toEqual([name]);
    // Once to lock it and once to change it; an accept looks at none.
    expect([name, reading.taskRows]).toEqual([name, name === "accept" ? 0 : 2 * its.length]);
  }
  await explainer.close();
  await store.close();
});
