// Owns the facts about a start after a gap: what LAPSE_CATCH_UP holds back, and what lets it go.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { beat, countHeld, holdOverdue } from "../../src/store/catch-up.ts";
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
});
