// Owns the facts about shares: what an owner is given of a queue's slots, and that all of them together never exceed its concurrency.

import { v7 as uuidv7 } from "uuid";
import { afterAll, describe, expect, test } from "vitest";
import { LockTimeoutError } from "../../src/store/errors.ts";
import { acquireSlots, readShares, releaseSlots } from "../../src/store/shares.ts";
import { openStore, randomOf } from "./store.ts";

const store = await openStore();
const { database } = store;
afterAll(() => store.close());

async function queueOf(concurrency: number): Promise<string> {
  const queue = uuidv7();
  await store.query("insert into lapse.queues (name, concurrency) values ($1, $2)", [queue, concurrency]);
  return queue;
}

const ask = async (queue: string, owner: string, want: number): Promise<number> =>
  (await acquireSlots(database, queue, { owner, want }))?.slots ?? 0;
const give = (queue: string, owner: string, count: number) =>
  database.query((connection) => releaseSlots(connection, queue, { owner, count }));

async function wanted(queue: string, owner: string): Promise<number | undefined> {
  const rows = await store.query<{ wanted: number }>(
    "select wanted from lapse.shares where queue = $1 and owner = $2",
    [queue, owner],
  );
  return rows[0]?.wanted;
}

async function total(queue: string): Promise<number> {
  const [row] = await store.query<{ total: number }>(
    "select coalesce(sum(slots), 0)::int as total from lapse.shares where queue = $1",
    [queue],
  );
  return row?.total ?? 0;
}

describe("a share", () => {
  test("grows by what is free, and what could not be given stands as wanted", async () => {
    const queue = await queueOf(10);
    const [one, two] = [await store.dispatcher(), await store.dispatcher()];
    expect(await ask(queue, one, 8)).toBe(8);
    expect(await wanted(queue, one)).toBe(0);
    expect(await ask(queue, two, 8)).toBe(2);
    expect(await wanted(queue, two)).toBe(6);
  });

  test("grows no further than an even one while another owner wants some", async () => {
    const queue = await queueOf(10);
    const [one, two] = [await store.dispatcher(), await store.dispatcher()];
    await ask(queue, one, 10);
    await ask(queue, two, 8);
    await give(queue, one, 8);
    expect(await ask(queue, one, 8)).toBe(5);
    expect(await ask(queue, two, 8)).toBe(5);
  });

  test("is one at least while a slot is free, however many owners want some", async () => {
    const queue = await queueOf(2);
    const owners = await Promise.all([1, 2, 3].map(() => store.dispatcher()));
    await ask(queue, owners[0] ?? "", 8);
    await ask(queue, owners[1] ?? "", 8);
    await give(queue, owners[0] ?? "", 2);
    expect(await ask(queue, owners[2] ?? "", 8)).toBe(1);
  });

  test("is nothing in a queue that does not exist", async () => {
    expect(await ask(uuidv7(), await store.dispatcher(), 8)).toBe(0);
  });

  test("shrinks by what is given up, and then wants no more", async () => {
    const queue = await queueOf(4);
    const owner = await store.dispatcher();
    await ask(queue, owner, 8);
    expect(await wanted(queue, owner)).toBe(4);
    await give(queue, owner, 3);
    expect(await total(queue)).toBe(1);
    expect(await wanted(queue, owner)).toBe(0);
  });

  test("gives up no more than it is", async () => {
    const queue = await queueOf(4);
    const owner = await store.dispatcher();
    await ask(queue, owner, 2);
    await give(queue, owner, 3);
    expect(await total(queue)).toBe(2);
  });

  test("is read with what all hold and what the others want", async () => {
    const queue = await queueOf(10);
    const [one, two] = [await store.dispatcher(), await store.dispatcher()];
    await ask(queue, one, 7);
    await ask(queue, two, 8);
    expect(await database.query((connection) => readShares(connection, one))).toEqual([
      expect.objectContaining({ queue, concurrency: 10, slots: 7, total: 10, holders: 2, othersWant: 5 }),
    ]);
    expect(await database.query((connection) => readShares(connection, two))).toEqual([
      expect.objectContaining({ slots: 3, total: 10, othersWant: 0 }),
    ]);
  });
});

test("shares of five owners that ask and give up at random never exceed the concurrency together", async () => {
  const seed = 23;
  const concurrency = 12;
  const queue = await queueOf(concurrency);
  const totals: number[] = [];
  const overcounts: string[] = [];
  /** The queue's row may be another's for longer than an ask waits: then nothing has changed. */
  const askPatiently = (owner: string, want: number, held: number): Promise<number> =>
    ask(queue, owner, want).catch((error: unknown) => {
      if (error instanceof LockTimeoutError) return held;
      throw error;
    });
  const play = async (n: number): Promise<void> => {
    const random = randomOf(seed + n);
    const owner = await store.dispatcher();
    for (let held = 0, turn = 0; turn < 40; turn += 1) {
      if (random() < 0.6) held = await askPatiently(owner, 1 + Math.floor(random() * 10), held);
      else {
        const count = Math.min(held, 1 + Math.floor(random() * 6));
        await give(queue, owner, count);
        held -= count;
      }
      const sum = await total(queue);
      totals.push(sum);
      if (sum > concurrency) overcounts.push(`owner ${n}, turn ${turn} of seed ${seed}: ${sum}`);
    }
    const [row] = await store.query("select slots from lapse.shares where queue = $1 and owner = $2", [queue, owner]);
    expect(row).toBeDefined();
  };
  await Promise.all([0, 1, 2, 3, 4].map(play));
  expect(overcounts).toEqual([]);
  expect(Math.max(...totals)).toBe(concurrency);
});
