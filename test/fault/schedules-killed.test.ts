// Goal: every occurrence of every schedule has exactly one task, and none is skipped, while dispatchers are killed at random.
// Method: three dispatchers under 200 schedules of 1 s and 2 s; one after the other is killed and started anew; the tasks are compared
// with the occurrences by query.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { LapseProcess } from "../support/process.ts";
import { sized } from "../support/size.ts";
import { randomOf } from "../store/store.ts";
import { rowsOf } from "./held.ts";
import { hostNow } from "./host-clock.ts";
import { until } from "./until.ts";
import { makeWorld, testMsMax, type World } from "./world.ts";

const secondMs = 1_000;
const schedulesCount = 200;
const killingMs = sized({ usual: 10 * secondMs, long: 60 * secondMs });
const killedMin = 5;
/** Between two kills, at most; a dispatcher is away for as long as it takes to start. */
const pauseMsMax = 1_500;
/** For what the last one that was killed had in flight. */
const settleMsMax = 60_000;
const seed = Math.floor(hostNow());

test("200 schedules lose and repeat nothing while dispatchers are killed", { timeout: 2 * testMsMax }, async () => {
  console.log(`seed ${seed}`);
  const world = await makeWorld();
  await world.start("api");
  const living = await Promise.all([1, 2, 3].map(() => world.start("dispatcher")));
  for (let i = 0; i < schedulesCount; i += 1) await make(world, i);
  const to = hostNow() + killingMs;
  await killAtRandom(world, living, to);

  const unfinished = () => rowsOf<{ count: number }>(world.databaseUrl, unfinishedText(to));
  await until(async () => (await unfinished())[0]?.count === 0, settleMsMax, "every occurrence is made and has ended");
  const [{ occurrences } = { occurrences: 0 }] = await rowsOf<{ occurrences: number }>(
    world.databaseUrl,
    countText(to),
  );
  expect(occurrences).toBeGreaterThan((schedulesCount * killingMs) / secondMs / 2);
  expect(await rowsOf(world.databaseUrl, wrongText(to))).toEqual([]);
  expect(JSON.parse((await world.caller.call("GET", "/v1/audit")).body)).toMatchObject({ balanced: true });
});

/** Without an end, so that occurrences are made, 30 s ahead of them, all the while; each is made, however late that is. */
async function make({ caller, receiver }: World, i: number): Promise<void> {
  const trigger = { type: "interval", every: i % 2 === 0 ? "1s" : "2s" };
  const more = { coalesce: false, maxInstances: 1_000 };
  const schedule = { name: `s-${i}`, url: receiver.url, queue: `q-${i % 4}`, trigger, ...more };
  expect((await caller.call("POST", "/v1/schedules", schedule)).status).toBe(201);
}

/** Until the instant, and on a slow machine until some were killed; at the end as many live as before. */
async function killAtRandom(world: World, living: LapseProcess[], to: number): Promise<void> {
  const random = randomOf(seed);
  for (let killed = 0; hostNow() < to || killed < killedMin; killed += 1) {
    await sleep(random() * pauseMsMax);
    const [doomed] = living.splice(Math.floor(random() * living.length), 1);
    await doomed?.end();
    living.push(await world.start("dispatcher"));
  }
}

/** Occurrences up to an instant that are not made, and their tasks that have not ended. */
const unfinishedText = (to: number) => `
  select (select count(*) from lapse.tasks where state in ('scheduled', 'paused', 'running') and occurrence_at <= ${instant(to)})::int
    + (select count(*) from lapse.schedules where next_occurrence_at <= ${instant(to)})::int as count`;

const expectedText = (to: number) => `
  select s.id, s.name, to_timestamp(ms / 1000.0) as at
  from lapse.schedules s, generate_series(
    (s.trigger ->> 'startAt')::bigint, ${Math.floor(to)}, (s.trigger ->> 'everyMs')::bigint) as ms`;

const countText = (to: number) => `select count(*)::int as occurrences from (${expectedText(to)}) as expected`;

/** Occurrences that have another number of tasks than one, and tasks of what was no occurrence. */
const wrongText = (to: number) => `
  select e.name, e.at, t.at as made, coalesce(t.count, 0) as count
  from (${expectedText(to)}) as e
  full join (
    select schedule_id, occurrence_at as at, count(*)::int as count
    from lapse.tasks where occurrence_at <= ${instant(to)} group by 1, 2
  ) t on t.schedule_id = e.id and t.at = e.at
  where coalesce(t.count, 0) <> 1 or e.id is null limit 10`;

function instant(ms: number): string {
  return `to_timestamp(${Math.floor(ms)} / 1000.0)`;
}
