// Owns the fact about publishers that come upon one subscription at the same instant.

import { afterAll, expect, test } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { Publisher } from "../../src/events/publisher.ts";
import { beginListening } from "../../src/events/recording.ts";
import { Clock } from "../../src/runtime/clock.ts";
import { createLog } from "../../src/runtime/log.ts";
import { Metrics } from "../../src/runtime/metrics.ts";
import type { Connection, Database } from "../../src/store/database.ts";
import { deliveryQueue, insertSubscription } from "../../src/store/subscriptions.ts";
import { openStore } from "../store/store.ts";

const store = await openStore();
afterAll(() => store.close());

/** The database with transactions of the test's own making. */
function withTransactions(transaction: Database["transaction"]): Database {
  return new Proxy(store.database, {
    get: (database, name) => {
      const value: unknown = name === "transaction" ? transaction : Reflect.get(database, name);
      return typeof value === "function" ? (value.bind(database) as unknown) : value;
    },
  });
}

/** A publisher that stops just before it stores its deliveries. */
function stalled(): { database: Database; reached: Promise<void>; go: () => void } {
  const [reached, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const stall = (trx: Connection): Connection =>
    new Proxy(trx, {
      get: (connection, name) => {
        const value: unknown = Reflect.get(connection, name);
        if (name !== "executeQuery") return typeof value === "function" ? (value.bind(connection) as unknown) : value;
        return async (query: Parameters<Connection["executeQuery"]>[0]) => {
          reached.resolve();
          await go.promise;
          return connection.executeQuery(query);
        };
      },
    });
  const database = withTransactions((work) => store.database.transaction((trx) => work(stall(trx))));
  return { database, reached: reached.promise, go: go.resolve };
}

function publisherOn(database: Database): Publisher {
  const log = createLog("silent");
  return new Publisher({ database, clock: new Clock(), log, metrics: new Metrics(), onDue: () => undefined });
}

test("of two publishers one passes an event on, also where the other has read it and its delivery is over by then", async () => {
  const after = await beginListening(store.database);
  const id = uuidv7();
  const fields = { id, url: "https://shop.example/hooks", types: ["task.created"] as const, queue: null };
  await store.database.query((connection) => insertSubscription(connection, fields, { after, countMax: 10 }));
  await store.insert({ dueInMs: 3_600_000 });

  const slow = stalled();
  const first = publisherOn(slow.database);
  first.start();
  await slow.reached;

  const tried = Promise.withResolvers<void>();
  const second = publisherOn(
    withTransactions(async (work) => {
      try {
        return await store.database.transaction(work);
      } finally {
        tried.resolve();
      }
    }),
  );
  second.start();
  await tried.promise;
  await store.query("update lapse.tasks set state = 'cancelled', finished_at = now() where queue = $1", [
    deliveryQueue(id),
  ]);
  slow.go();
  await first.stop();
  await second.stop();

  const deliveries = await store.query("select from lapse.tasks where queue = $1", [deliveryQueue(id)]);
  expect(deliveries).toHaveLength(1);
});
