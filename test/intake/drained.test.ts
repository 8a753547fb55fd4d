// Owns the facts about a stop while tasks are being accepted: it waits for what is under way.

import { afterAll, expect, test } from "vitest";
import { Acceptor } from "../../src/intake/acceptor.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { readTime } from "../../src/store/due.ts";
import { KnownQueues } from "../../src/store/queues.ts";
import { newTask, noSignals, openStore } from "../store/store.ts";

const store = await openStore();
const { database } = store;
afterAll(() => store.close());

test("what is drained has written all of an import that was under way, what waits for a lock too", async () => {
  const clock = new Clock();
  await clock.settle(() => readTime(database));
  const acceptor = new Acceptor({ database, queues: new KnownQueues(database), clock, signals: noSignals });
  const stranger = await store.stranger();
  await stranger.query("begin");
  await stranger.query(`insert into lapse.tasks (id, url, queue, key, state, due_at, next_attempt_at, created_at, updated_at)
    values (gen_random_uuid(), 'https://shop.example/', 'default', 'held', 'scheduled', now(), now(), now(), now())`);
  let isDone = false;
  const accepting = acceptor.acceptTogether([newTask({ key: "held" }), newTask()]).then((outcomes) => {
    isDone = true;
    return outcomes;
  });
  const drained = acceptor.drained().then(() => isDone);
  await stranger.query("rollback");
  expect(await drained).toBe(true);
  expect((await accepting).map(({ kind }) => kind)).toEqual(["accepted", "accepted"]);
});
