// Owns the facts about the outbox: what is written with a change and what is not, the order in which it is passed on, and how long it is kept.

import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { beginListening } from "../../src/events/recording.ts";
import { createLog } from "../../src/runtime/log.ts";
import { createOriginRecorder } from "../../src/dispatch/origin-events.ts";
import { holdOverdue, rampOverdue } from "../../src/store/catch-up.ts";
import { takeOver } from "../../src/store/owners.ts";
import { until } from "../support/flow.ts";
import { isKept, keepRecording, readEvents, readNow, recordEvents, removeOldEvents } from "../../src/store/events.ts";
import { openStore } from "../store/store.ts";

const store = await openStore();
const { database } = store;
afterAll(() => store.close());

const rowsMax = 10;
const silence = "update lapse.event_recording set recorded_until = '-infinity', began_at = '-infinity'";
const countRows = async (): Promise<number> =>
  Number((await store.query<{ count: string }>("select count(*) from lapse.events"))[0]?.count);
const read = (after: Awaited<ReturnType<typeof readNow>>) =>
  database.query((connection) => readEvents(connection, after, rowsMax));
const begin = () => beginListening(database);

beforeEach(async () => {
  await store.query("delete from lapse.events");
  await store.query(silence);
});

describe("recording", () => {
  test("writes nothing while nobody listens, and again nothing a day after", async () => {
    const id = await store.insert();
    await store.query("update lapse.tasks set state = 'paused' where id = $1", [id]);
    await database.query((connection) =>
      recordEvents(connection, [{ type: "origin.parked", queue: null, taskId: null, key: null, data: {} }]),
    );
    expect(await countRows()).toBe(0);
    await begin();
    await store.insert();
    expect(await countRows()).toBe(1);
    const [row] = await store.query<{ hours: number }>(
      "select round(extract(epoch from recorded_until - now()) / 3600)::int as hours from lapse.event_recording",
    );
    expect(row?.hours).toBe(25);
    await store.query("update lapse.event_recording set recorded_until = clock_timestamp()");
    await store.insert();
    expect(await countRows()).toBe(1);
  });

  test("leaves nothing of a change that was rolled back", async () => {
    const after = await begin();
    const stranger = await store.stranger();
    const id = await store.insert();
    await stranger.query("begin");
    await stranger.query("update lapse.tasks set state = 'paused', version = version + 1 where id = $1", [id]);
    await stranger.query("rollback");
    const { events } = await read(after);
    expect(events.map(({ type, taskId }) => [type, taskId])).toEqual([["task.created", id]]);
    await stranger.end();
  });

  test("does not begin before a transaction is over that saw nobody listen", async () => {
    const stranger = await store.stranger();
    await stranger.query("begin");
    const id = await store.insert();
    await stranger.query("update lapse.tasks set state = 'paused', version = version + 1 where id = $1", [id]);
    let isBegun = false;
    const beginning = begin().then((position) => {
      isBegun = true;
      return position;
    });
    // Another who comes meanwhile waits as well, although recording is on by then.
    const other = begin();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(isBegun).toBe(false);
    await stranger.query("commit");
    const after = await beginning;
    await other;
    await store.query("update lapse.tasks set state = 'scheduled', version = version + 1 where id = $1", [id]);
    expect((await read(after)).events.map(({ type }) => type)).toEqual(["task.resumed"]);
    await stranger.end();
  });

  test("tells nothing of Lapse's own queues, of tombstones, or of what is put off", async () => {
    const after = await begin();
    const own = await store.insert({ queue: "lapse:events:1" });
    await store.query("update lapse.tasks set state = 'paused', version = version + 1 where id = $1", [own]);
    await store.insert({ state: "tombstone", key: "k" });
    const id = await store.insert({ dueInMs: -1_000 });
    await store.query(
      "update lapse.tasks set next_attempt_at = now() + interval '1 minute', updated_at = now() where id = $1",
      [id],
    );
    await store.query("update lapse.queues set paused = true where name = 'lapse:events:1'");
    await store.query("update lapse.queues set concurrency = 7 where name = 'default'");
    expect((await read(after)).events.map(({ taskId }) => taskId)).toEqual([id]);
  });

  test("tells of a queue that is paused and resumed, and that begins paused", async () => {
    const after = await begin();
    await store.query("update lapse.queues set paused = true where name = 'default'");
    await store.query("update lapse.queues set paused = true where name = 'default'");
    await store.query("update lapse.queues set paused = false where name = 'default'");
    await store.query("insert into lapse.queues (name, paused) values ('new', true), ('other', false)");
    expect((await read(after)).events.map(({ type, queue }) => `${queue} ${type}`)).toEqual([
      "default queue.paused",
      "default queue.resumed",
      "new queue.paused",
    ]);
  });

  test("tells of an attempt that was lost, and of the one that takes its place", async () => {
    const after = await begin();
    const [dead, owner] = [await store.dispatcher(), await store.dispatcher()];
    const [goesOn, once] = await store.claimed(dead, {}, { delivery: "at-most-once" });
    await store.share("default", dead, 2);
    await store.query("update lapse.dispatchers set dead_at = clock_timestamp() where id = $1", [dead]);
    await takeOver(database, dead, owner);
    const types = (await read(after)).events
      .slice(-4)
      .map(({ type, taskId, data }) => [taskId, type, data["attempt"], data["outcome"]]);
    expect(types).toEqual([
      [goesOn?.id, "task.attempt-failed", 1, "lost"],
      [goesOn?.id, "task.started", 2, null],
      [once?.id, "task.attempt-failed", 1, "lost"],
      [once?.id, "task.failed", 1, "lost"],
    ]);
  });

  test("tells of what a start after a long stop holds back, and not of what it spreads", async () => {
    const after = await begin();
    const [old, recent] = [await store.insert({ dueInMs: -7_200_000 }), await store.insert({ dueInMs: -600_000 })];
    await store.query("insert into lapse.heartbeat (beaten_at) values (now() - interval '2 hours')");
    await holdOverdue(database, 3_600_000);
    expect(await rampOverdue(database)).toBeGreaterThan(0);
    const told = (await read(after)).events.filter(({ taskId }) => taskId === old || taskId === recent);
    expect(told.map(({ type, taskId }) => [type, taskId])).toEqual([
      ["task.created", old],
      ["task.created", recent],
      ["task.paused", old],
    ]);
    await store.query("delete from lapse.heartbeat");
  });

  test("tells of origins that are parked and resumed, in that order", async () => {
    const after = await begin();
    const record = createOriginRecorder(database, createLog("silent"));
    record("https://shop.example", "parked");
    record("https://shop.example", "resumed");
    const events = await until(
      async () => (await read(after)).events,
      ({ length }) => length === 2,
    );
    expect(events.map(({ type, queue, data }) => [type, queue, data["origin"]])).toEqual([
      ["origin.parked", null, "https://shop.example"],
      ["origin.resumed", null, "https://shop.example"],
    ]);
  });

  test("cuts what one statement did into rows of 500 events", async () => {
    const after = await begin();
    await store.insertMany(1_001);
    expect(await countRows()).toBe(3);
    const { events } = await read(after);
    expect(events).toHaveLength(1_001);
    expect(new Set(events.map(({ id }) => id)).size).toBe(1_001);
  });

  test("takes whatever SQL has left in a row", async () => {
    const after = await begin();
    const id = await store.insert({ due_at: "infinity", next_attempt_at: "-infinity", labels: '["no", "labels"]' });
    await store.query(
      "update lapse.tasks set state = 'paused', version = version + 1, due_at = '294276-12-31' where id = $1",
      [id],
    );
    expect((await read(after)).events).toHaveLength(3);
  });
});

describe("passing on", () => {
  test("waits for a slow commit, so that it never lands behind a reader's place", async () => {
    const start = await begin();
    const slow = await store.stranger();
    await slow.query("begin");
    const first = await store.insert();
    await slow.query("update lapse.tasks set state = 'paused', version = version + 1 where id = $1", [first]);
    const before = await read(start);
    expect(before.events.map(({ type }) => type)).toEqual(["task.created"]);
    const second = await store.insert();
    const held = await read(before.end);
    expect(held.events).toEqual([]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await read(held.end)).heldMs).toBeGreaterThan(0);
    await slow.query("commit");
    const after = await read(held.end);
    expect(after.events.map(({ type, taskId }) => [type, taskId])).toEqual([
      ["task.paused", first],
      ["task.created", second],
    ]);
    expect((await read(after.end)).events).toEqual([]);
    await slow.end();
  });

  test("does not wait for a transaction of another database", async () => {
    const start = await begin();
    const { default: pg } = await import("pg");
    const url = new URL(store.url);
    url.pathname = "/postgres";
    const elsewhere = new pg.Client({ connectionString: url.href });
    await elsewhere.connect();
    await elsewhere.query("begin");
    await elsewhere.query("select pg_current_xact_id()");
    const id = await store.insert();
    expect((await read(start)).events.map(({ taskId }) => taskId)).toEqual([id]);
    await elsewhere.query("rollback");
    await elsewhere.end();
  });

  test("goes on within a row, and page by page", async () => {
    const start = await begin();
    const ids = await store.insertMany(3);
    for (let i = 0; i < rowsMax; i += 1) ids.push(await store.insert());
    const all: (string | null)[] = [];
    const first = await read(start);
    expect(first.isFull).toBe(true);
    const [one] = first.events;
    all.push(one?.taskId ?? null);
    for (let place = one?.place ?? start; ; ) {
      const page = await read(place);
      all.push(...page.events.map(({ taskId }) => taskId));
      place = page.end;
      if (!page.isFull) break;
    }
    expect(all).toEqual(ids);
  });
});

describe("a place", () => {
  test("is known for a day; then it is removed, and none after it is known any more", async () => {
    const start = await begin();
    await store.insert();
    const { events } = await read(start);
    await store.insert();
    const place = events[0]?.place ?? start;
    const kept = () => database.query((connection) => isKept(connection, place));
    expect(await database.query((connection) => removeOldEvents(connection, rowsMax))).toBe(0);
    await store.query("update lapse.events set created_at = now() - interval '23 hours 59 minutes'");
    expect(await database.query((connection) => removeOldEvents(connection, rowsMax))).toBe(0);
    expect(await kept()).toBe(true);
    await store.query("update lapse.events set created_at = now() - interval '24 hours 1 second'");
    expect(await kept()).toBe(false);
    expect(await database.query((connection) => removeOldEvents(connection, rowsMax))).toBe(0);
    await store.query("update lapse.events set created_at = now() - interval '24 hours 10 minutes 1 second'");
    expect(await database.query((connection) => removeOldEvents(connection, rowsMax))).toBe(2);
    expect(await kept()).toBe(false);
    const now = await database.query(readNow);
    expect(await database.query((connection) => isKept(connection, now))).toBe(true);
  });

  test("is not known across a time in which nothing was recorded, nor one that is yet to come", async () => {
    await begin();
    const place = await database.query(readNow);
    await store.query(silence);
    await store.insert();
    await database.query(keepRecording);
    expect(await database.query((connection) => isKept(connection, place))).toBe(false);
    const ahead = { ...place, xid: place.xid + 1_000_000 };
    expect(await database.query((connection) => isKept(connection, ahead))).toBe(false);
  });
});
