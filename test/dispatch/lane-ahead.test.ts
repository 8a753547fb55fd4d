// Owns the facts about what a lane takes ahead of its time, by a clock that stands still until the test moves it.

import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { DueIndex } from "../../src/due-index/due-index.ts";
import { Clock, monotonicMs, timerLateMs } from "../../src/runtime/clock.ts";
import { type OpenIndex, openIndex } from "../due-index/redis.ts";
import { openStore, until } from "../store/store.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { startLaneOn } from "./lanes.ts";

const store = await openStore();
let redis: TestRedis;
let open: OpenIndex;
let owner = "";
/** A queue for each test. */
let queue = "";

beforeAll(async () => {
  redis = await startRedis();
  open = await openIndex([redis.url]);
  owner = await store.dispatcher();
});
afterAll(async () => {
  open.close();
  await redis.stop();
  await store.close();
});
beforeEach(() => {
  queue = uuidv7();
});

class StillClock extends Clock {
  #now: number;

  constructor(now: number) {
    super();
    this.#now = now;
  }

  override now(): number {
    return this.#now;
  }

  move(to: number): void {
    this.#now = to;
  }
}

/** A lane that was told of a task which falls due in `inMs` by its clock; Postgres's would let it be claimed already. */
async function startAhead(inMs: number, { isTakenOnce }: { isTakenOnce: boolean }) {
  const id = await store.insert({ queue });
  const { next_attempt_at: at } = await store.read(id);
  await open.index.put([{ queue, id, at }]);
  const clock = new StillClock(at - inMs);
  const takes: { readonly until: number; readonly endedMs: number; readonly count: number }[] = [];
  const index: DueIndex = {
    put: (entries) => open.index.put(entries),
    move: (entries) => open.index.move(entries),
    remove: (entries) => open.index.remove(entries),
    reset: async () => undefined,
    take: async (request) => {
      const taken = await open.index.take(request);
      takes.push({ until: request.now, endedMs: monotonicMs(), count: taken.ids.length });
      return taken;
    },
  };
  const claims: number[] = [];
  const beforeClaim = async (): Promise<void> => void claims.push(monotonicMs());
  const ground = { store, index, clock, owner, queue };
  const running = await startLaneOn(ground, { isTakenOnce, beforeClaim });
  running.lane.hint(at);
  return { ...running, id, at, clock, takes, claims };
}

test("what falls due sooner than a timer would fire is taken ahead, and claimed once it is due", async () => {
  const { begun, at, takes, claims } = await startAhead(0.5, { isTakenOnce: true });
  await begun(1);
  const ahead = takes.find(({ count }) => count === 1);
  expect(ahead?.until).toBe(at);
  // A take that is answered by then costs a part of it.
  expect((claims[0] ?? 0) - (ahead?.endedMs ?? 0)).toBeGreaterThanOrEqual(0.4);
});

test.each([
  { inMs: timerLateMs + 0.1, isTakenOnce: true },
  { inMs: 0.5, isTakenOnce: false },
])(
  "what falls due later, or where a take of the index returns nothing ahead, is not: %o",
  async ({ inMs, ...terms }) => {
    const { begun, at, clock, takes, lane } = await startAhead(inMs, terms);
    await until(
      async () => takes.length,
      (count) => count >= 3,
    );
    expect(takes.map((take) => take.count)).not.toContain(1);
    clock.move(at);
    lane.wake();
    await begun(1);
  },
);

test("what a take left behind is taken at its time, and nothing is asked for in between", async () => {
  const { begun, lane, at, clock, takes } = await startAhead(0.5, { isTakenOnce: true });
  for (const count of [1, 2, 3]) {
    await begun(count);
    const next = { queue, id: await store.insert({ queue }), at: at + 20 * count };
    await open.index.put([next]);
    lane.hint(next.at);
    clock.move(next.at);
  }
  await begun(4);
  // The first takes are its start, and its slots' coming.
  expect(takes.slice(-2).map(({ count }) => count)).toEqual([1, 1]);
});
