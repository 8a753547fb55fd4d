// Owns the facts about loops, on timers that the test moves.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RunLoop } from "../../src/runtime/run-loop.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "hrtime"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A loop that counts its rounds; each sleeps as it is told, and lasts until `gate` opens where there is one. */
function setUp({ sleepMs = 1_000, errorSleepMs = 50 }: { sleepMs?: number; errorSleepMs?: number } = {}) {
  const told = {
    rounds: 0,
    errors: [] as unknown[],
    sleepMs,
    gate: null as Promise<void> | null,
    fault: null as Error | null,
  };
  const loop = new RunLoop({
    tick: async () => {
      told.rounds += 1;
      await told.gate;
      if (told.fault !== null) throw told.fault;
      return told.sleepMs;
    },
    onError: (error) => told.errors.push(error),
    errorSleepMs,
  });
  return { told, loop };
}

/** Lets a round that waits for nothing end. */
const settled = () => vi.advanceTimersByTimeAsync(0);

describe("a loop", () => {
  test("starts with a round, and sleeps for as long as the round said", async () => {
    const { told, loop } = setUp();
    loop.start();
    await settled();
    expect(told.rounds).toBe(1);
    await vi.advanceTimersByTimeAsync(999);
    expect(told.rounds).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(told.rounds).toBe(2);
    await loop.stop();
  });

  test("goes on at once after a round that asks for no sleep", async () => {
    const { told, loop } = setUp({ sleepMs: 0 });
    const { promise, resolve } = Promise.withResolvers<void>();
    loop.start();
    told.gate = promise;
    await settled();
    expect(told.rounds).toBe(2);
    told.sleepMs = 1_000;
    resolve();
    await settled();
    expect(told.rounds).toBe(2);
    await loop.stop();
  });

  test("looks again after a minute, however long it was told to sleep", async () => {
    const { told, loop } = setUp({ sleepMs: Number.POSITIVE_INFINITY });
    loop.start();
    await vi.advanceTimersByTimeAsync(59_999);
    expect(told.rounds).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(told.rounds).toBe(2);
    await loop.stop();
  });
});

describe("a wake", () => {
  test("ends the sleep", async () => {
    const { told, loop } = setUp();
    loop.start();
    await settled();
    loop.wake();
    await settled();
    expect(told.rounds).toBe(2);
    await loop.stop();
  });

  test("during a round has one more follow at once, however many come", async () => {
    const { told, loop } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    told.gate = promise;
    loop.start();
    await settled();
    for (let i = 0; i < 5; i += 1) loop.wake();
    expect(told.rounds).toBe(1);
    resolve();
    await settled();
    expect(told.rounds).toBe(2);
    await loop.stop();
  });

  test("to come brings the next round forward", async () => {
    const { told, loop } = setUp();
    loop.start();
    await settled();
    loop.wakeIn(100);
    await vi.advanceTimersByTimeAsync(100);
    expect(told.rounds).toBe(2);
    await loop.stop();
  });

  test("to come never puts the next round off", async () => {
    const { told, loop } = setUp();
    loop.start();
    await settled();
    loop.wakeIn(100);
    loop.wakeIn(5_000);
    await vi.advanceTimersByTimeAsync(100);
    expect(told.rounds).toBe(2);
    loop.wakeIn(5_000);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(told.rounds).toBe(3);
    await loop.stop();
  });

  test("to come counts during a round too", async () => {
    const { told, loop } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    told.gate = promise;
    loop.start();
    await settled();
    loop.wakeIn(100);
    resolve();
    await vi.advanceTimersByTimeAsync(99);
    expect(told.rounds).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(told.rounds).toBe(2);
    await loop.stop();
  });
});

describe("a round that throws", () => {
  test("is told, and another follows after the sleep for errors", async () => {
    const { told, loop } = setUp();
    told.fault = new Error("the server is away");
    loop.start();
    await settled();
    expect(told.errors).toEqual([told.fault]);
    told.fault = null;
    await vi.advanceTimersByTimeAsync(49);
    expect(told.rounds).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(told.rounds).toBe(2);
    expect(told.errors).toHaveLength(1);
    await loop.stop();
  });
});

describe("a stop", () => {
  test("waits for the round under way, and no other starts", async () => {
    const { told, loop } = setUp({ sleepMs: 0 });
    const { promise, resolve } = Promise.withResolvers<void>();
    told.gate = promise;
    loop.start();
    await settled();
    const isStopped = vi.fn<() => void>();
    const stopping = loop.stop().then(isStopped);
    loop.wake();
    await settled();
    expect(isStopped).not.toHaveBeenCalled();
    resolve();
    await stopping;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(told.rounds).toBe(1);
  });

  test("ends a sleep, and leaves no timer behind", async () => {
    const { told, loop } = setUp();
    loop.start();
    await settled();
    await loop.stop();
    loop.wake();
    loop.wakeIn(10);
    expect(vi.getTimerCount()).toBe(0);
    expect(told.rounds).toBe(1);
  });
});
