// Owns the facts about a start after a gap: what LAPSE_CATCH_UP holds back, and what lets it go.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { beat, countHeld, holdOverdue, rampOverdue } from "../../src/store/catch-up.ts";
import { resumeTask } from "../../src/store/changes.ts";
import { openStore, type TestStore } from "./store.ts";

const hourMs = 3_600_000;
let store: TestStore;

beforeAll(async () => {
  store = await openStore();
});
afterAll(() => store.close());

async function lastBeat(agoMs: number): Promise<void> {
  await store.database.query(beat);
  await store.query("update lapse.heartbeat set beaten_at = clock_timestamp() - $1 * interval '1 millisecond'", [
    agoMs,
  ]);
}

describe("a start after a gap", () => {
  test("holds nothing on a database that no dispatcher has lived on", async () => {
    const id = await store.insert({ dueInMs: -3 * hourMs });
    expect(await holdOverdue(store.database, hourMs)).toBe(0);
    expect((await store.read(id)).state).toBe("scheduled");
    await store.query("delete from lapse.tasks");
  });

  test("holds nothing while another dispatcher lives", async () => {
    await lastBeat(0);
    const id = await store.insert({ dueInMs: -3 * hourMs });
    expect(await holdOverdue(store.database, hourMs)).toBe(0);
    expect((await store.read(id)).state).toBe("scheduled");
    await store.query("delete from lapse.tasks");
  });

  test("pauses what is overdue by more, and leaves the rest", async () => {
    await lastBeat(24 * hourMs);
    const old = await store.insert({ dueInMs: -2 * hourMs });
    const recent = await store.insert({ dueInMs: -hourMs / 2 });
    const waiting = await store.insert({ dueInMs: hourMs });
    expect(await holdOverdue(store.database, hourMs)).toBe(1);
    expect((await store.read(old)).state).toBe("paused");
    expect((await store.read(recent)).state).toBe("scheduled");
    expect((await store.read(waiting)).state).toBe("scheduled");
    expect(await store.database.query(countHeld)).toBe(1);

    const resumed = await store.database.query((connection) => resumeTask(connection, old));
    expect(resumed).toMatchObject({ state: "scheduled", held: false });
    expect(await store.database.query(countHeld)).toBe(0);
  });

  test("spreads what is overdue so that its drain begins slowly and grows, in due order", async () => {
    await store.query("delete from lapse.tasks");
    await lastBeat(300_000);
    await store.insertMany(2_500, { dueInMs: -hourMs });
    await store.insertMany(2_500, { dueInMs: -hourMs });
    await store.insertMany(10, { dueInMs: -2 * hourMs });
    const other = await store.insert({ queue: "other", dueInMs: -hourMs });
    const waiting = await store.insert({ dueInMs: hourMs });
    const paused = await store.insert({ dueInMs: -hourMs, state: "paused" });
    const before = await Promise.all([waiting, paused].map((id) => store.read(id)));

    expect(await rampOverdue(store.database)).toBe(5_011);
    expect(await Promise.all([waiting, paused].map((id) => store.read(id)))).toEqual(before);
    const [inSeconds] = await store.query<Record<string, number>>(
      `select count(*) filter (where after < 1.02)::int as one, count(*) filter (where after < 10.02)::int as ten, max(after)::float8 as last
       from (select extract(epoch from next_attempt_at - min(updated_at) over ()) as after
         from lapse.tasks where queue = 'default' and state = 'scheduled' and next_attempt_at < now() + interval '30 minutes') t`,
    );
    expect(inSeconds).toEqual({
      one: expect.closeTo(10, -1),
      ten: expect.closeTo(1_000, -1.7),
      last: expect.closeTo(22.4, 0),
    });
    const [first] = await store.query<Record<string, number>>(
      "select count(*) filter (where due_at < now() - interval '90 minutes')::int as oldest from (select due_at from lapse.tasks where queue = 'default' and state = 'scheduled' order by next_attempt_at limit 10) t",
    );
    expect(first).toEqual({ oldest: 10 });
    const alone = await store.read(other);
    expect(alone).toMatchObject({ version: 1, attempts: 0 });
    expect(alone.next_attempt_at - alone.updated_at).toBeLessThan(400);
    await lastBeat(0);
    expect(await rampOverdue(store.database)).toBe(0);
  });

  test("leaves what is overdue after a mere restart to be fired at once", async () => {
    await store.query("delete from lapse.tasks");
    await lastBeat(290_000);
    const id = await store.insert({ dueInMs: -hourMs });
    const before = await store.read(id);
    expect(await rampOverdue(store.database)).toBe(0);
    expect(await store.read(id)).toEqual(before);
  });
});
