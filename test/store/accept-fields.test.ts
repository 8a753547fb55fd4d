// Owns the facts about what a flush writes of each of its tasks.

import { afterAll, expect, test } from "vitest";
import { insertArrivals } from "../../src/store/accept.ts";
import type { Arrival } from "../../src/store/arrivals.ts";
import type { NewTask } from "../../src/task/new-task.ts";
import { arrival, newTask, openStore } from "./store.ts";

const store = await openStore();
afterAll(() => store.close());

/** While its answer is waited for. */
const later = Date.now() + 3_600_000;

test("a flush keeps every digit and byte of what it is given", async () => {
  const json = '{"id":12345678901234567890,"price":1.10,"name":"\\"\\\\{}\'ß漢","b":1,"a":2}';
  const given = arrival({ body: { kind: "payload", json }, labels: { "a,b": '{"}' }, headers: { "x-a": "\\ \" '" } });
  await insertArrivals(store.database, [given], { notAfter: later });
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
  await insertArrivals(store.database, arrivals, { notAfter: later });
  expect(await Promise.all(arrivals.map(({ id }) => store.read(id)))).toMatchObject(own);
});

test("a flush gives each task its own value of every column, and none where it has none", async () => {
  const { retry } = newTask({});
  const full: Partial<NewTask> = {
    queue: "q",
    key: "k",
    url: "https://shop.example/other",
    method: "PUT",
    headers: { a: "1" },
    body: { kind: "raw", text: '{NULL,"\\"}', contentType: "text/plain" },
    timeoutMs: 1_000,
    retry: { ...retry, factor: 2 },
    misfireGraceMs: 60_000,
    delivery: "at-most-once",
    maxReschedules: 3,
    labels: { b: "2" },
    traceparent: "00-a-b-01",
    requestHash: "other",
  };
  const bare: Partial<NewTask> = { body: { kind: "payload", json: "NULL" } };
  const alone = await readStored([arrival(full)]);
  const aloneBare = await readStored([arrival(bare)]);
  expect(await readStored([arrival({ ...full, key: "l" }), arrival(bare)])).toEqual([
    { ...alone[0], key: "l" },
    aloneBare[0],
  ]);
});

/** Stores them with one flush; the rows, without what differs from time to time. */
async function readStored(arrivals: readonly Arrival[]): Promise<object[]> {
  await insertArrivals(store.database, arrivals, { notAfter: later });
  const rows = await Promise.all(arrivals.map(({ id }) => store.read(id)));
  for (const [i, row] of rows.entries()) {
    const { createdAt, dueAt } = arrivals[i] ?? {};
    expect(row).toMatchObject({ created_at: createdAt, due_at: dueAt, next_attempt_at: dueAt, updated_at: createdAt });
  }
  return rows.map((row) => ({
    ...row,
    id: null,
    created_at: null,
    due_at: null,
    next_attempt_at: null,
    updated_at: null,
  }));
}
