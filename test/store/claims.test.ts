// Owns the facts about the claim: what it wins, by whose clock, and that nobody else wins it too.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { claim, readClaimed, readOwned, readStanding } from "../../src/store/claims.ts";
import { Database } from "../../src/store/database.ts";
import { createLog } from "../../src/runtime/log.ts";
import { openStore, randomOf, until } from "./store.ts";

const hourMs = 3_600_000;
const store = await openStore();
const { database } = store;
let owner = "";

beforeAll(async () => {
  owner = await store.dispatcher();
});
afterAll(() => store.close());

async function claimedIds(ids: readonly string[], by = owner): Promise<string[]> {
  return (await claim(database, by, ids)).claimed.map((task) => task.id);
}

describe("a claim", () => {
  test("makes a due task its owner's, as its next attempt", async () => {
    const id = await store.insert({ attempts: 2, attempts_before: 1, attempts_at_due: 2, payload: "1.10" });
    const beganAt = Date.now();
    const { claimed } = await claim(database, owner, [id]);
    expect(claimed).toMatchObject([{ id, attempt: 3, attemptsBefore: 1, body: { kind: "payload", json: "1.10" } }]);
    const row = await store.read(id);
    expect(row).toMatchObject({ state: "running", attempts: 3, owner, version: 2 });
    expect(row.attempt_started_at).toBeGreaterThanOrEqual(beganAt);
    expect(row.attempt_started_at).toBeLessThanOrEqual(Date.now());
  });

  test.each(["paused", "running", "succeeded", "failed", "cancelled", "missed", "tombstone"] as const)(
    "leaves a %s task as it is",
    async (state) => {
      const id = await store.insert({ state, key: uuidv7() });
      const before = await store.read(id);
      expect(await claimedIds([id])).toEqual([]);
      expect(await store.read(id)).toEqual(before);
    },
  );

  test("wins a task only once it is due by the clock of Postgres", async () => {
    const [id] = (
      await store.query<{ id: string }>(
        `update lapse.tasks set next_attempt_at = clock_timestamp() + interval '80 ms' where id = $1 returning id`,
        [await store.insert()],
      )
    ).map((row) => row.id);
    let refusals = 0;
    await until(
      async () => {
        const won = await claimedIds([id ?? ""]);
        if (won.length === 0) refusals += 1;
        return won;
      },
      (won) => won.length === 1,
    );
    expect(refusals).toBeGreaterThan(0);
    const [row] = await store.query<{ early: boolean }>(
      "select attempt_started_at < next_attempt_at as early from lapse.tasks where id = $1",
      [id],
    );
    expect(row).toEqual({ early: false });
  });

  test("wins nothing of a paused queue", async () => {
    const id = await store.insert({ queue: "halted" });
    await store.query("update lapse.queues set paused = true where name = 'halted'");
    expect(await claimedIds([id])).toEqual([]);
    await store.query("update lapse.queues set paused = false where name = 'halted'");
    expect(await claimedIds([id])).toEqual([id]);
  });

  test.each(["dead", "buried"] as const)("of a %s owner wins nothing", async (standing) => {
    const id = await store.insert();
    expect(await claimedIds([id], standing === "dead" ? await store.dispatcher("dead") : uuidv7())).toEqual([]);
    expect(await store.read(id)).toMatchObject({ state: "scheduled", attempts: 0 });
  });

  test("counts lateness from the due time for the first attempt since it was set", async () => {
    const at = new Date(Date.now() - hourMs).toISOString();
    const id = await store.insert({ due_at: at, dueInMs: -hourMs, attempts: 4, attempts_at_due: 4 });
    const { claimed } = await claim(database, owner, [id]);
    expect(claimed[0]?.latenessMs).toBeGreaterThanOrEqual(hourMs);
  });

  test("counts lateness from the next attempt's time for later ones", async () => {
    const id = await store.insert({
      due_at: new Date(Date.now() - hourMs).toISOString(),
      dueInMs: -1_000,
      attempts: 1,
    });
    const { claimed } = await claim(database, owner, [id]);
    expect(claimed[0]?.latenessMs).toBeGreaterThanOrEqual(1_000);
    expect(claimed[0]?.latenessMs).toBeLessThan(hourMs);
  });
});

describe("a task found later than its misfire grace", () => {
  test("ends missed, without an attempt", async () => {
    const id = await store.insert({ dueInMs: -5_000, misfire_grace_ms: 1_000 });
    expect(await claim(database, owner, [id])).toEqual({ claimed: [], ended: [id] });
    const row = await store.read(id);
    expect(row).toMatchObject({ state: "missed", attempts: 0, owner: null, lateness_ms: null });
    expect(row.finished_at).not.toBeNull();
    expect(await store.attempts(id)).toEqual([]);
  });

  test("is claimed within its grace", async () => {
    const id = await store.insert({ dueInMs: -5_000, misfire_grace_ms: 60_000 });
    expect(await claimedIds([id])).toEqual([id]);
  });

  test("is not judged again after its first attempt", async () => {
    const id = await store.insert({ dueInMs: -5_000, misfire_grace_ms: 1_000, attempts: 1 });
    expect(await claimedIds([id])).toEqual([id]);
  });

  test("is judged anew once its due time was set again", async () => {
    const id = await store.insert({ dueInMs: -5_000, misfire_grace_ms: 1_000, attempts: 1, attempts_at_due: 1 });
    expect((await claim(database, owner, [id])).ended).toEqual([id]);
  });
});

describe("claims at once", () => {
  test("never win a task twice, and leave none", async () => {
    const seed = 7;
    const random = randomOf(seed);
    const other = new Database(store.url, createLog("silent"));
    const rival = await store.dispatcher();
    const faults: string[] = [];
    for (let round = 0; round < 100; round += 1) {
      const ids = await store.insertMany(20);
      const shuffled = ids.toSorted(() => random() - 0.5);
      const [one, two] = await Promise.all([claim(database, owner, ids), claim(other, rival, shuffled)]);
      const won = [...one.claimed, ...two.claimed].map((task) => task.id);
      if (won.toSorted().join() !== ids.toSorted().join()) faults.push(`round ${round} of seed ${seed}: ${won.join()}`);
    }
    await other.close();
    expect(faults).toEqual([]);
  });

  test("pass over a row that a stranger holds, and win it afterwards", async () => {
    const [held, free] = (await store.insertMany(2)) as [string, string];
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [held]);
    expect(await claimedIds([held, free])).toEqual([free]);
    await stranger.query("rollback");
    expect(await claimedIds([held])).toEqual([held]);
  });
});

describe("what stands", () => {
  test("tells of each row its state, owner, time and whether its queue is paused", async () => {
    const [task] = await store.claimed(owner, {});
    const waiting = await store.insert({ queue: "stopped", dueInMs: hourMs });
    await store.query("update lapse.queues set paused = true where name = 'stopped'");
    const standing = await database.query((connection) =>
      readStanding(connection, [task?.id ?? "", waiting, uuidv7()]),
    );
    const byState = new Map(standing.map((row) => [row.state, row]));
    expect(byState.size).toBe(2);
    expect(byState.get("running")).toMatchObject({
      id: task?.id,
      attempts: 1,
      owner,
      isDue: true,
      isQueuePaused: false,
    });
    expect(byState.get("scheduled")).toMatchObject({
      id: waiting,
      attempts: 0,
      owner: null,
      isDue: false,
      isQueuePaused: true,
    });
  });

  test("tells an owner what it has in flight, as it was claimed", async () => {
    const mine = await store.dispatcher();
    const claimed = await store.claimed(mine, {}, { queue: "elsewhere" });
    const [others] = await store.claimed(await store.dispatcher(), {});
    const owned = await database.query((connection) => readOwned(connection, mine));
    expect(new Map(owned.map(({ id, attempt }) => [id, attempt]))).toEqual(new Map(claimed.map(({ id }) => [id, 1])));
    const ids = [...owned.map(({ id }) => id), others?.id ?? ""];
    const read = await database.query((connection) => readClaimed(connection, mine, ids));
    expect(read.toSorted((a, b) => a.id.localeCompare(b.id))).toEqual(claimed);
  });
});
