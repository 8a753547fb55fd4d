// Goal: every occurrence of every schedule has exactly one task, and none is skipped, while dispatchers are killed at random.
// Method: three dispatchers under 200 schedules of 1 s and 2 s; one after the other is killed and started anew; the tasks are compared
// with the occurrences by query.

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { sized } from "../support/size.ts";
import { randomOf } from "../store/store.ts";
import { rowsOf } from "./held.ts";
import { hostNow } from "./host-clock.ts";
import { until } from "./until.ts";
import { makeWorld, testMsMax, type World } from "./world.ts";

const secondMs = 1_000;
const schedulesCount = 200;
const killingMs = sized({ usual: 18 * secondMs, long: 60 * secondMs });
/** Between two kills, at most; a dispatcher is away for as long as it takes to start. */
const pauseMsMax = 1_500;
/** For what the last one that was killed had in flight. */
const settleMsMax = 60_000;
const seed = Math.floor(hostNow());

test("200 schedules lose and repeat nothing while dispatchers are killed", { timeout: 2 * testMsMax }, async () => {
  console.log(`seed ${seed}`);
  const world = await makeWorld();
  await world.start("api");
  const startAt = Math.ceil(hostNow() / secondMs) * secondMs + 5 * secondMs;
  const endAt = startAt + killingMs;
  for (let i = 0; i < schedulesCount; i += 1) await make(world, { i, startAt, endAt });
  const killed = await killAtRandom(world, endAt);
  expect(killed).toBeGreaterThan(3);

  const counted = () => rowsOf<{ count: number }>(world.databaseUrl, liveText);
  await until(async () => (await counted())[0]?.count === 0, settleMsMax, "every occurrence is made and has ended");
  expect(await rowsOf(world.databaseUrl, wrongText)).toEqual([]);
  const audit = JSON.parse((await world.caller.call("GET", "/v1/audit")).body) as Record<string, unknown>;
  expect(audit).toMatchObject({ balanced: true, overdueCount: 0 });
});

interface Made {
  readonly i: number;
  readonly startAt: number;
  readonly endAt: number;
}

async function make({ caller, receiver }: World, { i, startAt, endAt }: Made): Promise<void> {
  const [from, to] = [startAt, endAt].map((at) => new Date(at).toISOString());
  const trigger = { type: "interval", every: i % 2 === 0 ? "1s" : "2s", startAt: from, endAt: to };
  const schedule = { name: `s-${i}`, url: receiver.url, queue: `q-${i % 4}`, trigger, maxInstances: 1_000 };
  expect((await caller.call("POST", "/v1/schedules", schedule)).status).toBe(201);
}

/** Resolves to how many were killed; at the end three live. */
async function killAtRandom(world: World, endAt: number): Promise<number> {
  const random = randomOf(seed);
  const living = await Promise.all([1, 2, 3].map(() => world.start("dispatcher")));
  let killed = 0;
  for (; hostNow() < endAt; killed += 1) {
    await sleep(random() * pauseMsMax);
    const [doomed] = living.splice(Math.floor(random() * living.length), 1);
    await doomed?.end();
    living.push(await world.start("dispatcher"));
  }
  return killed;
}

/** What is to come still: occurrences not made, and tasks that have not ended. */
const liveText = `select (select count(*) from lapse.tasks where state in ('scheduled', 'paused', 'running'))::int
  + (select count(*) from lapse.schedules where state = 'active')::int as count`;

/** Occurrences that have another number of tasks than one, and tasks of what was no occurrence. */
const wrongText = `
  with expected as (
    select s.id, s.name, to_timestamp(ms / 1000.0) as at
    from lapse.schedules s, generate_series(
      (s.trigger ->> 'startAt')::bigint, (s.trigger ->> 'endAt')::bigint, (s.trigger ->> 'everyMs')::bigint) as ms
  )
  select e.name, e.at, t.at as made, coalesce(t.count, 0) as count
  from expected e
  full join (
    select schedule_id, occurrence_at as at, count(*)::int as count from lapse.tasks where occurrence_at is not null group by 1, 2
  ) t on t.schedule_id = e.id and t.at = e.at
  where coalesce(t.count, 0) <> 1 or e.id is null limit 10`;
