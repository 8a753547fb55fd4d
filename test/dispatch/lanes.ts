// Owns a lane for tests: on a real index and a real Postgres, with calls that the test ends.

import { onTestFinished } from "vitest";
import { Claimer } from "../../src/dispatch/claimer.ts";
import { Lane } from "../../src/dispatch/lane.ts";
import { LaneOrigins } from "../../src/dispatch/lane-origins.ts";
import type { Lease } from "../../src/dispatch/lease.ts";
import { Origins } from "../../src/dispatch/origins.ts";
import { Shares } from "../../src/dispatch/shares.ts";
import type { DueIndex } from "../../src/due-index/due-index.ts";
import { type Clock, monotonicMs } from "../../src/runtime/clock.ts";
import { createLog } from "../../src/runtime/log.ts";
import { Metrics } from "../../src/runtime/metrics.ts";
import { type TestStore, until } from "../store/store.ts";

const log = createLog("silent");
const metrics = new Metrics();
const origins = new Origins({ nowMs: monotonicMs, log, metrics });

/** What a lane stands on. */
export interface LaneGround {
  readonly store: TestStore;
  readonly index: DueIndex;
  readonly clock: Clock;
  readonly owner: string;
  readonly queue: string;
}

export interface Call {
  readonly id: string;
  readonly owner: string;
  end(): void;
}

export interface Running {
  readonly lane: Lane;
  readonly calls: Call[];
  readonly errors: unknown[];
  /** Waits until that many calls were begun. */
  readonly begun: (count: number) => Promise<void>;
}

export interface LaneOptions {
  readonly concurrency?: number;
  readonly index?: DueIndex;
  readonly isTakenOnce?: boolean;
  /** Passed before each claim. */
  readonly beforeClaim?: (ids: readonly string[]) => Promise<void>;
  readonly onCall?: (call: Call) => void;
}

/** A lane of the queue with slots of its own, stopped when the test ends. */
export async function startLaneOn(ground: LaneGround, options: LaneOptions): Promise<Running> {
  const { store, clock, owner, queue } = ground;
  const { database } = store;
  const { concurrency = 100, index = ground.index, isTakenOnce = true, beforeClaim, onCall } = options;
  await store.query(
    "insert into lapse.queues (name, concurrency) values ($1, $2) on conflict (name) do update set concurrency = excluded.concurrency",
    [queue, concurrency],
  );
  const calls: Call[] = [];
  const errors: unknown[] = [];
  const shares = new Shares({ database, log, onGranted: () => lane.wake() }, owner);
  const signals = { onLook: (_queue: string, at: number) => lane.hint(at), onRated: () => lane.forgetRate() };
  const claimer = new Claimer({ database, index, clock, metrics, ...signals });
  const lane: Lane = new Lane(queue, {
    index,
    claimer: {
      claim: async (request, pace) => {
        await beforeClaim?.(request.ids);
        return claimer.claim(request, pace);
      },
    },
    shares,
    clock,
    room: () => 1_000,
    reserve: () => undefined,
    isPaused: () => false,
    isTakenOnce: () => isTakenOnce,
    origins: new LaneOrigins(queue, { database, index, clock, metrics, origins }),
    lease: () => ({ id: owner }) as Lease,
    fire: (task, lease, onCallEnded) => {
      const call = { id: task.id, owner: lease.id, end: () => onCallEnded(null) };
      calls.push(call);
      onCall?.(call);
    },
    onError: (error) => errors.push(error),
  });
  onTestFinished(() => lane.stop());
  lane.start();
  const begun = (count: number) =>
    until(
      async () => calls.length,
      (length) => length >= count,
    ).then(() => undefined);
  return { lane, calls, errors, begun };
}
