// Owns the facts about what runs beside everything else.

import { afterAll, expect, test } from "vitest";
import { Maintenance } from "../src/maintenance.ts";
import { Clock } from "../src/runtime/clock.ts";
import { createLog } from "../src/runtime/log.ts";
import { openStore, until } from "./store/store.ts";

const store = await openStore();
afterAll(() => store.close());

function startMaintenance(): Maintenance {
  const maintenance = new Maintenance({
    database: store.database,
    clock: new Clock(),
    log: createLog("silent"),
    retentionMs: 3_600_000,
    isDispatching: true,
  });
  maintenance.start();
  return maintenance;
}

test("a key that has expired is removed, and no other", async () => {
  await store.query(
    `insert into lapse.api_keys (id, name, scopes, digest, created_by, expires_at)
     select name, name, '{tasks:read}', sha256('k'), 'root', expires_at
     from (values ('expired', now()), ('good', now() + interval '1 hour'), ('endless', null)) keys (name, expires_at)`,
  );
  const maintenance = startMaintenance();
  const left = await until(
    () => store.query<{ id: string }>("select id from lapse.api_keys order by id"),
    (rows) => rows.length <= 2,
  );
  await maintenance.stop();
  expect(left.map(({ id }) => id)).toEqual(["endless", "good"]);
});

test("whatever ended longer ago than tasks are kept is removed in one go, however much it is", async () => {
  for (let made = 0; made < 1_600; made += 400)
    await store.insertMany(400, { state: "succeeded", finished_at: "2026-01-01T00:00:00Z" });
  const recent = await store.insert({ state: "succeeded" });
  const maintenance = startMaintenance();
  const left = await until(
    () => store.query<{ id: string }>("select id from lapse.tasks"),
    (rows) => rows.length <= 1,
  );
  await maintenance.stop();
  expect(left).toEqual([{ id: recent }]);
  const tallies = await store.query("select sum(count)::int as pruned from lapse.tallies where kind = 'pruned'");
  expect(tallies).toEqual([{ pruned: 1_600 }]);
});
