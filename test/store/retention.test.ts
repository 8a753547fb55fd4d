// Owns the facts about what is removed, and that the audit balances before and after.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { insertArrivals } from "../../src/store/accept.ts";
import { readAudit } from "../../src/store/audit.ts";
import { cancelTasksById } from "../../src/store/cancel.ts";
import { retryTask } from "../../src/store/changes.ts";
import { foldTallies, pruneEnded, removeSpentTombstones } from "../../src/store/retention.ts";
import { settleAttempts } from "../../src/store/settle.ts";
import { arrival, openStore, settlingOf } from "./store.ts";
import { claim } from "../../src/store/claims.ts";

/** As in src/store/retention.ts. */
const talliesFoldedMax = 10_000;
/** While its answer is waited for. */
const later = Date.now() + 3_600_000;

const hourMs = 3_600_000;
const store = await openStore();
const { database } = store;
afterAll(() => store.close());

beforeEach(async () => {
  await store.query("truncate lapse.tasks, lapse.attempts, lapse.tallies");
});

const prune = async (limit: number, retentionMs = hourMs, from: number | null = null) =>
  (await pruneEnded(database, uuidv7(), { retentionMs, limit, from })).count;

/** Accepts tasks as a flush does, fires them all, and ends them that many hours ago, the first the longest. */
async function fired(count: number): Promise<string[]> {
  const owner = await store.dispatcher();
  const arrivals = Array.from({ length: count }, () => arrival());
  await insertArrivals(database, arrivals, { notAfter: later });
  const made = arrivals.map(({ id }) => id);
  await store.query("update lapse.tasks set next_attempt_at = now() where id = any($1)", [made]);
  const { claimed } = await claim(database, owner, made);
  await settleAttempts(
    database,
    claimed.map((task) => settlingOf(task, owner)),
  );
  for (const [i, id] of made.entries())
    await store.query("update lapse.tasks set finished_at = now() - $2 * interval '1 hour' where id = $1", [
      id,
      count - i + 1,
    ]);
  return made;
}

async function ids(table: "tasks" | "attempts"): Promise<string[]> {
  const column = table === "tasks" ? "id" : "task_id";
  const rows = await store.query<{ id: string }>(`select ${column} as id from lapse.${table} order by 1`);
  return rows.map((row) => row.id);
}

async function counts(): Promise<object | undefined> {
  const { balanced, queues } = await readAudit(database);
  const audit = queues.find(({ queue }) => queue === "default");
  return { balanced, accepted: audit?.accepted, live: audit?.live, succeeded: audit?.succeeded, pruned: audit?.pruned };
}

describe("retention", () => {
  test("removes the oldest ended tasks, with their attempts, and counts them", async () => {
    const tasks = await fired(4);
    expect(await counts()).toEqual({ balanced: true, accepted: 4, live: 0, succeeded: 4, pruned: 0 });
    expect(await prune(3)).toBe(3);
    expect(await ids("tasks")).toEqual(tasks.slice(3));
    expect(await ids("attempts")).toEqual(tasks.slice(3));
    expect(await counts()).toEqual({ balanced: true, accepted: 4, live: 0, succeeded: 1, pruned: 3 });
  });

  test("looks for nothing that ended before the time it is given, and tells when the last that it removed had ended", async () => {
    const [oldest, next] = await fired(3);
    const [row] = await store.query<{ at: number }>(
      "select floor(extract(epoch from finished_at) * 1000)::float8 as at from lapse.tasks where id = $1",
      [next],
    );
    const request = { retentionMs: hourMs, limit: 1, from: row?.at ?? null };
    expect(await pruneEnded(database, uuidv7(), request)).toEqual({ count: 1, lastEndedAt: row?.at });
    expect(await prune(10, hourMs, row?.at)).toBe(1);
    expect(await ids("tasks")).toEqual([oldest]);
    expect(await prune(10)).toBe(1);
  });

  test("keeps what ended within its time, and what is live", async () => {
    await fired(1);
    await insertArrivals(database, [arrival()], { notAfter: later });
    expect(await prune(10, 24 * hourMs)).toBe(0);
    expect(await counts()).toEqual({ balanced: true, accepted: 2, live: 1, succeeded: 1, pruned: 0 });
  });

  test("never removes a task that is retried at the same time", async () => {
    const faults: unknown[] = [];
    const old = Array.from({ length: 20 }, () => arrival());
    await insertArrivals(database, old, { notAfter: later });
    await store.query("update lapse.tasks set state = 'failed', finished_at = now() - interval '2 hours'");
    const [retried] = await Promise.all([
      Promise.all(old.map(({ id }) => database.query((connection) => retryTask(connection, id)))),
      prune(7),
      prune(7),
    ]);
    const left = await ids("tasks");
    for (const [i, { id }] of old.entries())
      if (retried[i] !== null && !left.includes(id)) faults.push(`${id} was retried, and is gone`);
    expect(faults).toEqual([]);
    expect(await counts()).toMatchObject({ balanced: true, accepted: 20 });
  });

  test("passes over a row that a stranger holds", async () => {
    const [held, free] = await fired(2);
    const stranger = await store.stranger();
    await stranger.query("begin");
    await stranger.query("select from lapse.tasks where id = $1 for update", [held]);
    expect(await prune(10)).toBe(1);
    expect(await ids("tasks")).toEqual([held]);
    await stranger.query("rollback");
    expect(free).not.toBe(held);
  });

  test("of two at once counts each task once", async () => {
    await fired(30);
    const pruned = await Promise.all([prune(20), prune(20), prune(20)]);
    expect(pruned.reduce((sum, count) => sum + count, 0)).toBe(30);
    expect(await counts()).toEqual({ balanced: true, accepted: 30, live: 0, succeeded: 0, pruned: 30 });
  });
});

describe("the audit", () => {
  test("fails where a task vanished without being counted", async () => {
    const [lost] = await fired(2);
    await store.query("delete from lapse.tasks where id = $1", [lost]);
    expect(await counts()).toMatchObject({ balanced: false });
  });

  test("balances after tallies were folded", async () => {
    await fired(3);
    await prune(2);
    await insertArrivals(database, [arrival()], { notAfter: later });
    await foldTallies(database, uuidv7());
    await foldTallies(database, uuidv7());
    const rows = await store.query("select kind, count::int as count from lapse.tallies order by kind, count");
    expect(rows).toEqual([
      { kind: "accepted", count: 4 },
      { kind: "pruned", count: 2 },
    ]);
    expect(await counts()).toMatchObject({ balanced: true, accepted: 4, pruned: 2 });
  });

  test("counts what was folded once where two fold at once", async () => {
    for (let flush = 0; flush < 20; flush += 1) await insertArrivals(database, [arrival()], { notAfter: later });
    await Promise.all([foldTallies(database, uuidv7()), foldTallies(database, uuidv7())]);
    expect(await counts()).toMatchObject({ balanced: true, accepted: 20 });
  });

  test("goes on adding tallies up while there are more than a round takes, though not where they cannot become fewer", async () => {
    const tallies = (count: number, queue: string) =>
      store.query(`insert into lapse.tallies (id, queue, kind, count)
        select gen_random_uuid(), ${queue}, 'accepted', 1 from generate_series(1, ${count}) i`);
    await tallies(talliesFoldedMax - 1, "'default'");
    expect(await foldTallies(database, uuidv7())).toBe(false);
    await tallies(talliesFoldedMax - 1, "'default'");
    expect(await foldTallies(database, uuidv7())).toBe(true);
    await store.query("truncate lapse.tallies");
    await tallies(talliesFoldedMax, "'queue-' || i");
    expect(await foldTallies(database, uuidv7())).toBe(false);
  });

  test("lists what is overdue, and not what a paused queue holds back", async () => {
    const late = await store.insert({ dueInMs: -3_000 });
    await store.insert({ dueInMs: -500 });
    await store.insert({ dueInMs: -3_000, state: "paused" });
    await store.insert({ dueInMs: -3_000, queue: "halted" });
    await store.query("update lapse.queues set paused = true where name = 'halted'");
    const { overdueCount, overdue } = await readAudit(database);
    expect(overdueCount).toBe(1);
    expect(overdue).toMatchObject([{ id: late, queue: "default" }]);
  });
});

test("spent tombstones are removed, and those that hold are not", async () => {
  const spent = await store.insert({ state: "tombstone", key: "spent", dueInMs: -1 });
  const holding = await store.insert({ state: "tombstone", key: "holding", dueInMs: hourMs });
  expect(await database.query((connection) => removeSpentTombstones(connection, 10))).toBe(1);
  expect(await ids("tasks")).toEqual([holding]);
  expect(await cancelTasksById(database, [spent])).toEqual([]);
});
