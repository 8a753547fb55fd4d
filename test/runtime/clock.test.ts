// Owns the facts about time: Postgres's clock as it is reckoned here, against a simulated server, and timers.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Clock, monotonicMs, sleep, sleepMsMax, startTimer, timerLateMs } from "../../src/runtime/clock.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "hrtime"], now: 1_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

interface Trip {
  readonly outMs: number;
  readonly backMs: number;
}

/** A server whose clock is `aheadMs` ahead of the monotonic one, behind a network that takes the time of each trip. */
function serverAhead(aheadMs: number) {
  const now = (): number => monotonicMs() + aheadMs;
  const read = async ({ outMs, backMs }: Trip): Promise<number> => {
    vi.advanceTimersByTime(outMs);
    const told = now();
    vi.advanceTimersByTime(backMs);
    return told;
  };
  const measure = (clock: Clock, trip: Trip): Promise<void> => clock.measure(() => read(trip));
  return { now, read, measure };
}

const hourMs = 3_600_000;

describe("the clock", () => {
  test("is the host's own until it was measured", () => {
    vi.useRealTimers();
    const clock = new Clock();
    expect(clock.isMeasured).toBe(false);
    expect(clock.uncertaintyMs).toBe(0);
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1_000);
  });

  test("follows the server's, however far off the host's is", async () => {
    const clock = new Clock();
    const server = serverAhead(-hourMs);
    await server.measure(clock, { outMs: 2, backMs: 2 });
    expect(clock.now()).toBeCloseTo(server.now(), 3);
    vi.advanceTimersByTime(50_000);
    expect(clock.now()).toBeCloseTo(server.now(), 3);
    expect(clock.uncertaintyMs).toBeCloseTo(2, 3);
  });

  test("counts the shortest round trip of the last ten", async () => {
    const clock = new Clock();
    const server = serverAhead(hourMs);
    await server.measure(clock, { outMs: 1, backMs: 1 });
    for (let i = 0; i < 9; i += 1) await server.measure(clock, { outMs: 0, backMs: 40 });
    expect(clock.uncertaintyMs).toBeCloseTo(1, 3);
    await server.measure(clock, { outMs: 0, backMs: 40 });
    expect(clock.uncertaintyMs).toBeCloseTo(20, 3);
  });

  test("is measured ten times in a row where it settles", async () => {
    const clock = new Clock();
    const server = serverAhead(0);
    const trips = [30, 9, 8, 7, 6, 5, 4, 3, 2, 9];
    await clock.settle(() => server.read({ outMs: 0, backMs: trips.shift() ?? 0 }));
    expect(trips).toEqual([]);
    expect(clock.uncertaintyMs).toBeCloseTo(1, 3);
  });

  test("counts the first measurement after it was told to forget alone", async () => {
    const clock = new Clock();
    await serverAhead(hourMs).measure(clock, { outMs: 0, backMs: 0 });
    clock.forget();
    expect(clock.isMeasured).toBe(false);
    const other = serverAhead(-hourMs);
    await other.measure(clock, { outMs: 10, backMs: 10 });
    expect(clock.now()).toBeCloseTo(other.now(), 3);
  });

  test("keeps what it knew where a measurement fails", async () => {
    const clock = new Clock();
    const server = serverAhead(hourMs);
    await server.measure(clock, { outMs: 1, backMs: 1 });
    await expect(clock.measure(() => Promise.reject(new Error("the server is away")))).rejects.toThrow("away");
    expect(clock.now()).toBeCloseTo(server.now(), 3);
  });
});

test("an instant reckoned by the clock is whole, never early by the server's, and late by the round trip at most", async () => {
  const trips = fc.array(fc.record({ outMs: fc.nat(300), backMs: fc.nat(300) }), { minLength: 1, maxLength: 15 });
  const aheadMs = fc.double({ min: -hourMs, max: hourMs, noNaN: true });
  const delayMs = fc.double({ min: 0, max: 10 * hourMs, noNaN: true });
  const property = fc.asyncProperty(trips, aheadMs, delayMs, async (given, ahead, delay) => {
    const clock = new Clock();
    const server = serverAhead(ahead);
    for (const trip of given) await server.measure(clock, trip);
    const wanted = server.now() + delay;
    const at = clock.after(delay);
    expect(Number.isInteger(at)).toBe(true);
    expect(at).toBeGreaterThanOrEqual(wanted - 0.001); // Doubles of this size are exact to a quarter of a microsecond.
    expect(at).toBeLessThanOrEqual(wanted + 2 * clock.uncertaintyMs + 1.001);
  });
  await fc.assert(property, { numRuns: 300 });
});

describe("a timer", () => {
  test("rounds up to the ms, and never fires before", () => {
    const fired = vi.fn<() => void>();
    startTimer(1.2, fired);
    vi.advanceTimersByTime(1);
    expect(fired).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(fired).toHaveBeenCalledOnce();
  });

  test.each([2 ** 31, 60 * 86_400_000, Number.POSITIVE_INFINITY])("of %d ms fires after a minute", (delayMs) => {
    const fired = vi.fn<() => void>();
    startTimer(delayMs, fired);
    vi.advanceTimersByTime(sleepMsMax - 1);
    expect(fired).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(fired).toHaveBeenCalledOnce();
  });

  test("of a time that is past fires at once", () => {
    const fired = vi.fn<() => void>();
    startTimer(-5, fired);
    vi.advanceTimersByTime(1);
    expect(fired).toHaveBeenCalledOnce();
  });

  test("that was cancelled never fires", () => {
    const fired = vi.fn<() => void>();
    startTimer(10, fired).cancel();
    vi.advanceTimersByTime(sleepMsMax);
    expect(fired).not.toHaveBeenCalled();
  });
});

describe("a sleep", () => {
  test("ends when its signal aborts, and leaves no timer behind", async () => {
    const aborter = new AbortController();
    const sleeping = sleep(10_000, aborter.signal);
    aborter.abort();
    await sleeping;
    expect(vi.getTimerCount()).toBe(0);
  });

  test("is none where the signal was aborted before", async () => {
    expect(await sleep(10_000, AbortSignal.abort())).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });
});

test.each([
  { inMs: -5, waitMs: 0 },
  { inMs: 0.5, waitMs: 0.5 },
  { inMs: timerLateMs + 5, waitMs: timerLateMs },
])("an instant that is $inMs ms away is waited for $waitMs ms, turn by turn", async ({ inMs, waitMs }) => {
  const clock = new Clock();
  const reached = clock.reached(clock.now() + inMs);
  let isReached = false;
  void reached.then(() => (isReached = true));
  if (waitMs > 0) {
    await turn();
    expect(isReached).toBe(false);
    vi.advanceTimersByTime(1);
  }
  await turn();
  await reached;
  expect(isReached).toBe(true);
});

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
