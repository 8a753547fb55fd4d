// Owns how a lane's slots are divided among the origins that its tasks go to, so that one that does not answer harms nobody else.

import type { DueIndex } from "../due-index/due-index.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Database } from "../store/database.ts";
import { type Deferral, deferTasks, readTargets, type Target } from "../store/deferral.ts";
import type { AttemptResult } from "../task/attempt-result.ts";
import { readTarget } from "../webhook/target.ts";
import type { Origin } from "./origin.ts";
import type { Origins } from "./origins.ts";

export interface LaneOriginsParts {
  readonly database: Database;
  readonly index: DueIndex;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly origins: Origins;
}

interface Sorted {
  readonly admitted: readonly string[];
  readonly deferred: readonly Deferral[];
}

export class LaneOrigins {
  readonly #parts: LaneOriginsParts;
  readonly #queue: string;
  /** Calls in flight, by origin. */
  readonly #inFlight = new Map<string, { readonly origin: Origin; count: number }>();
  #lastName: string | null = null;
  /** Tasks of more than one origin came this way. */
  #isShared = false;

  constructor(queue: string, parts: LaneOriginsParts) {
    this.#queue = queue;
    this.#parts = parts;
  }

  /** A call to the URL begins; the function returned is to be called with its result when it has ended. */
  began(url: string): (result: AttemptResult | null) => void {
    const name = originOf(url);
    if (name === null) return () => undefined;
    this.#meet(name);
    const calls = this.#inFlight.get(name) ?? { origin: this.#parts.origins.of(name), count: 0 };
    this.#inFlight.set(name, calls);
    calls.count += 1;
    const beganAtMs = this.#parts.origins.nowMs;
    calls.origin.began(beganAtMs);
    return (result) => {
      calls.count -= 1;
      if (calls.count === 0) this.#inFlight.delete(name);
      this.#parts.origins.ended(calls.origin, result, beganAtMs);
    };
  }

  /**
   * Those of the ids whose origins may be called now. The others are put off in Postgres and in the index, without an attempt; resolves
   * also to when the first of them should be looked at. While every origin answers, it costs nothing.
   */
  async admit(ids: readonly string[], slots: number): Promise<{ ids: readonly string[]; nextAt: number }> {
    if (!this.#mayRefuse(ids.length, slots)) return { ids, nextAt: Number.POSITIVE_INFINITY };
    const { database, index, metrics } = this.#parts;
    const targets = await database.query((connection) => readTargets(connection, ids));
    const { admitted, deferred } = this.#sort(ids, new Map(targets.map((target) => [target.id, target])), slots);
    if (deferred.length === 0) return { ids: admitted, nextAt: Number.POSITIVE_INFINITY };
    await database.query((connection) => deferTasks(connection, deferred));
    metrics.event("task.deferred", deferred.length);
    await index.move(deferred.map(({ id, at }) => ({ queue: this.#queue, id, at }))).catch(() => undefined);
    return { ids: admitted, nextAt: Math.min(...deferred.map(({ at }) => at)) };
  }

  /** Who may be called depends on the calls in flight: one origin is in trouble, or tasks of several come this way. */
  get mayDivide(): boolean {
    return this.#isShared || !this.#parts.origins.areAllWell;
  }

  #mayRefuse(count: number, slots: number): boolean {
    if (!this.#parts.origins.areAllWell) return true;
    return this.#isShared && this.#silentCount() + count > Math.ceil(slots / 2);
  }

  #sort(ids: readonly string[], targets: ReadonlyMap<string, Target>, slots: number): Sorted {
    const { clock, origins } = this.#parts;
    const { nowMs } = origins;
    const added = new Map<string, number>();
    let silent = this.#silentCount();
    const admitted: string[] = [];
    const deferred: Deferral[] = [];
    for (const id of ids) {
      const name = originOf(targets.get(id)?.url ?? "");
      if (name === null) {
        // Gone, or no URL: the claim and the sender say what becomes of it.
        admitted.push(id);
        continue;
      }
      this.#meet(name);
      const origin = origins.of(name);
      const own = (this.#inFlight.get(name)?.count ?? 0) + (added.get(name) ?? 0);
      const waitMs = origin.waitMs({ slots, own, silent, isShared: this.#isShared }, nowMs);
      if (waitMs !== null) {
        deferred.push({ id, at: clock.after(waitMs) });
        continue;
      }
      admitted.push(id);
      added.set(name, (added.get(name) ?? 0) + 1);
      if (!origin.isTrusted(nowMs)) silent += 1;
    }
    return { admitted, deferred };
  }

  #silentCount(): number {
    const { nowMs } = this.#parts.origins;
    let silent = 0;
    for (const { origin, count } of this.#inFlight.values()) if (!origin.isTrusted(nowMs)) silent += count;
    return silent;
  }

  #meet(name: string): void {
    this.#isShared ||= this.#lastName !== null && this.#lastName !== name;
    this.#lastName = name;
  }
}

/** Scheme, host and port; null where nothing can be sent to the URL. */
function originOf(url: string): string | null {
  const form = readTarget(url);
  return "fault" in form ? null : form.target.origin;
}
