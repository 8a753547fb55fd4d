// Owns the facts about one origin: how much of a queue it may hold, and when its breaker opens and closes. Instants are given.

import { describe, expect, test } from "vitest";
import {
  callsJudged,
  type Occupancy,
  Origin,
  parkAfterMs,
  probeMsMax,
  probeMsMin,
  type Verdict,
} from "../../src/dispatch/origin.ts";

const shared: Occupancy = { slots: 100, own: 0, silent: 0, isShared: true };

function origin(): Origin {
  return new Origin("https://shop.example");
}

/** Calls that all begin at `fromMs` and end, answered or not, at `untilMs`. */
function calls(
  at: Origin,
  count: number,
  { verdict = "unanswered", fromMs = 0, untilMs }: { verdict?: Verdict; fromMs?: number; untilMs?: number } = {},
): unknown[] {
  for (let i = 0; i < count; i += 1) at.began(fromMs);
  return Array.from({ length: count }, () => at.ended(verdict, { beganAtMs: fromMs, nowMs: untilMs ?? fromMs }));
}

function parked(nowMs = parkAfterMs): Origin {
  const dead = origin();
  calls(dead, callsJudged, { fromMs: nowMs - parkAfterMs, untilMs: nowMs });
  expect(dead.isParked).toBe(true);
  return dead;
}

describe("an origin alone in its queue", () => {
  test("may use every free slot, though it has never answered", () => {
    const occupancy = { slots: 100, own: 99, silent: 99, isShared: false };
    expect(origin().waitMs(occupancy, 0)).toBeNull();
  });

  test("may use a tenth once most of its last 20 calls were not answered", () => {
    const failing = origin();
    calls(failing, 10, { verdict: "answered" });
    calls(failing, 10);
    expect(failing.isFailing).toBe(false);
    calls(failing, 1);
    expect(failing.isFailing).toBe(true);
    const alone = { ...shared, isShared: false };
    expect(failing.waitMs({ ...alone, own: 9 }, 0)).toBeNull();
    expect(failing.waitMs({ ...alone, own: 10 }, 0)).toBeGreaterThan(0);
  });

  test("may use every slot again once half of its last 20 calls were answered", () => {
    const failing = origin();
    calls(failing, 20);
    calls(failing, 9, { verdict: "answered" });
    expect(failing.isFailing).toBe(true);
    calls(failing, 1, { verdict: "answered" });
    expect(failing.isFailing).toBe(false);
  });

  test("is held to a tenth while it says that it cannot keep up, and is never parked for it", () => {
    const busy = origin();
    expect(calls(busy, 20, { verdict: "busy", untilMs: 2 * parkAfterMs }).filter(Boolean)).toEqual([]);
    expect(busy.waitMs({ ...shared, own: 10, isShared: false }, 2 * parkAfterMs)).toBeGreaterThan(0);
    expect(busy.isParked).toBe(false);
  });

  test("may hold one slot of few", () => {
    const failing = origin();
    calls(failing, 20);
    expect(failing.waitMs({ slots: 3, own: 0, silent: 0, isShared: false }, 0)).toBeNull();
    expect(failing.waitMs({ slots: 3, own: 1, silent: 1, isShared: false }, 0)).toBeGreaterThan(0);
  });
});

describe("origins that share a queue", () => {
  test("hold half of it together while they have not answered, and a tenth each at least", () => {
    expect(origin().waitMs({ ...shared, own: 49, silent: 49 }, 0)).toBeNull();
    expect(origin().waitMs({ ...shared, own: 50, silent: 50 }, 0)).toBeGreaterThan(0);
    expect(origin().waitMs({ ...shared, own: 10, silent: 60 }, 0)).toBeGreaterThan(0);
    expect(origin().waitMs({ ...shared, own: 9, silent: 60 }, 0)).toBeNull();
  });

  test("are trusted with all of it for half a second after an answer", () => {
    const answering = origin();
    calls(answering, 1, { verdict: "answered", fromMs: 900, untilMs: 1_000 });
    expect(answering.waitMs({ ...shared, own: 80, silent: 80 }, 1_500)).toBeNull();
    expect(answering.waitMs({ ...shared, own: 80, silent: 80 }, 1_501)).toBeGreaterThan(0);
  });

  test("are looked at again soon at first, then at most a second later, fifty at a time", () => {
    const full = { ...shared, own: 50, silent: 50 };
    const silent = origin();
    silent.began(1_000);
    expect(silent.waitMs(full, 1_000)).toBe(20);
    expect(silent.waitMs(full, 1_200)).toBe(200);
    expect(silent.waitMs(full, 9_000)).toBe(1_000);
    const waits = Array.from({ length: 100 }, () => silent.waitMs(full, 19_000));
    expect(new Set(waits.slice(0, 50))).toEqual(new Set([1_000]));
    expect(new Set(waits.slice(50))).toEqual(new Set([1_100]));
  });
});

describe("a breaker", () => {
  test("opens once the last 20 calls of 30 s or more were not answered", () => {
    const dead = origin();
    expect(calls(dead, 20, { untilMs: parkAfterMs - 1 }).filter(Boolean)).toEqual([]);
    expect(calls(dead, 1, { untilMs: parkAfterMs }).filter(Boolean)).toEqual(["parked"]);
  });

  test("stays closed with fewer calls, or with one answer among them", () => {
    const young = origin();
    expect(calls(young, 19, { untilMs: 2 * parkAfterMs }).filter(Boolean)).toEqual([]);
    const limping = origin();
    calls(limping, 1, { verdict: "answered" });
    expect(calls(limping, 19, { untilMs: 2 * parkAfterMs }).filter(Boolean)).toEqual([]);
  });

  test("lets one call through when its probe is due, and none before", () => {
    const dead = parked();
    const now = parkAfterMs;
    expect(dead.waitMs(shared, now)).toBe(probeMsMin);
    expect(dead.waitMs(shared, now + probeMsMin - 1)).toBeGreaterThan(0);
    expect(dead.waitMs(shared, now + probeMsMin)).toBeNull();
    expect(dead.waitMs(shared, now + probeMsMin)).toBe(2 * probeMsMin);
  });

  test("probes half as often after each probe, every five minutes at least, though none of them has ended", () => {
    const dead = parked();
    let now = parkAfterMs;
    const waits: number[] = [];
    for (let i = 0; i < 9; i += 1) {
      const wait = dead.probeAtMs - now;
      waits.push(wait);
      now += wait;
      expect(dead.waitMs(shared, now)).toBeNull();
    }
    calls(dead, 9, { fromMs: parkAfterMs, untilMs: now });
    expect(dead.probeAtMs - now).toBe(probeMsMax);
    expect(waits).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300].map((seconds) => seconds * 1_000));
    expect(Math.max(...waits)).toBe(probeMsMax);
  });

  test("closes at the first answer, with a clean record", () => {
    const dead = parked();
    expect(calls(dead, 1, { verdict: "answered", fromMs: 40_000, untilMs: 40_100 })).toEqual(["resumed"]);
    expect(dead.isParked).toBe(false);
    expect(dead.isFailing).toBe(false);
    expect(dead.waitMs({ ...shared, own: 99, silent: 99 }, 40_200)).toBeNull();
  });
});
