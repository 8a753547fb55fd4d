// Owns the facts about plans: each hot statement reads what it needs, however much waits or has ended beside it.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { findStanding, findStandingByKeys, insertArrivals } from "../../src/store/accept.ts";
import { findApiKeys } from "../../src/store/api-keys.ts";
import { findCandidates } from "../../src/store/bulk.ts";
import { cancelTasksById, cancelTasksByKey } from "../../src/store/cancel.ts";
import { coalesceMissed, countHeld, holdOverdue } from "../../src/store/catch-up.ts";
import { claim, readOwned, readStanding } from "../../src/store/claims.ts";
import type { Connection, Database } from "../../src/store/database.ts";
import { readDue, readDueSoon, readHeads, readWindow } from "../../src/store/due.ts";
import { countDispatchers, countDue, readMeanDuration, readUpcoming } from "../../src/store/forecast.ts";
import { declareDead, takeOver } from "../../src/store/owners.ts";
import { cancelWaiting, listQueues, readWaiting } from "../../src/store/queue-settings.ts";
import { QueueStatsReader } from "../../src/store/queue-stats.ts";
import { claimWithinRate } from "../../src/store/rated-claims.ts";
import { findRow, findRowByKey } from "../../src/store/reads.ts";
import { pruneEnded, removeSpentTombstones } from "../../src/store/retention.ts";
import { settleAttempts } from "../../src/store/settle.ts";
import { acquireSlots, readShares, releaseSlots } from "../../src/store/shares.ts";
import type { ClaimedTask } from "../../src/task/claimed-task.ts";
import { taskStates } from "../../src/task/task.ts";
import { makeBacklog, quietQueue } from "./backlog.ts";
import { batch, type Case, faultsOf, fewLabelled, listingCases, queueCount, size } from "./plan-listings.ts";
import { Explainer, type Recorded } from "./plans.ts";
import { arrival, openStore, settlingOf, type TestStore } from "./store.ts";

const hourMs = 3_600_000;
const yearMs = 365 * 24 * hourMs;
const leastId = "00000000-0000-0000-0000-000000000000";

/** Of ten dispatchers: one whose tasks are settled, one that died, and the others. */
const owner = uuidv7();
const dead = uuidv7();
const owners = [owner, dead, ...Array.from({ length: 8 }, () => uuidv7())];
const dueIds: string[] = [];
const endedIds: string[] = [];
const keys: string[] = [];
const inFlight: ClaimedTask[] = [];
let store: TestStore;
let explainer: Explainer;

beforeAll(async () => {
  store = await openStore();
  await makeBacklog(store, size, owners);
  // A gap, for what a start after one holds back.
  await store.query("insert into lapse.heartbeat (beaten_at) values (now() - interval '1 day')");
  await store.query("vacuum analyze");
  explainer = await Explainer.open(store);
  const due = `queue = 'default' and state = 'scheduled' and next_attempt_at <= now() order by next_attempt_at, id`;
  dueIds.push(...(await ids(due)));
  endedIds.push(...(await ids("finished_at is not null order by md5(id::text)")));
  const waiting = await store.query<{ key: string }>(
    `select key from lapse.tasks where queue = 'default' and state = 'scheduled' order by md5(id::text) limit ${batch}`,
  );
  keys.push(...waiting.map((row) => row.key));
  const running = await ids(`owner = '${owner}'`);
  inFlight.push(...running.map((id) => ({ id, attempt: 1 }) as ClaimedTask));
});

afterAll(async () => {
  await explainer.close();
  await store.close();
});

async function ids(where: string): Promise<string[]> {
  const rows = await store.query<{ id: string }>(`select id from lapse.tasks where ${where} limit ${batch}`);
  return rows.map((row) => row.id);
}

function on(work: (connection: Connection) => Promise<unknown>): Case["send"] {
  return (database) => database.query(work);
}

const whole = { limit: batch, from: null };
/** Each in the form in which it is sent; those selected by order both where a batch is due and where nothing is. */
const cases: readonly Case[] = [
  { name: "claim", send: (database) => claim(database, owner, dueIds), mayOrder: true },
  { name: "what stands where a claim won nothing", send: on((c) => readStanding(c, dueIds)) },
  { name: "a dispatcher's own tasks", send: on((c) => readOwned(c, owner)) },
  { name: "take from Postgres", send: (database) => readDue(database, "default", whole) },
  { name: "take from Postgres, with nothing due", send: (database) => readDue(database, quietQueue, whole) },
  { name: "heads of all queues", send: (database) => readHeads(database, { queues: null, since: null }) },
  { name: "due soon", send: on((c) => readDueSoon(c, soon([]))), rowsMax: 2 * batch * queueCount },
  {
    name: "due soon, from where the last page ended",
    send: on((c) => readDueSoon(c, soon(["default"]))),
    rowsMax: 2 * batch * queueCount,
  },
  {
    name: "due soon, of the last minute",
    send: on((c) => readDueSoon(c, { ...soon([]), backMs: 60_000 })),
    rowsMax: 2 * batch * queueCount,
  },
  {
    name: "due soon, with nothing due",
    send: on((c) => readDueSoon(c, { ...soon([]), except: ["default", "lane-0", "lane-1", "lane-2", "lane-3"] })),
  },
  {
    name: "a page of the index's filling",
    send: on((c) => readWindow(c, start(), { until: inAnHour(), limit: batch })),
  },
  {
    name: "the filling of a queue with nothing due",
    send: on((c) => readWindow(c, { ...start(), queue: quietQueue }, { until: Date.now(), limit: batch })),
  },
  { name: "settle", send: (database) => settleAttempts(database, settlings()), mayOrder: true },
  {
    name: "settle, with tasks that wait again",
    send: (database) => settleAttempts(database, retries()),
    mayOrder: true,
  },
  ...[false, true].map((isFirstSend) => ({
    name: `accept of what ${isFirstSend ? "is new" : "may stand already"}`,
    send: (database: Database) =>
      insertArrivals(database, arrivals(isFirstSend ? "keyless" : "keyed"), { notAfter: inAnHour(), isFirstSend }),
    mayOrder: true,
  })),
  { name: "what stands in an arrival's way", send: on((c) => findStanding(c, arrival({ key: keys[0] ?? "" }))) },
  {
    name: "what stands in the way of many arrivals",
    send: on((c) =>
      findStandingByKeys(
        c,
        keys.map((key) => arrival({ key })),
      ),
    ),
  },
  { name: "cancel by id", send: (database) => cancelTasksById(database, dueIds), mayOrder: true },
  {
    name: "cancel by key",
    send: (database) =>
      cancelTasksByKey(
        database,
        keys.map((key) => ({ queue: "default", key })),
      ),
    mayOrder: true,
  },
  { name: "cancel of many keys", send: on((c) => findCandidates(c, { keys, labelStates: [] })), mayOrder: true },
  { name: "a task by id", send: on((c) => findRow(c, dueIds[0] ?? leastId)) },
  { name: "a live task by key", send: on((c) => findRowByKey(c, "default", keys[0] ?? "")) },
  { name: "an ended task by key", send: on((c) => findRowByKey(c, "default", "order-77:ended")) },
  {
    name: "retention",
    send: (database) => pruneEnded(database, uuidv7(), { retentionMs: hourMs, limit: batch, from: null }),
    mayOrder: true,
  },
  {
    name: "retention, with nothing to remove",
    send: (database) => pruneEnded(database, uuidv7(), { retentionMs: yearMs, limit: batch, from: null }),
  },
  { name: "removal of spent tombstones", send: on((c) => removeSpentTombstones(c, batch)), mayOrder: true },
  { name: "takeover", send: (database) => takeOver(database, dead, owner), mayOrder: true },
  { name: "shares", send: on((c) => readShares(c, owner)), mayOrder: true },
  { name: "asking for slots", send: (database) => acquireSlots(database, "default", { owner: owner, want: 8 }) },
  { name: "giving up slots", send: on((c) => releaseSlots(c, "default", { owner: owner, count: 1 })) },
  ...listingCases({ ended: endedIds }),
  { name: "a task by id, within reach", send: on((c) => findRow(c, dueIds[0] ?? leastId, ["default", "lane-0"])) },
  {
    name: "cancel by id, within reach",
    send: (database) => cancelTasksById(database, dueIds, ["default"]),
    mayOrder: true,
  },
  {
    name: "cancel of many ids, within reach",
    send: on((c) => findCandidates(c, { reach: ["default"], ids: dueIds, labelStates: [] })),
    mayOrder: true,
  },
  { name: "API keys by id", send: (database) => findApiKeys(database, ["7Kq2Xv9B"]) },
  {
    name: "claim within a rate",
    send: (database) => claimWithinRate(database, { queue: "default", owner, ids: dueIds }),
    mayOrder: true,
  },
  { name: "the dead", send: on((c) => declareDead(c, owner)), rowsMax: 100 * owners.length, mayOrder: true },
  { name: "what is held back", send: on(countHeld) },
  {
    name: "holding back what is overdue",
    send: (database) => holdOverdue(database, 3_600_000),
    mayOrder: true,
  },
  { name: "coalescing what was missed", send: (database) => coalesceMissed(database), mayOrder: true },
  { name: "queues", send: on((c) => listQueues(c, null, { after: "default", limit: batch })), mayOrder: true },
  {
    name: "a queue's figures",
    send: (database) => new QueueStatsReader(database).read("default"),
    // Of each state so many are counted.
    rowsMax: 100_001 * taskStates.length,
  },
  {
    name: "a forecast",
    send: on((c) => countDue(c, quietQueue, { ...forecastWindow(), limit: 1_000_001 })),
    // Ten hours of one task each 200 s; the others wait later.
    rowsMax: 200,
    mayOrder: true,
  },
  {
    name: "a forecast of more than is counted",
    send: on((c) => countDue(c, "default", { ...forecastWindow(), to: Date.now() + yearMs, limit: batch })),
    mayOrder: true,
  },
  {
    name: "the duration of a queue's calls",
    send: on((c) => readMeanDuration(c, "default")),
    rowsMax: 400,
    mayOrder: true,
  },
  { name: "living dispatchers", send: on(countDispatchers), mayOrder: true },
  {
    name: "schedules with occurrences to come",
    send: on((c) => readUpcoming(c, "default", { to: inAnHour(), limit: batch })),
    mayOrder: true,
  },
  {
    name: "a page of what a purge cancels",
    send: on((c) =>
      readWaiting(c, quietQueue, { state: "scheduled", createdUntil: Date.now(), after: null, limit: batch }),
    ),
  },
  { name: "a purge of a page", send: on((c) => cancelWaiting(c, dueIds)), mayOrder: true },
  {
    name: "cancel by a label",
    send: on((c) => findCandidates(c, { labels: { customer: "c20" }, labelStates: ["scheduled"] })),
    rowsMax: fewLabelled,
    mayOrder: true,
  },
];

describe.each(cases)("$name", ({ send, ...expected }) => {
  test("reads no more than it needs", async () => {
    const sent = await explainer.record(send);
    expect(sent.length).toBeGreaterThan(0);
    const readings = await explainer.explain(sent, "custom");
    expect(readings.flatMap((reading) => faultsOf(reading, expected))).toEqual([]);
  });

  test("does so by a plan for all values", async () => {
    // A statement without a name is planned for its values each time it is sent.
    const prepared = (await explainer.record(send)).filter((statement) => statement.name !== "");
    const readings = await explainer.explain(prepared, "generic");
    expect(readings.flatMap((reading) => faultsOf(reading, expected))).toEqual([]);
  });
});

test("statements prepared while the tables are empty stay lean when tasks pour in before any statistics are made", async () => {
  const fresh = await openStore();
  await fresh.query("alter table lapse.tasks set (autovacuum_enabled = off)");
  await fresh.query("alter table lapse.attempts set (autovacuum_enabled = off)");
  const early = await Explainer.open(fresh);
  const hot: Recorded[] = [];
  for (const { send } of cases) hot.push(...(await explainer.record(send)));
  const statements = [...new Map(hot.filter(({ name }) => name !== "").map((sent) => [sent.name, sent])).values()];
  for (const statement of statements) await early.warm(statement);

  await makeBacklog(fresh, { due: 2_000, waiting: 20_000, ended: 20_000 }, owners);
  const scanning: string[] = [];
  for (const statement of statements) {
    const { scanned } = await early.explainWarm(statement);
    if (scanned.includes("tasks") || scanned.includes("attempts")) scanning.push(statement.name);
  }
  expect(scanning).toEqual([]);
  await early.close();
  await fresh.close();
});

function soon(after: readonly string[]): Parameters<typeof readDueSoon>[1] {
  const position = { nextAttemptAt: Date.now() - 300_000, id: leastId };
  return {
    aheadMs: 3_000,
    backMs: null,
    limit: batch,
    except: [],
    after: after.map((queue) => ({ queue, ...position })),
  };
}

function start(): Parameters<typeof readWindow>[1] {
  return { queue: "default", nextAttemptAt: Date.now() - 300_000, id: leastId };
}

function inAnHour(): number {
  return Date.now() + hourMs;
}

function forecastWindow(): Parameters<typeof countDue>[2] {
  const now = Date.now();
  return { now, from: now, to: now + 10 * hourMs, bucketMs: hourMs / 60, limit: batch };
}

function settlings(): ReturnType<typeof settlingOf>[] {
  return inFlight.map((task) => settlingOf(task, owner));
}

function retries(): ReturnType<typeof settlingOf>[] {
  return inFlight.map((task) => settlingOf(task, owner, { next: { kind: "retry", nextAttemptAt: inAnHour() } }));
}

const arrivals = (key: "keyed" | "keyless"): ReturnType<typeof arrival>[] =>
  Array.from({ length: batch }, (_, i) => arrival({ key: key === "keyed" ? `new-${i}` : null }));
