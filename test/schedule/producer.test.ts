// Owns the facts about the producer on a real database: one task an occurrence whoever makes it, what it sets aside, and what it reads.

import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { Clock } from "../../src/runtime/clock.ts";
import { createLog } from "../../src/runtime/log.ts";
import { Metrics } from "../../src/runtime/metrics.ts";
import { Producer } from "../../src/schedule/producer.ts";
import { takeUpTimeZones } from "../../src/schedule/time-zones.ts";
import { readTime } from "../../src/store/due.ts";
import { coalesceMissed } from "../../src/store/catch-up.ts";
import { claimOccurrences } from "../../src/store/occurrence-claims.ts";
import { readLooks, readNextLookMs } from "../../src/store/occurrences.ts";
import { openStore, until } from "../store/store.ts";
import { scheduleRows, secondMs, tz } from "./schedule-rows.ts";

const store = await openStore();
const { database } = store;
const clock = new Clock();

beforeAll(() => clock.settle(() => readTime(database)));
afterAll(() => store.close());

function produce(random = Math.random, tzVersion = tz): Producer {
  const parts = { database, clock, random, log: createLog("silent"), metrics: new Metrics(), tzVersion };
  const producer = new Producer({ ...parts, onMade: () => undefined });
  producer.start();
  onTestFinished(() => producer.stop());
  return producer;
}

const { schedule, tasksOf, standing, end } = scheduleRows(store);

test("three producers together make one task an occurrence, and skip none", async () => {
  const ids = await Promise.all(Array.from({ length: 30 }, () => schedule()));
  for (let i = 0; i < 3; i += 1) produce();
  for (const id of ids) {
    const tasks = await until(
      () => tasksOf(id),
      (made) => made.length >= 30,
    );
    const first = tasks[0]?.at ?? 0;
    expect(tasks.map(({ at }) => at)).toEqual(tasks.map((_, i) => first + i * secondMs));
    await end(id);
  }
});

test("the index is a second wall: an occurrence has no second task, but for one that was cancelled", async () => {
  const id = uuidv7();
  const at = new Date(0).toISOString();
  const row = { schedule_id: id, occurrence_at: at };
  await store.insert({ ...row, state: "cancelled" });
  await store.insert({ ...row, state: "succeeded" });
  await expect(store.insert(row)).rejects.toMatchObject({ constraint: "tasks_occurrence" });
});

test("of occurrences missed while nobody dispatched the latest becomes a task, or each", async () => {
  const [coalesced, each] = [await schedule({}, 60 * secondMs), await schedule({ coalesce: false }, 60 * secondMs)];
  produce();
  const made = async (id: string) => {
    const tasks = await until(
      () => tasksOf(id),
      (all) => all.length >= 30,
    );
    return tasks.filter(({ at }) => at <= clock.now() - 5 * secondMs).length;
  };
  expect(await made(coalesced)).toBe(0);
  expect(await made(each)).toBeGreaterThanOrEqual(55);
  await Promise.all([coalesced, each].map(end));
});

test("of what was made ahead of a time without dispatchers only the latest occurrence is fired", async () => {
  const [coalesced, each, later] = await Promise.all(
    [{}, { coalesce: false }, {}].map((columns) => schedule(columns, -60 * secondMs)),
  );
  const ids = [coalesced ?? "", each ?? "", later ?? ""];
  await store.query("update lapse.schedules set next_occurrence_at = now() - interval '5 s' where id = $1", [later]);
  const at = (secondsAgo: number): string => new Date(clock.now() - secondsAgo * secondMs).toISOString();
  for (const id of ids)
    for (const ago of [30, 20, 10])
      await store.insert({ schedule_id: id, occurrence_at: at(ago), dueInMs: -ago * secondMs });
  const states = async (id: string) => (await tasksOf(id)).map(({ state }) => state);
  await store.query("insert into lapse.heartbeat (beaten_at) values (now() - interval '5 s')");
  expect(await coalesceMissed(database)).toBe(0);
  await store.query("update lapse.heartbeat set beaten_at = now() - interval '40 s'");
  expect(await coalesceMissed(database)).toBe(5);
  const expected = [
    ["missed", "missed", "scheduled"],
    ["scheduled", "scheduled", "scheduled"],
    ["missed", "missed", "missed"],
  ];
  expect(await Promise.all(ids.map(states))).toEqual(expected);
  await Promise.all(ids.map(end));
});

test("jitter moves due times, by chance and within a second, and never adds up", async () => {
  const id = await schedule({ jitter_ms: 3_600_000 });
  produce();
  const tasks = await until(
    () => tasksOf(id),
    (all) => all.length >= 30,
  );
  expect(tasks.every(({ late }) => late >= 0 && late < secondMs)).toBe(true);
  expect(new Set(tasks.map(({ late }) => late)).size).toBeGreaterThan(10);
  expect(tasks.every(({ at }) => at % secondMs === 0)).toBe(true);
  await end(id);
});

test("a schedule that can bring forth nothing is set aside with a reason, and blocks no other", async () => {
  const damaged = [
    await schedule({ trigger: JSON.stringify({ type: "never" }) }),
    await schedule({ trigger: JSON.stringify({ type: "interval", everyMs: 0, startAt: 0, endAt: null }) }),
    await schedule({ trigger: "null" }),
    await schedule({ retry: "7", method: "x", timeout_ms: null, queue: "odd" }),
  ];
  await store.query(`insert into lapse.queues (name, defaults) values ('odd', '{"timeoutMs":"soon"}')`);
  const well = await schedule();
  produce();
  await until(
    () => tasksOf(well),
    (all) => all.length >= 30,
  );
  for (const id of damaged) {
    const row = await until(
      () => standing(id),
      (one) => one?.state === "ended",
    );
    expect(row?.error).toMatch(/^The schedule can bring forth no task: /);
    expect(await tasksOf(id)).toEqual([]);
  }
  await end(well);
});

test("a schedule that somebody holds is made once they let go, and holds up no other", async () => {
  const [held, free] = [await schedule(), await schedule()];
  const stranger = await store.stranger();
  await stranger.query("begin");
  await stranger.query("select from lapse.schedules where id = $1 for update", [held]);
  produce();
  await until(
    () => tasksOf(free),
    (all) => all.length >= 30,
  );
  expect(await tasksOf(held)).toEqual([]);
  await stranger.query("rollback");
  await until(
    () => tasksOf(held),
    (all) => all.length >= 30,
  );
  await Promise.all([held, free].map(end));
});

test("what an older time-zone database reckoned is reckoned anew, and a newer one left alone", async () => {
  const at = Date.now() + 86_400_000;
  const trigger = JSON.stringify({ type: "date", at, timezone: "UTC" });
  const wrong = { trigger, next_occurrence_at: new Date(at - 3_600_000).toISOString() };
  const lookAt = { look_at: new Date(at - 3_615_000).toISOString() };
  const older = await schedule({ ...wrong, ...lookAt, tz_version: "2025b" });
  const newer = await schedule({ ...wrong, ...lookAt, tz_version: "2026b" });
  await takeUpTimeZones({ database, tzVersion: tz });
  expect(await standing(older)).toMatchObject({ tz_version: tz, next: new Date(at) });
  expect(await standing(newer)).toMatchObject({ tz_version: "2026b", next: new Date(at - 3_600_000) });
  await Promise.all([older, newer].map(end));
});

test("what an older time-zone database made ahead is cancelled where it is no occurrence any more", async () => {
  const at = Date.now() + 20_000;
  const trigger = JSON.stringify({ type: "date", at, timezone: "UTC" });
  const id = await schedule({ trigger, next_occurrence_at: null, tz_version: "2025b" });
  const stale = { schedule_id: id, occurrence_at: new Date(at - 5_000).toISOString(), dueInMs: 15_000 };
  const task = await store.insert(stale);
  await takeUpTimeZones({ database, tzVersion: tz });
  expect((await store.read(task)).state).toBe("cancelled");
  expect(await standing(id)).toMatchObject({ next: new Date(at) });
  await end(id);
});

test("100,000 schedules that wait are not looked at", async () => {
  await store.query(`
    insert into lapse.schedules (id, name, trigger, queue, url, tz_version, next_occurrence_at, look_at, created_at, updated_at)
    select gen_random_uuid(), 'waiting-' || i, '{}', 'default', 'http://shop.example', '${tz}',
      now() + interval '1 day' + i * interval '1 second', now() + interval '1 day' + i * interval '1 second', now(), now()
    from generate_series(1, 100000) as i`);
  await store.query("analyze lapse.schedules");
  const id = await schedule();
  const scanned = async (): Promise<number> => {
    const [row] = await store.query<{ count: number }>(
      `select (seq_tup_read + idx_tup_fetch)::int as count from pg_stat_user_tables where relname = 'schedules'`,
    );
    return row?.count ?? 0;
  };
  const client = await store.stranger();
  const explain = async (text: string): Promise<string> =>
    (await client.query<{ "QUERY PLAN": string }>(`explain ${text}`)).rows.map((row) => row["QUERY PLAN"]).join("\n");
  const looks = `select look_at, id from lapse.schedules where state = 'active' and look_at <= statement_timestamp()
    and (tz_version <= '${tz}' or look_at <= statement_timestamp() - interval '10 s') order by look_at, id limit 100`;
  expect(await explain(looks)).toMatch(/^Limit.*\n\s+->\s+Index (Only )?Scan using schedules_look/);
  const before = await scanned();
  const found = await database.query((connection) => readLooks(connection, { after: null, limit: 100, tzVersion: tz }));
  expect(found.map((look) => look.id)).toEqual([id]);
  await database.query(readNextLookMs);
  expect((await scanned()) - before).toBeLessThan(100);
  await store.query("delete from lapse.schedules");
});

test("the end of a schedule, and an occurrence that is crowded out, are events", async () => {
  await store.query("update lapse.event_recording set recorded_until = now() + interval '1 hour'");
  const owner = await store.dispatcher();
  const id = await schedule({ next_occurrence_at: null, max_instances: 1, look_at: new Date(0).toISOString() });
  await store.insert({ schedule_id: id, occurrence_at: new Date(0).toISOString(), state: "running" });
  const next = await store.insert({ schedule_id: id, occurrence_at: new Date(1_000).toISOString(), key: "k:1" });
  await claimOccurrences(database, { queue: "default", owner, ids: [next], isRated: false });
  produce();
  await until(
    () => standing(id),
    (one) => one?.state === "ended",
  );
  const events = await store.query<{ item: unknown }>(
    `select item from lapse.events, json_array_elements(items::json) as item where item ->> 'type' like 'schedule.%' order by xid, id`,
  );
  const data = { scheduleId: id, name: id };
  expect(events.map(({ item }) => item)).toMatchObject([
    { type: "schedule.max-instances", queue: "default", taskId: next, key: "k:1", data },
    { type: "schedule.ended", queue: "default", taskId: null, data },
  ]);
});
