// Owns the facts about what a flush writes of each of its tasks.

import { afterAll, expect, test } from "vitest";
import { insertArrivals } from "../../src/store/accept.ts";
import { arrival, newTask, openStore } from "./store.ts";

const store = await openStore();
afterAll(() => store.close());

/** While its answer is waited for. */
const later = Date.now() + 3_600_000;

test("a flush keeps every digit and byte of what it is given", async () => {
  const json = '{"id":12345678901234567890,"price":1.10,"name":"\\"\\\\{}\'ß漢","b":1,"a":2}';
  const given = arrival({ body: { kind: "payload", json }, labels: { "a,b": '{"}' }, headers: { "x-a": "\\ \" '" } });
  await insertArrivals(store.database, [given], later);
  expect(await store.read(given.id)).toMatchObject({
    payload: json,
    labels: given.task.labels,
    headers: given.task.headers,
  });
});

test("a flush gives each task its own headers, labels and retry", async () => {
  const { retry } = newTask({});
  const own = [1, 2, 1].map((n) => ({
    headers: { n: `${n}` },
    labels: { n: `${n}` },
    retry: { ...retry, factor: n },
  }));
  const arrivals = own.map((fields) => arrival(fields));
  await insertArrivals(store.database, arrivals, later);
  expect(await Promise.all(arrivals.map(({ id }) => store.read(id)))).toMatchObject(own);
});
