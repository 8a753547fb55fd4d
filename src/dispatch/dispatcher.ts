// Owns what time does: lanes that claim due tasks, the calls in flight, and the once-a-second round underneath that needs no signal.

import type { DueIndex } from "../due-index/due-index.ts";
import type { SwitchingIndex } from "../due-index/switching-index.ts";
import { type Clock, monotonicMs, sleep } from "../runtime/clock.ts";
import { DeepLooks, latestMs } from "../runtime/deep-looks.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { RunLoop } from "../runtime/run-loop.ts";
import type { Database } from "../store/database.ts";
import { failureLevel } from "../store/errors.ts";
import { readHeads } from "../store/due.ts";
import { unregisterDispatcher } from "../store/owners.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import type { Sender } from "../webhook/sender.ts";
import { ActivityLog } from "./activity-log.ts";
import { Claimer } from "./claimer.ts";
import { Filler } from "./filler.ts";
import { type CallEnded, Firing } from "./firing.ts";
import { Healer } from "./healer.ts";
import { Lane } from "./lane.ts";
import { LaneOrigins } from "./lane-origins.ts";
import { Lease } from "./lease.ts";
import { createOriginRecorder } from "./origin-events.ts";
import { Origins } from "./origins.ts";
import { Pauses } from "./pauses.ts";
import { Room } from "./room.ts";
import { Settler } from "./settler.ts";
import { type LaneDemand, Shares } from "./shares.ts";

const roundMs = 1_000;
/** How often heads are read where nobody tells of new tasks: no Redis, and the API in another process. */
const headPollMs = 100;
/** A lane that had nothing to do for this long is dropped; a hint makes it anew. */
const laneIdleMsMax = 60_000;
/** A drain gives calls in flight, and outcomes that Postgres does not take, this long; then the calls are aborted. */
const drainMs = 30_000;
/** For the outcomes of aborted calls to be written. */
const abortedSettleMs = 5_000;
const unregisterMs = 2_000;

export interface DispatcherParts {
  readonly database: Database;
  readonly databaseUrl: string;
  readonly index: DueIndex;
  /** The index, where it has Redis to fill. */
  readonly redisIndex: SwitchingIndex | null;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** No other process dispatches on this database. */
  readonly isSoleOwner: boolean;
  /** The API runs in other processes: without Redis nobody tells this one of new tasks. */
  readonly isApiElsewhere: boolean;
}

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #lanes = new Map<string, Lane>();
  readonly #claimer: Claimer;
  readonly #settler: Settler;
  readonly #firing: Firing;
  readonly #shares: Shares;
  readonly #origins: Origins;
  readonly #healer: Healer;
  readonly #filler: Filler | null;
  readonly #rounds: RunLoop;
  /** Apart from the rounds: filling anew may take long, and healing must not wait for it. */
  readonly #fills: RunLoop;
  readonly #headPolls: RunLoop;
  readonly #headLooks = new DeepLooks();
  #lease: Lease;
  #isStopping = false;
  readonly #room: Room;
  readonly #pauses: Pauses;
  readonly #activity: ActivityLog;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    const { database, index, clock, log, metrics } = parts;
    this.#lease = this.#newLease();
    this.#claimer = new Claimer({
      database,
      index,
      clock,
      metrics,
      onLook: (queue, at) => this.hint(queue, at),
      onRated: (queue) => this.#lanes.get(queue)?.forgetRate(),
    });
    this.#settler = new Settler({
      ...parts,
      inFlight: () => this.#firing.count,
      onDue: (queue, at) => this.hint(queue, at),
    });
    this.#firing = new Firing({ ...parts, settler: this.#settler });
    this.#room = new Room({ inFlight: () => this.#firing.count, wake: (queue) => this.#lanes.get(queue)?.wake() });
    this.#origins = new Origins({ nowMs: monotonicMs, log, metrics, onChange: createOriginRecorder(database, log) });
    this.#shares = new Shares({ database, log, onGranted: (queue) => this.#lanes.get(queue)?.wake() }, this.#lease.id);
    this.#pauses = new Pauses({ database, index, onResumed: (queue) => this.queueChanged(queue) });
    this.#activity = new ActivityLog(database, () => this.#lease.id);
    this.#healer = new Healer({
      database,
      index,
      metrics,
      log,
      fullQueues: () => [...this.#lanes.values()].filter((lane) => lane.isFull).map((lane) => lane.queue),
      isInFlight: (id) => this.#firing.has(id) || this.#claimer.has(id),
      onDue: (queue, ids) => this.#lane(queue)?.hand(ids),
      onSoon: (queue, at) => this.hint(queue, at),
      onClaimed: (task, lease) => this.#lane(task.queue)?.adopt(task, lease),
    });
    this.#filler = parts.redisIndex === null ? null : new Filler({ database, index: parts.redisIndex, clock });
    const onError = (error: unknown): void => log[failureLevel(error)]({ err: error }, "dispatcher.round_failed");
    this.#rounds = new RunLoop({ tick: () => this.#round(), onError, errorSleepMs: roundMs });
    this.#fills = new RunLoop({ tick: () => this.#fill(), onError, errorSleepMs: roundMs });
    this.#headPolls = new RunLoop({ tick: () => this.#pollHeads(), onError, errorSleepMs: roundMs });
  }

  start(): void {
    this.#rounds.start();
    if (this.#filler !== null) this.#fills.start();
    if (this.#parts.isApiElsewhere) this.#headPolls.start();
  }

  /** A task of the queue waits, due at `at`. A hint: the round finds it too. */
  hint(queue: string, at: number): void {
    this.#lane(queue)?.hint(at);
  }

  /** A queue was resumed, or its limits were changed: what waits there is looked at now. */
  queueChanged(queue: string): void {
    this.#pauses.resumed(queue);
    this.#parts.redisIndex?.distrust(queue);
    const lane = this.#lane(queue);
    lane?.forgetRate();
    lane?.hint(this.#parts.clock.now());
  }

  /**
   * Drains: no new work is taken, calls in flight end or hit their timeout; one still open after 30 s is aborted and recorded `lost`. The
   * lease is renewed until the last outcome is written. Resolves to false where outcomes could not be written.
   */
  async stop(): Promise<boolean> {
    this.#isStopping = true;
    const done = this.#quiet();
    const giving = new RunLoop({
      tick: () => this.#giveUpSlots(),
      onError: () => undefined,
      errorSleepMs: roundMs,
    }).start();
    let isWritten = await isWithin(done, drainMs);
    if (this.#parts.sender.callCount > 0) {
      this.#parts.sender.abortAll();
      isWritten = await isWithin(done, abortedSettleMs);
    }
    void giving.stop();
    await this.#lease.stop();
    // Else its lease lapses.
    const unregister = () => unregisterDispatcher(this.#parts.database, this.#lease.id).catch(() => undefined);
    if (isWritten) await isWithin(unregister(), unregisterMs);
    return isWritten;
  }

  /** Resolves once nothing is claimed any more and all outcomes are written: with Postgres silent, both may take long. */
  async #quiet(): Promise<void> {
    const lanes = [...this.#lanes.values()];
    await Promise.all([this.#rounds, this.#fills, this.#headPolls, ...lanes].map((loop) => loop.stop()));
    await this.#firing.drained();
    await this.#activity.tell().catch(() => undefined);
  }

  /** While draining, the others may have the slots of calls that have ended. */
  async #giveUpSlots(): Promise<number> {
    await this.#shares.rebalance(() => this.#demands());
    return roundMs;
  }

  #demands(): Map<string, LaneDemand> {
    const draining = this.#isStopping ? { isHungry: false, isDraining: true } : {};
    return new Map([...this.#lanes.values()].map((lane) => [lane.queue, { ...lane.demand, ...draining }]));
  }

  /** Null while stopping: no lane is made any more. */
  #lane(queue: string): Lane | null {
    const standing = this.#lanes.get(queue);
    if (standing !== undefined || this.#isStopping) return standing ?? null;
    const { database, index, clock, log, metrics } = this.#parts;
    const lane = new Lane(queue, {
      index,
      claimer: this.#claimer,
      shares: this.#shares,
      clock,
      room: () => (this.#isStopping || !this.#lease.maySend ? 0 : this.#room.left(queue)),
      isPaused: () => this.#pauses.has(queue),
      isTakenOnce: () => this.#parts.redisIndex?.isRedisUp ?? false,
      reserve: (change) => this.#room.reserve(change),
      origins: new LaneOrigins(queue, { database, index, clock, metrics, origins: this.#origins }),
      lease: () => this.#lease,
      fire: (task, lease, onCallEnded) => void this.#fire(task, lease, onCallEnded),
      onError: (error) => log[failureLevel(error)]({ err: error, queue }, "lane.round_failed"),
    });
    this.#lanes.set(queue, lane);
    if (!this.#pauses.has(queue)) void this.#filler?.fillQueues([queue]);
    return lane.start();
  }

  async #fire(task: ClaimedTask, lease: Lease, onCallEnded: CallEnded): Promise<void> {
    this.#activity.add(task);
    await this.#firing.fire(task, lease, onCallEnded);
    this.#room.wakeWaiting();
  }

  /** Each step for itself: one that fails does not keep the others from being taken. */
  async #round(): Promise<number> {
    const startedMs = monotonicMs();
    const steps = await Promise.allSettled([
      this.#pauses.look(),
      this.#activity.tell(),
      this.#healer.healDue(),
      this.#reclaim(this.#lease),
      this.#shares.rebalance(() => this.#demands()),
    ]);
    for (const step of steps)
      if (step.status === "rejected")
        this.#parts.log[failureLevel(step.reason)]({ err: step.reason }, "dispatcher.step_failed");
    this.#parts.metrics.setInFlight(this.#firing.count);
    this.#parts.metrics.setQueuesPaused(this.#pauses.count);
    await this.#dropIdleLanes();
    return Math.max(0, roundMs - (monotonicMs() - startedMs));
  }

  /**
   * One after the other: a look at what a takeover has committed and not yet told would find a stray that is none, and its call might be
   * made twice (test/model/strays.pml).
   */
  async #reclaim(lease: Lease): Promise<void> {
    try {
      await this.#healer.takeOverFromDead(lease);
    } finally {
      await this.#healer.adoptStrays(lease);
    }
  }

  async #fill(): Promise<number> {
    await this.#filler?.fillQueues([...this.#lanes.keys()].filter((queue) => !this.#pauses.has(queue)));
    return roundMs;
  }

  async #pollHeads(): Promise<number> {
    if (this.#parts.redisIndex?.isRedisUp) return roundMs;
    const { database, clock } = this.#parts;
    const heads = await this.#headLooks.look((isWhole) =>
      readHeads(database, { queues: null, since: isWhole ? null : clock.now() - latestMs }),
    );
    for (const [queue, at] of heads) this.hint(queue, at);
    return headPollMs;
  }

  async #dropIdleLanes(): Promise<void> {
    const now = this.#parts.clock.now();
    for (const lane of this.#lanes.values()) {
      if (lane.idleForMs(now) < laneIdleMsMax) continue;
      this.#lanes.delete(lane.queue);
      await lane.stop();
    }
  }

  #newLease(): Lease {
    const { databaseUrl, isSoleOwner, log, metrics } = this.#parts;
    const lease: Lease = new Lease({
      databaseUrl,
      isSoleOwner,
      onHeld: () => {
        this.#wakeLanes();
        this.#rounds.wake();
      },
      onDead: () => {
        if (this.#isStopping || lease !== this.#lease) return;
        log.error({ dispatcher: lease.id }, "lease.lost");
        metrics.event("lease.lost");
        this.#lease = this.#newLease();
        this.#shares.adoptOwner(this.#lease.id);
      },
    });
    return lease;
  }

  #wakeLanes(): void {
    for (const lane of this.#lanes.values()) lane.wake();
  }
}

async function isWithin(done: Promise<void>, ms: number): Promise<boolean> {
  return Promise.race([done.then(() => true), sleep(ms).then(() => false)]);
}
