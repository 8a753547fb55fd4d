// Owns the facts about queues that SQL is the first to name: seen once committed, waited for by nobody, and made queues of by a dispatcher.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readAudit } from "../../src/store/audit.ts";
import { beat, rampOverdue } from "../../src/store/catch-up.ts";
import { readDueSoon } from "../../src/store/due.ts";
import { Queues } from "../../src/intake/queues.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { listQueues, readQueue } from "../../src/store/queue-settings.ts";
import { adoptNewQueues, KnownQueues, makeQueues } from "../../src/store/queues.ts";
import type { Reach } from "../../src/store/reach.ts";
import { noSignals, openStore } from "../store/store.ts";
import { unique } from "../support/flow.ts";
import { createRole, openSql, type Parameters, type SqlClient } from "./sql.ts";

const store = await openStore();
const { database } = store;
let shop: SqlClient;

beforeAll(async () => {
  shop = await openSql(await createRole(store.url, ["lapse_client"]));
});
afterAll(async () => {
  await shop.end();
  await store.close();
});

const inQueue = (queue: string): Parameters => ({ url: ["http://127.0.0.1:9/hook", "text"], queue: [queue, "text"] });
const adopt = () => database.query(adoptNewQueues);
const isQueue = async (name: string): Promise<boolean> =>
  (await store.query("select from lapse.queues where name = $1", [name])).length === 1;
const namings = async (name: string): Promise<number> =>
  (await store.query("select from lapse.new_queues where name = $1", [name])).length;

describe("a queue that SQL names first", () => {
  test("is made once its transaction has committed, and its tasks are found", async () => {
    const queue = unique("queue");
    await shop.query("begin");
    const id = await shop.schedule(inQueue(queue));
    await shop.schedule(inQueue(queue));
    expect(await adopt()).toBeUndefined();
    expect(await isQueue(queue)).toBe(false);
    await shop.query("commit");
    // However many tasks a transaction makes, it names a queue once.
    expect(await namings(queue)).toBe(1);
    await Promise.all([adopt(), adopt()]);
    expect([await isQueue(queue), await namings(queue)]).toEqual([true, 0]);
    const soon = await database.query((connection) =>
      readDueSoon(connection, { aheadMs: 3_000, backMs: null, limit: 10, except: [], after: [] }),
    );
    expect(soon.map((row) => row.id)).toContain(id);
  });

  test("may be made by others while the transaction is open", async () => {
    const queue = unique("queue");
    await shop.query("begin");
    await shop.schedule(inQueue(queue));
    await database.query((connection) => makeQueues(connection, [queue]));
    await shop.query("commit");
    const listed = await database.query((connection) => listQueues(connection, [queue], { after: null, limit: 10 }));
    expect(listed).toHaveLength(1);
    await adopt();
    expect([await isQueue(queue), await namings(queue)]).toEqual([true, 0]);
  });

  test("is counted by the audit before it is made", async () => {
    const queue = unique("queue");
    await shop.schedule(inQueue(queue));
    const { queues, balanced } = await readAudit(database);
    expect(queues.find((row) => row.queue === queue)).toMatchObject({ accepted: 1, live: 1 });
    expect(balanced).toBe(true);
  });

  test("is read and listed before it is made as it is after it, and within reach alone", async () => {
    const queue = unique("queue");
    await shop.schedule(inQueue(queue));
    await shop.schedule(inQueue(queue));
    const read = () => database.query((connection) => readQueue(connection, queue));
    const list = async (reach: Reach, after: string | null = null) => {
      const all = await database.query((connection) => listQueues(connection, reach, { after, limit: 1_000 }));
      return all.filter(({ name }) => name === queue);
    };
    const before = await read();
    expect(before).toMatchObject({ name: queue, concurrency: 100 });
    expect(await Promise.all([list(null), list([queue]), list(["default"]), list(null, queue)])).toEqual([
      [before],
      [before],
      [],
      [],
    ]);
    await adopt();
    expect([await read(), await list(null)]).toEqual([before, [before]]);
  });

  test("is changed before it is made", async () => {
    const queue = unique("queue");
    await shop.schedule(inQueue(queue));
    const queues = new Queues({
      database,
      queues: new KnownQueues(database),
      clock: new Clock(),
      signals: noSignals,
    });
    expect(await queues.change(queue, { paused: true })).toMatchObject({ name: queue, paused: true });
    await adopt();
    expect(await queues.read(queue)).toMatchObject({ paused: true });
  });

  test("is held back with the others by a start after a gap", async () => {
    const queue = unique("queue");
    await shop.schedule(inQueue(queue));
    await database.query(beat);
    await store.query("update lapse.heartbeat set beaten_at = now() - interval '1 hour'");
    await rampOverdue(database);
    const [row] = await store.query<{ isMoved: boolean }>(
      `select next_attempt_at > due_at as "isMoved" from lapse.tasks where queue = $1`,
      [queue],
    );
    expect(row).toEqual({ isMoved: true });
  });
});

test("a task made by SQL takes its queue's defaults over, where it leaves the field out", async () => {
  const queue = unique("queue");
  const retry = { maxAttempts: 2, backoff: "fixed", minDelayMs: 1, maxDelayMs: 2, factor: 1, jitter: 0 };
  await store.query("insert into lapse.queues (name, defaults) values ($1, $2)", [
    queue,
    JSON.stringify({ retry, timeoutMs: 5_000, misfireGraceMs: 60_000 }),
  ]);
  const taken = await store.read(await shop.schedule(inQueue(queue)));
  expect(taken).toMatchObject({ retry, timeout_ms: 5_000, misfire_grace_ms: 60_000 });
  const given = await store.read(
    await shop.schedule({
      ...inQueue(queue),
      retry: ['{"maxAttempts": 3}', "jsonb"],
      timeout: ["1 s", "interval"],
      misfire_grace: ["1 s", "interval"],
    }),
  );
  expect(given).toMatchObject({ retry: { maxAttempts: 3, factor: 3 }, timeout_ms: 1_000, misfire_grace_ms: 1_000 });
});

test("a task made and cancelled by SQL is told of where anybody listens", async () => {
  await store.query("update lapse.event_recording set recorded_until = now() + interval '1 hour'");
  const id = await shop.schedule({ ...inQueue("default"), delay: ["1 hour", "interval"] });
  await shop.cancel({ id: [id, "uuid"] });
  const told = await store.query<{ type: string }>(
    `select item ->> 'type' as type from lapse.events e, json_array_elements(e.items) item where item ->> 'taskId' = $1 order by e.xid, e.id`,
    [id],
  );
  expect(told.map(({ type }) => type)).toEqual(["task.created", "task.cancelled"]);
});
