// Owns the running side of a queue: sleeps until its head is due, takes as many tasks as there are free slots, claims them and lets them
// be fired. It goes on without sleeping while takes come back full.

import { type DueIndex, idsPerTakeMax } from "../due-index/due-index.ts";
import type { Clock } from "../runtime/clock.ts";
import { sleepMsMax } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import { RunLoop } from "../runtime/run-loop.ts";
import { leaseMs } from "../store/owners.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import type { Claimer } from "./claimer.ts";
import { nextTakeInMs, slowInMs } from "./company.ts";
import type { CallEnded } from "./firing.ts";
import { Head } from "./head.ts";
import type { LaneOrigins } from "./lane-origins.ts";
import type { Lease } from "./lease.ts";
import { Pace } from "./pace.ts";
import type { LaneDemand, Shares } from "./shares.ts";

/** Ids that healing hands over and that wait for a slot; beyond them the next heal hands on. */
const handedMax = 2_000;
/** A lane whose next task is due within this, or was active within it, holds slots. */
const readyAheadMs = 5_000;
const errorSleepMs = 100;
/** After a take of which nothing was won (stale entries, another process was first): the next may be as barren. */
const barrenSleepMs = 1;

export interface LaneParts {
  readonly index: DueIndex;
  readonly claimer: Pick<Claimer, "claim">;
  readonly shares: Shares;
  readonly clock: Clock;
  /** How many more attempts this process may have in flight. */
  readonly room: () => number;
  /** More (or, below 0, fewer) of that room is spoken for by what is being taken and claimed. */
  readonly reserve: (change: number) => void;
  /** As far as this process knows: the claim decides. */
  readonly isPaused: () => boolean;
  /** What a take of the index returned is in no other take for a while. */
  readonly isTakenOnce: () => boolean;
  readonly origins: LaneOrigins;
  readonly lease: () => Lease;
  /** Takes a claimed task to its outcome, and says when its call has ended. */
  readonly fire: (task: ClaimedTask, lease: Lease, onCallEnded: CallEnded) => void;
  readonly onError: (error: unknown) => void;
}

export class Lane {
  readonly queue: string;
  readonly #parts: LaneParts;
  readonly #loop: RunLoop;
  readonly #besideLoop: RunLoop;
  readonly #handed = new Set<string>();
  readonly #pace = new Pace();
  #running = 0;
  /** Slots for what is being taken or claimed: each may come back to be run. */
  #reserved = 0;
  /** When the round under way began to wait for its claim; null: it does not. */
  #claimingAt: number | null = null;
  /** Since the main round was woken last for what a round beside it may have kept from it. */
  #hasRunBeside = false;
  /** Since when the free slots wait for company: since the last take, or since the first that came free after it. */
  #companySince = 0;
  /** When it last had something to do. */
  #activeAt: number;
  readonly #head: Head;
  /** The last take found no free slot, or came back full: there may be more. */
  #isHungry = false;

  constructor(queue: string, parts: LaneParts) {
    this.queue = queue;
    this.#parts = parts;
    this.#activeAt = parts.clock.now();
    this.#head = new Head({ clock: parts.clock, mayTakeAhead: parts.isTakenOnce });
    const { onError } = parts;
    this.#loop = new RunLoop({ tick: () => this.#round("main"), onError, errorSleepMs });
    this.#besideLoop = new RunLoop({ tick: () => this.#roundBeside(), onError, errorSleepMs });
  }

  get demand(): LaneDemand {
    const now = this.#parts.clock.now();
    // One that was active a moment ago is likely to be so again: a share given up between two tasks would make the next one late.
    const isActive = this.#head.at - now < readyAheadMs || now - this.#activeAt < readyAheadMs;
    const running = this.#running + this.#reserved;
    return { queue: this.queue, running, isHungry: this.#isHungry || this.#handed.size > 0 || isActive };
  }

  /** What is due in its queue waits for a slot or for the rate, not for anybody's help. */
  get isFull(): boolean {
    return (this.#room() <= 0 && this.#running > 0) || this.#pace.room(this.#parts.clock.now()) <= 0;
  }

  /** The queue has a rate limit, or another than before. */
  forgetRate(): void {
    this.#pace.forget();
    this.#loop.wake();
  }

  /** For how long it has had nothing to do and known of nothing to come. */
  idleForMs(now: number): number {
    const isIdle = this.#running === 0 && this.#handed.size === 0 && this.#head.at === Number.POSITIVE_INFINITY;
    return isIdle ? now - this.#activeAt : 0;
  }

  start(): this {
    this.#loop.start();
    return this;
  }

  /** A task is due at `at`: a hint, earlier than all that the lane knows or without effect. */
  hint(at: number): void {
    if (!this.#head.tell(at)) return;
    this.#activeAt = this.#parts.clock.now();
    if (this.#parts.shares.slots(this.queue) === 0) this.#parts.shares.ask(this.queue, this.#running);
    this.#look(this.#head.lookInMs);
  }

  /**
   * Hands over ids that are due, to be claimed without the index. A lane that is busy with what the index gives it takes only a round's
   * worth: most of them are in the index too, and others may be at them.
   */
  hand(ids: readonly string[]): void {
    const max = this.#isHungry ? Math.max(1, this.#room()) : handedMax;
    for (const id of ids) if (this.#handed.size < max) this.#handed.add(id);
    this.#look(0);
  }

  /** Looks now: slots came free, or are here. */
  wake(): void {
    this.#look(0);
  }

  /** Fires a task that was claimed elsewhere: taken over, or found to be one's own. */
  adopt(task: ClaimedTask, lease: Lease): void {
    this.#fire(task, lease);
  }

  /** No round starts any more. Calls in flight go on. */
  async stop(): Promise<void> {
    await Promise.all([this.#loop.stop(), this.#besideLoop.stop()]);
  }

  /** A round begins in `delayMs` at the latest: beside the one under way, where that one waits for its claim. */
  #look(delayMs: number): void {
    this.#loop.wakeIn(delayMs);
    this.#lookBeside(delayMs);
  }

  #lookBeside(delayMs: number): void {
    this.#besideLoop.wakeIn(Math.max(this.#besideInMs(), delayMs));
  }

  /**
   * With more due than slots, a slot that comes free while a claim is under way need not wait for its answer: the next take and claim may go
   * beside it at once. Not (`sleepMsMax`) where each claim must know of the one before: within a rate, among origins, or where two takes
   * would return the same.
   */
  #besideInMs(): number {
    const { isTakenOnce, origins, clock } = this.#parts;
    const at = this.#claimingAt;
    if (at === null || this.#pace.isRated || origins.mayDivide || !isTakenOnce()) return sleepMsMax;
    return this.#isHungry ? 0 : slowInMs(at, clock.now());
  }

  /** In the end the main round looks again: it may have found no slot while this one held them, and gone to sleep. */
  async #roundBeside(): Promise<number> {
    const inMs = this.#besideInMs();
    const mayRun = inMs === 0;
    if (!mayRun && this.#hasRunBeside) this.#loop.wake();
    this.#hasRunBeside = mayRun;
    return mayRun ? this.#round("beside") : inMs;
  }

  /** One round; resolves to how long to sleep. */
  async #round(place: "main" | "beside"): Promise<number> {
    const { shares, isPaused } = this.#parts;
    if (isPaused()) return this.#rest();
    if (shares.slots(this.queue) <= this.#running) shares.ask(this.queue, this.#running);
    const now = this.#parts.clock.now();
    const [free, startable] = [this.#room(), this.#pace.room(now)];
    const room = Math.min(free, startable);
    if (room <= 0) {
      this.#isHungry = true;
      return free <= 0
        ? sleepMsMax
        : Math.min(sleepMsMax, this.#pace.nextAt(now) + this.#parts.clock.uncertaintyMs - now);
    }
    const companyInMs = this.#companyInMs();
    if (companyInMs > 0) return companyInMs;
    let reserved = room;
    this.#reserve(reserved);
    try {
      const taken = await this.#take(room);
      this.#reserve(taken.length - reserved);
      reserved = taken.length;
      return taken.length === 0 ? this.#sleepMs() : await this.#begin(taken, place);
    } finally {
      this.#reserve(-reserved);
    }
  }

  /** What falls due in a paused queue waits: nothing is taken, and no slots are held. */
  #rest(): number {
    this.#handed.clear();
    this.#isHungry = false;
    this.#head.forget();
    return sleepMsMax;
  }

  /** Claims what was taken, and begins what was won; resolves to how long to sleep. */
  async #begin(taken: readonly string[], place: "main" | "beside"): Promise<number> {
    const { shares, origins } = this.#parts;
    failpoint("claim.taken");
    const admitted = await origins.admit(taken, shares.share(this.queue));
    this.#head.tell(admitted.nextAt);
    if (admitted.ids.length === 0) return barrenSleepMs;
    if (place === "beside") return (await this.#claim(admitted.ids)) ? 0 : barrenSleepMs;
    this.#claimingAt = this.#parts.clock.now();
    try {
      this.#lookBeside(this.#sleepMs());
      return (await this.#claim(admitted.ids)) ? this.#sleepMs() : barrenSleepMs;
    } finally {
      this.#claimingAt = null;
    }
  }

  /** Begins what it wins; false: it won nothing. */
  async #claim(ids: readonly string[]): Promise<boolean> {
    // The lease under which a task is claimed is the one under which it is sent and settled, whatever dies meanwhile.
    const lease = this.#parts.lease();
    const claimed = await this.#parts.claimer.claim({ queue: this.queue, owner: lease.id, ids }, this.#pace);
    for (const task of claimed) {
      failpoint("claim.won");
      this.#fire(task, lease);
    }
    return claimed.length > 0;
  }

  async #take(room: number): Promise<readonly string[]> {
    const { clock, index } = this.#parts;
    const now = clock.now();
    this.#companySince = now;
    if (this.#handed.size > 0) {
      const ids = [...this.#handed].slice(0, room);
      for (const id of ids) this.#handed.delete(id);
      // As a take would have moved them, so that the index does not hand them out once more.
      void index.move(ids.map((id) => ({ queue: this.queue, id, at: now + leaseMs }))).catch(() => undefined);
      failpoint("heal.handed");
      // The index has not been asked.
      this.#head.tell(now);
      return ids;
    }
    const dueUntil = this.#head.dueUntil(now);
    // What was told until now is answered by this take; what is told while it is under way stays.
    this.#head.forget();
    const limit = Math.min(room, idsPerTakeMax);
    const taken = await index.take({ queue: this.queue, now: dueUntil, leaseUntil: now + leaseMs, limit });
    this.#head.follows(taken, now);
    this.#isHungry = taken.ids.length >= limit;
    if (dueUntil + clock.uncertaintyMs > now) await clock.reached(dueUntil);
    return taken.ids;
  }

  /** None where a take that came back full, or what was handed over, says that there is more. */
  #sleepMs(): number {
    if (this.#isHungry || this.#handed.size > 0) return 0;
    return Math.max(0, Math.min(sleepMsMax, this.#head.lookInMs));
  }

  /** How long to wait for more slots to be free. */
  #companyInMs(): number {
    if (!this.#isHungry) return 0;
    const { shares, clock } = this.#parts;
    return nextTakeInMs(shares.slots(this.queue), this.#room(), clock.now() - this.#companySince);
  }

  #room(): number {
    return Math.min(this.#parts.shares.slots(this.queue) - this.#running - this.#reserved, this.#parts.room());
  }

  #reserve(change: number): void {
    this.#reserved += change;
    this.#parts.reserve(change);
  }

  #fire(task: ClaimedTask, lease: Lease): void {
    this.#running += 1;
    this.#handed.delete(task.id);
    const ended = this.#parts.origins.began(task.url);
    this.#parts.fire(task, lease, (result) => {
      ended(result);
      this.#activeAt = this.#parts.clock.now();
      if (this.#room() <= 0) this.#companySince = this.#activeAt;
      this.#running -= 1;
      if (this.#isHungry || this.#handed.size > 0) this.#look(this.#companyInMs());
    });
  }
}
