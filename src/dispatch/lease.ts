// Owns a dispatcher's identity and lease. An identity is made anew at each start, and after each death.

import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { v7 as uuidv7 } from "uuid";
import { monotonicMs } from "../runtime/clock.ts";
import { leaseMs } from "../store/owners.ts";
import { LeaseCell, type LeaseThreadData } from "./lease-cell.ts";

export interface LeaseOptions {
  readonly databaseUrl: string;
  /** No other process can have a lease on this database: it is this one's own child. */
  readonly isSoleOwner: boolean;
  /** Called when the lease is held, at first and after each time that it was in doubt. */
  readonly onHeld: () => void;
  /** Called once, when the lease was found to be taken over. */
  readonly onDead: () => void;
}

export class Lease {
  readonly id = uuidv7();
  readonly #cell = new LeaseCell();
  readonly #worker: Worker;
  readonly #exited: Promise<void>;

  readonly #isSoleOwner: boolean;

  constructor({ databaseUrl, isSoleOwner, onHeld, onDead }: LeaseOptions) {
    this.#isSoleOwner = isSoleOwner;
    const data: LeaseThreadData = { databaseUrl, id: this.id, leaseMs, buffer: this.#cell.buffer };
    this.#worker = new Worker(new URL(`./lease-thread${extname(import.meta.url)}`, import.meta.url), {
      workerData: data,
    });
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.#worker.on("message", (message) => {
      if (message === "dead") onDead();
      else onHeld();
    });
    this.#worker.on("error", () => {
      this.#cell.die();
      onDead();
    });
  }

  /** A call may be sent now: the lease holds, with a margin, by the monotonic clock. */
  get maySend(): boolean {
    return this.#cell.maySend(monotonicMs());
  }

  /** The lease is registered and holds. */
  get isHeld(): boolean {
    return this.#cell.holds(monotonicMs());
  }

  /**
   * Others may be judged: this process has been connected for a whole lease. After an outage of Postgres longer than a lease every lease
   * looks lapsed, and each owner must have had time to renew first.
   */
  get mayTakeOver(): boolean {
    return this.isHeld && (this.#isSoleOwner || monotonicMs() - this.#cell.steadySinceMs >= leaseMs);
  }

  /** Ends the renewal; the lease then lapses, unless its row is removed. */
  async stop(): Promise<void> {
    this.#worker.postMessage("stop");
    await this.#exited;
  }
}
