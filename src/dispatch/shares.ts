// Owns this dispatcher's shares of the queues' slots, as Postgres has them: asked for when a lane needs them, given up when it does not
// or others want. A share that sat idle would be lost to the others for a whole lease if this process died.

import { sleep } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import type { Database } from "../store/database.ts";
import { acquireSlots, readShares, releaseSlots, type Share } from "../store/shares.ts";

/** A lane asks for this many at least, and for as many again as it uses: a burst has all it may have after a few calls. */
const slotsAskedMin = 8;

/** A call that failed (Postgres away, the queue's row held by somebody else) is made again after this. */
const askAgainMs = 50;

/** What a lane says of itself when shares are handed round. */
export interface LaneDemand {
  readonly queue: string;
  readonly running: number;
  /** It has due tasks that wait for a slot, or will have soon. */
  readonly isHungry: boolean;
  /** It begins no call any more. */
  readonly isDraining?: boolean;
}

export interface SharesParts {
  readonly database: Database;
  readonly log: Log;
  /** More slots of a queue are here. */
  readonly onGranted: (queue: string) => void;
}

export class Shares {
  readonly #parts: SharesParts;
  #owner: string;
  #slots = new Map<string, number>();
  /**
   * How many of its own slots a lane may use. Fewer than the queue's concurrency where others want some, or there are more than there may
   * be: the rest is given up as calls end. A lane that has as many asks for no more: in a drain it would at every round.
   */
  #caps = new Map<string, number>();
  /** Of the queues of which it holds or wants slots. */
  #evenShares = new Map<string, number>();
  /** Queues of which a share is being asked for or given up. */
  readonly #busy = new Set<string>();
  /** Those whose share changed since the last reading began. */
  readonly #touched = new Set<string>();
  /** Those of which one was asked for meanwhile: their lanes are woken to ask again. */
  readonly #passedOver = new Set<string>();

  constructor(parts: SharesParts, owner: string) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** How many calls of the queue this dispatcher may have in flight. */
  slots(queue: string): number {
    return Math.min(this.#slots.get(queue) ?? 0, this.#caps.get(queue) ?? Number.POSITIVE_INFINITY);
  }

  /** How many it may come to have: its even share of the queue, or what it has, where that is more. */
  share(queue: string): number {
    return Math.max(this.slots(queue), this.#evenShares.get(queue) ?? 0);
  }

  /** Another identity starts without any. */
  adoptOwner(owner: string): void {
    this.#owner = owner;
    this.#slots = new Map();
    this.#caps = new Map();
  }

  /** Asks for more slots of a queue that has `running` in flight, in the background; `onGranted` tells. */
  ask(queue: string, running: number): void {
    void this.#ask(queue, running);
  }

  /** Hands round: gives up what lanes can spare or others want, and asks again for lanes that go hungry. */
  async rebalance(demands: () => ReadonlyMap<string, LaneDemand>): Promise<void> {
    const owner = this.#owner;
    this.#touched.clear();
    const shares = await this.#parts.database.query((connection) => readShares(connection, owner));
    if (owner !== this.#owner) return;
    // What was asked for or given up meanwhile is newer than what was read.
    const isOld = (queue: string): boolean => this.#busy.has(queue) || this.#touched.has(queue);
    const idle = shares.filter((share) => !isOld(share.queue));
    const kept = [...this.#slots].filter(([queue]) => isOld(queue));
    this.#slots = new Map([...kept, ...idle.map((share) => [share.queue, share.slots] as const)]);
    this.#evenShares = new Map(shares.map((share) => [share.queue, evenShare(share)]));
    this.#caps = new Map(shares.map((share) => [share.queue, capOf(share)]));
    // The demand is looked at anew for each: a lane may have begun calls while another's slots were given up.
    await Promise.all(
      idle.map((share) => this.#alone(share.queue, () => this.#giveUp(share, demands().get(share.queue)))),
    );
    const hungry = [...demands().values()].filter(
      ({ queue, running, isHungry }) => isHungry && this.slots(queue) <= running,
    );
    await Promise.all(hungry.map(({ queue, running }) => this.#ask(queue, running)));
  }

  async #ask(queue: string, running: number): Promise<void> {
    const isCapped = (this.#slots.get(queue) ?? 0) >= (this.#caps.get(queue) ?? Number.POSITIVE_INFINITY);
    if (isCapped) return;
    await this.#alone(queue, async () => {
      const owner = this.#owner;
      const had = this.slots(queue);
      const want = Math.max(slotsAskedMin, running);
      const acquired = await acquireSlots(this.#parts.database, queue, { owner, want });
      if (owner !== this.#owner) return;
      const slots = acquired?.slots ?? 0;
      this.#slots.set(queue, slots);
      if (acquired !== null) this.#evenShares.set(queue, evenShare(acquired));
      if (slots > had) this.#parts.onGranted(queue);
    });
  }

  async #giveUp(share: Share, lane: LaneDemand | undefined): Promise<void> {
    const running = lane?.running ?? 0;
    const free = share.slots - running;
    const needed = lane?.isDraining ? running : Math.max(lane?.isHungry ? slotsAskedMin : 0, 2 * running);
    const spare = share.slots - needed;
    const claimedByOthers =
      share.othersWant > 0 ? share.slots - Math.min(evenShare(share), lane?.isHungry ? share.slots : running) : 0;
    const beyondLimit = share.total - share.concurrency;
    const count = Math.min(free, Math.max(spare, claimedByOthers, beyondLimit));
    const isSated = share.wanted > 0 && !lane?.isHungry;
    if (count <= 0 && !isSated) return;
    this.#slots.set(share.queue, share.slots - Math.max(0, count));
    await this.#parts.database.query((connection) =>
      releaseSlots(connection, share.queue, { owner: this.#owner, count: Math.max(0, count) }),
    );
  }

  /** One call a queue at a time. A call that failed, or met another, is not waited for: the lane is woken to ask again. */
  async #alone(queue: string, work: () => Promise<void>): Promise<void> {
    if (this.#busy.has(queue)) {
      this.#passedOver.add(queue);
      return;
    }
    this.#busy.add(queue);
    const failure = await work().then(
      () => null,
      (error: unknown) => ({ error }),
    );
    this.#busy.delete(queue);
    this.#touched.add(queue);
    const wasPassedOver = this.#passedOver.delete(queue);
    if (failure !== null) {
      this.#parts.log.debug({ err: failure.error, queue }, "shares.call_failed");
      await sleep(askAgainMs);
    }
    if (wasPassedOver || failure !== null) this.#parts.onGranted(queue);
  }
}

/** A concurrency that was lowered is shared out anew, to the last slot: in all no more than it, whatever each has in flight. */
function capOf(share: Share): number {
  const { concurrency, total, owners, place, othersWant } = share;
  if (total > concurrency) {
    const rest = place < concurrency % Math.max(1, owners) ? 1 : 0;
    return Math.floor(concurrency / Math.max(1, owners)) + rest;
  }
  return othersWant > 0 ? evenShare(share) : concurrency;
}

/** At least one: with more dispatchers than slots, those that hold one keep it while they need it. */
function evenShare({ concurrency, holders }: Pick<Share, "concurrency" | "holders">): number {
  return Math.max(1, Math.floor(concurrency / Math.max(1, holders)));
}
