// Owns what the lease thread and the dispatcher share: a few numbers in shared memory, in whole ms of the monotonic clock.

/** No call is sent in the last part of a lease: others may judge it lapsed by a clock that runs a little faster. */
const sendMarginMs = 2_000;

export interface LeaseThreadData {
  readonly databaseUrl: string;
  readonly id: string;
  readonly leaseMs: number;
  readonly buffer: SharedArrayBuffer;
}

const endsAt = 0;
const steadySince = 1;
const dead = 2;
const cells = 3;

export class LeaseCell {
  readonly buffer: SharedArrayBuffer;
  readonly #values: BigInt64Array;

  constructor(buffer = new SharedArrayBuffer(cells * BigInt64Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#values = new BigInt64Array(buffer);
  }

  /** When the lease ends; 0 before the first. */
  get endsAtMs(): number {
    return Number(Atomics.load(this.#values, endsAt));
  }

  /** Since when it was renewed without a gap. */
  get steadySinceMs(): number {
    return Number(Atomics.load(this.#values, steadySince));
  }

  /** Somebody took over: this lease can never be renewed again. */
  get isDead(): boolean {
    return Atomics.load(this.#values, dead) !== 0n;
  }

  holds(nowMs: number): boolean {
    return !this.isDead && nowMs < this.endsAtMs;
  }

  /** The lease holds, with a margin. */
  maySend(nowMs: number): boolean {
    return this.holds(nowMs + sendMarginMs);
  }

  renew(endsAtMs: number, steadySinceMs: number): void {
    Atomics.store(this.#values, steadySince, BigInt(Math.ceil(steadySinceMs)));
    Atomics.store(this.#values, endsAt, BigInt(Math.floor(endsAtMs)));
  }

  die(): void {
    Atomics.store(this.#values, dead, 1n);
    Atomics.store(this.#values, endsAt, 0n);
  }
}
