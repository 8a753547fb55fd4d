// Owns how many attempts this process has in flight at most, over all its queues, and which lanes wait for it to have room again.

/** Attempts that one process has in flight at most: bounds its sockets and memory. */
const attemptsInFlightMax = 1_000;

export interface RoomParts {
  /** Attempts claimed and not yet settled. */
  readonly inFlight: () => number;
  readonly wake: (queue: string) => void;
}

export class Room {
  readonly #parts: RoomParts;
  /** Attempts that lanes may be about to begin. */
  #reserved = 0;
  /** Queues whose lanes found no room: they sleep until told. */
  readonly #crowdedOut = new Set<string>();

  constructor(parts: RoomParts) {
    this.#parts = parts;
  }

  /** How many more the queue's lane may begin; one that finds no room is woken once there is some. */
  left(queue: string): number {
    const left = attemptsInFlightMax - this.#parts.inFlight() - this.#reserved;
    if (left <= 0) this.#crowdedOut.add(queue);
    return left;
  }

  /** More (or, below 0, fewer) are spoken for by what is being taken and claimed. */
  reserve(change: number): void {
    this.#reserved += change;
    if (change < 0) this.wakeWaiting();
  }

  wakeWaiting(): void {
    if (this.#crowdedOut.size === 0 || this.#parts.inFlight() + this.#reserved >= attemptsInFlightMax) return;
    const queues = [...this.#crowdedOut];
    this.#crowdedOut.clear();
    for (const queue of queues) this.#parts.wake(queue);
  }
}
