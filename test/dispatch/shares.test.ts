// Owns the facts about handing a queue's slots round between dispatchers.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { type LaneDemand, Shares } from "../../src/dispatch/shares.ts";
import { createLog } from "../../src/runtime/log.ts";
import { openStore, until } from "../store/store.ts";

const concurrency = 10;
const store = await openStore();
afterAll(() => store.close());

let queue = "";
beforeEach(async () => {
  queue = uuidv7();
  await store.query("insert into lapse.queues (name, concurrency) values ($1, $2)", [queue, concurrency]);
});

interface Owner {
  readonly id: string;
  readonly shares: Shares;
  readonly granted: string[];
  /** Asks, and waits until Postgres has the answer. */
  readonly ask: (running: number) => Promise<number>;
  readonly rebalance: (demand: Partial<LaneDemand> | null) => Promise<number>;
}

async function owner(): Promise<Owner> {
  const id = await store.dispatcher();
  const granted: string[] = [];
  const shares = new Shares(
    { database: store.database, log: createLog("silent"), onGranted: (name) => granted.push(name) },
    id,
  );
  return {
    id,
    shares,
    granted,
    ask: async (running) => {
      const before = await row(id);
      shares.ask(queue, running);
      await until(
        () => row(id),
        (after) => after !== before,
      );
      await until(
        async () => shares.slots(queue),
        (slots) => slots > 0 || before === "",
      );
      return shares.slots(queue);
    },
    rebalance: async (demand) => {
      const lane = { queue, running: 0, isHungry: false, ...demand };
      await shares.rebalance(() => new Map(demand === null ? [] : [[queue, lane]]));
      return shares.slots(queue);
    },
  };
}

/** What Postgres has of an owner's share; "" where it has nothing. */
async function row(id: string): Promise<string> {
  const rows = await store.query<{ slots: number; wanted: number }>(
    "select slots, wanted from lapse.shares where queue = $1 and owner = $2",
    [queue, id],
  );
  return rows.map(({ slots, wanted }) => `${slots}+${wanted}`).join();
}

/** What every write of an owner's share changes. */
async function version(id: string): Promise<string | undefined> {
  const rows = await store.query<{ version: string }>(
    "select xmin::text as version from lapse.shares where queue = $1 and owner = $2",
    [queue, id],
  );
  return rows[0]?.version;
}

describe("a lane's share", () => {
  test("is eight slots at the first ask, and as many again as it uses at later ones", async () => {
    const one = await owner();
    expect(one.shares.slots(queue)).toBe(0);
    expect(await one.ask(0)).toBe(8);
    expect(one.granted).toEqual([queue]);
    expect(await one.ask(8)).toBe(10);
  });

  test("may grow to all of the queue's slots, or to half of them where another holds some, as soon as it has any", async () => {
    const [one, two] = [await owner(), await owner()];
    await one.ask(0);
    expect(one.shares.share(queue)).toBe(concurrency);
    await two.ask(0);
    expect(two.shares.share(queue)).toBe(concurrency / 2);
    // Given up, and asked for again.
    await one.rebalance(null);
    await one.ask(0);
    expect(one.shares.share(queue)).toBe(concurrency / 2);
  });

  test("is not asked for again by a lane that has all of the queue's slots", async () => {
    const one = await owner();
    await one.ask(0);
    expect(await one.ask(8)).toBe(concurrency);
    const before = await version(one.id);
    expect(await one.rebalance({ running: concurrency, isHungry: true })).toBe(concurrency);
    expect(await version(one.id)).toBe(before);
  });

  test("is given up beyond twice what is in flight, where the lane has enough", async () => {
    const one = await owner();
    await one.ask(0);
    expect(await one.rebalance({ running: 3 })).toBe(6);
    expect(await row(one.id)).toBe("6+0");
    expect(await one.rebalance({ running: 0 })).toBe(0);
    expect(await row(one.id)).toBe("0+0");
  });

  test("is kept at eight at least while the lane is hungry", async () => {
    const one = await owner();
    await one.ask(0);
    expect(await one.rebalance({ running: 1, isHungry: true })).toBe(8);
  });

  test("is given up whole where there is no lane any more", async () => {
    const one = await owner();
    await one.ask(0);
    expect(await one.rebalance(null)).toBe(0);
  });

  test("is given up beyond a concurrency that was lowered, as calls end", async () => {
    const one = await owner();
    await one.ask(0);
    await store.query("update lapse.queues set concurrency = 2 where name = $1", [queue]);
    // No call is begun any more, and none is broken off.
    for (const [running, held] of [
      [8, 8],
      [4, 4],
      [1, 2],
    ] as const) {
      expect(await one.rebalance({ running, isHungry: true })).toBe(2);
      expect(await row(one.id)).toBe(`${held}+0`);
    }
  });

  test("is none at first for another identity", async () => {
    const one = await owner();
    await one.ask(0);
    one.shares.adoptOwner(await store.dispatcher());
    expect(one.shares.slots(queue)).toBe(0);
  });

  test("that was asked for while some is being given up has its lane woken, to ask again", async () => {
    const granted: string[] = [];
    const parts = {
      database: store.database,
      log: createLog("silent"),
      onGranted: (name: string) => void granted.push(name),
    };
    const shares = new Shares(parts, await store.dispatcher());
    shares.ask(queue, 0);
    shares.ask(queue, 0);
    await until(
      async () => granted.length,
      (count) => count === 2,
    );
    expect(shares.slots(queue)).toBe(8);
  });

  test("of the dead is none", async () => {
    const dead = await store.dispatcher("dead");
    const log = createLog("silent");
    const granted: string[] = [];
    const shares = new Shares({ database: store.database, log, onGranted: (name) => granted.push(name) }, dead);
    shares.ask(queue, 0);
    await shares.rebalance(() => new Map());
    expect([shares.slots(queue), granted, await row(dead)]).toEqual([0, [], ""]);
  });
});

test("dispatchers that hold more than a concurrency that was lowered come to all of it together, and no more", async () => {
  const owners = [await owner(), await owner(), await owner()];
  for (const { id } of owners) await store.share(queue, id, 3);
  await store.query("update lapse.queues set concurrency = 2 where name = $1", [queue]);
  const slots: number[] = [];
  for (const { rebalance } of owners) slots.push(await rebalance({ running: 3, isHungry: true }));
  expect(slots.toSorted((a, b) => a - b)).toEqual([0, 1, 1]);
});

describe("two dispatchers that both want slots", () => {
  /** The first has all of them in use, the second asked in vain. */
  async function contend(): Promise<[Owner, Owner]> {
    const [one, two] = [await owner(), await owner()];
    await one.ask(0);
    await one.ask(8);
    two.shares.ask(queue, 0);
    await until(
      () => row(two.id),
      (found) => found === "0+8",
    );
    return [one, two];
  }

  test("come to an even share each, as calls end", async () => {
    const [one, two] = await contend();
    // Its calls go on, and no new one is begun beyond its share.
    expect(await one.rebalance({ running: 10, isHungry: true })).toBe(5);
    expect(await row(one.id)).toMatch(/^10\+/);
    expect(await one.rebalance({ running: 7, isHungry: true })).toBe(5);
    expect(await row(one.id)).toBe("7+0");
    expect(await one.rebalance({ running: 4, isHungry: true })).toBe(5);
    expect(await row(one.id)).toBe("5+0");
    await two.rebalance({ running: 0, isHungry: true });
    await until(
      async () => two.shares.slots(queue),
      (slots) => slots === 5,
    );
    expect(two.granted).toEqual([queue]);
  });

  test("do not take turns: the first is not asked for more than an even share", async () => {
    const [one, two] = await contend();
    await one.rebalance({ running: 0, isHungry: true });
    await two.rebalance({ running: 0, isHungry: true });
    await until(
      async () => two.shares.slots(queue),
      (slots) => slots === 5,
    );
    for (let round = 0; round < 5; round += 1) {
      await one.rebalance({ running: 5, isHungry: true });
      await two.rebalance({ running: 5, isHungry: true });
    }
    expect([one.shares.slots(queue), two.shares.slots(queue)]).toEqual([5, 5]);
  });

  test("are given what comes free, up to an even share", async () => {
    const [one, two] = [await owner(), await owner()];
    const gone = await store.dispatcher();
    await store.query(
      `insert into lapse.shares (owner, slots, wanted, queue) values
        ($1, $2, $3, $10), ($4, $5, $6, $10), ($7, $8, $9, $10)`,
      [one.id, 3, 5, two.id, 3, 5, gone, 4, 0, queue],
    );
    for (const { rebalance } of [one, two]) expect(await rebalance({ running: 3, isHungry: true })).toBe(3);
    await store.query("delete from lapse.shares where owner = $1", [gone]);
    await until(
      async () => {
        for (const { shares, rebalance } of [one, two])
          await rebalance({ running: shares.slots(queue), isHungry: true });
        return [one.shares.slots(queue), two.shares.slots(queue)].join();
      },
      (slots) => slots === "5,5",
    );
  });

  test("leave the others all of it again once they want no more", async () => {
    const [one, two] = await contend();
    await one.rebalance({ running: 10, isHungry: true });
    await two.rebalance({ running: 0, isHungry: false });
    expect(await one.rebalance({ running: 10, isHungry: true })).toBe(10);
  });
});

test("a share that cannot be asked for is asked for again", async () => {
  const id = await store.dispatcher();
  let isAway = true;
  const database = new Proxy(store.database, {
    get: (target, name) => {
      if (name === "transaction" && isAway) return () => Promise.reject(new Error("Postgres is away"));
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  const shares = new Shares({ database, log: createLog("silent"), onGranted: () => undefined }, id);
  const hungry = new Map([[queue, { queue, running: 0, isHungry: true }]]);
  await shares.rebalance(() => hungry);
  await shares.rebalance(() => hungry);
  expect(shares.slots(queue)).toBe(0);
  isAway = false;
  await until(
    async () => {
      await shares.rebalance(() => hungry);
      return shares.slots(queue);
    },
    (slots) => slots === 8,
  );
});
