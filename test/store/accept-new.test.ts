// Owns the facts about storing tasks that were never sent before: without a key nothing can stand in their way, and Postgres does not look.

import { v7 as uuidv7 } from "uuid";
import { afterAll, expect, test } from "vitest";
import { Acceptor } from "../../src/intake/acceptor.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { insertArrivals } from "../../src/store/accept.ts";
import { readAudit } from "../../src/store/audit.ts";
import type { BoundStatement, Database } from "../../src/store/database.ts";
import { StoreUnavailableError } from "../../src/store/errors.ts";
import { KnownQueues } from "../../src/store/queues.ts";
import { arrival, newTask, noSignals, openStore } from "./store.ts";

/** While its answer is waited for. */
const later = Date.now() + 3_600_000;

const store = await openStore();
const { database } = store;
afterAll(() => store.close());

async function newQueue(): Promise<string> {
  const queue = uuidv7();
  await new KnownQueues(database).ensure([queue]);
  return queue;
}

async function counts(queue: string): Promise<object> {
  const { queues } = await readAudit(database);
  const { accepted, live } = queues.find((one) => one.queue === queue) ?? {};
  return { accepted, live };
}

test("all of them are stored and counted", async () => {
  const queue = await newQueue();
  const arrivals = [arrival({ queue }), arrival({ queue })];
  expect(await insertArrivals(database, arrivals, { notAfter: later, isFirstSend: true })).toEqual(
    new Set(arrivals.map(({ id }) => id)),
  );
  expect(await counts(queue)).toEqual({ accepted: 2, live: 2 });
});

test("none is once their answer is no longer waited for", async () => {
  const queue = await newQueue();
  expect(
    await insertArrivals(database, [arrival({ queue }), arrival({ queue })], {
      notAfter: Date.now() - 1,
      isFirstSend: true,
    }),
  ).toEqual(new Set());
  expect(await counts(queue)).toEqual({ accepted: 0, live: 0 });
});

test("one whose key is live is left out, and the others are stored", async () => {
  const queue = await newQueue();
  await store.insert({ queue, key: "k" });
  const [taken, free] = [arrival({ queue, key: "k" }), arrival({ queue })];
  expect(await insertArrivals(database, [taken, free], { notAfter: later, isFirstSend: true })).toEqual(
    new Set([free.id]),
  );
  expect(await counts(queue)).toEqual({ accepted: 1, live: 2 });
});

test("a lost answer costs neither a task nor a count: sent again, they may stand already", async () => {
  const queue = await newQueue();
  let sends = 0;
  const losing = {
    patient: database.patient,
    query: database.query.bind(database),
    run: async (statement: BoundStatement) => {
      const written = await database.run(statement);
      sends += 1;
      if (sends === 1) throw new StoreUnavailableError(new Error("the connection broke after the commit"));
      return written;
    },
  } as unknown as Database;
  const parts = { database: losing, queues: new KnownQueues(database), clock: new Clock(), signals: noSignals };
  const outcomes = await new Acceptor(parts).acceptEach([newTask({ queue }), newTask({ queue })]);
  expect(outcomes.map((outcome) => outcome.kind)).toEqual(["created", "created"]);
  expect(sends).toBe(2);
  expect(await counts(queue)).toEqual({ accepted: 2, live: 2 });
});
