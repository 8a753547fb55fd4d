// Owns the calls in flight: takes each claimed task to a persisted outcome.

import type { Clock } from "../runtime/clock.ts";
import { monotonicMs } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { AttemptResult } from "../task/attempt-result.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import { settle } from "../task/settle.ts";
import type { Sender } from "../webhook/sender.ts";
import type { Lease } from "./lease.ts";
import type { Settler } from "./settler.ts";

interface Called {
  readonly result: AttemptResult;
  readonly durationMs: number;
}

/** Told how a call ended; null: nothing was sent. */
export type CallEnded = (result: AttemptResult | null) => void;

export interface FiringParts {
  readonly sender: Sender;
  readonly settler: Settler;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
}

export class Firing {
  readonly #parts: FiringParts;
  /** The newest attempt in flight here, by task: one that was taken over may still be with its receiver beside it. */
  readonly #inFlight = new Map<string, number>();
  readonly #onEmpty: (() => void)[] = [];

  constructor(parts: FiringParts) {
    this.#parts = parts;
  }

  /** Attempts claimed and not yet settled. */
  get count(): number {
    return this.#inFlight.size;
  }

  has(id: string): boolean {
    return this.#inFlight.has(id);
  }

  /**
   * Takes one claimed task to a persisted outcome. Never rejects. `onCallEnded` is called once the receiver has no call any more: its slot
   * is free while the outcome is still being written.
   */
  async fire(task: ClaimedTask, lease: Lease, onCallEnded: CallEnded): Promise<void> {
    this.#inFlight.set(task.id, task.attempt);
    failpoint("fire.begun");
    try {
      const called = await this.#call(task, lease, onCallEnded);
      failpoint("fire.called");
      if (called !== null) await this.#settle(task, lease, called);
    } catch (error) {
      // A bug. The attempt stays in flight here, so that nobody takes it for a stray and makes its call again; whoever takes over from
      // this process records it lost.
      this.#parts.log.error({ err: error, taskId: task.id, attempt: task.attempt }, "task.fire_failed");
      return;
    }
    if (this.#inFlight.get(task.id) === task.attempt) this.#inFlight.delete(task.id);
    if (this.#inFlight.size === 0) for (const resolve of this.#onEmpty.splice(0)) resolve();
  }

  /** Resolves once nothing is in flight. */
  async drained(): Promise<void> {
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => this.#onEmpty.push(resolve));
  }

  /** Null: withheld, and nothing is to be recorded. */
  async #call(task: ClaimedTask, lease: Lease, onCallEnded: CallEnded): Promise<Called | null> {
    const { sender, clock, metrics } = this.#parts;
    const startedMs = monotonicMs();
    let called: Called | null = null;
    try {
      const result = await sender.send(task, { mayStart: () => lease.maySend, now: () => clock.now() });
      if (result.kind === "withheld") metrics.event("send.withheld");
      else called = { result, durationMs: monotonicMs() - startedMs };
    } finally {
      onCallEnded(called?.result ?? null);
    }
    return called;
  }

  async #settle(task: ClaimedTask, lease: Lease, { result, durationMs }: Called): Promise<void> {
    const { settler, clock, random, metrics } = this.#parts;
    const settlement = settle(task, result, { now: clock.now() + clock.uncertaintyMs, random });
    const verdict = await settler.settle({ task, owner: lease.id, settlement, durationMs });
    if (verdict === "superseded") return;
    const { queue, latenessMs, attempt, attemptsBefore } = task;
    const isFirst = attempt === attemptsBefore + 1;
    metrics.attemptSettled({ queue, outcome: settlement.outcome, latenessMs, durationMs, isFirst });
  }
}
