// Owns which queues are paused, as far as this process knows: read once a second in one statement for all of them. It only spares work:
// the claim decides. A paused queue's lane sleeps, and its index is not filled.

import type { DueIndex } from "../due-index/due-index.ts";
import type { Database } from "../store/database.ts";
import { readPausedQueues } from "../store/queues.ts";

export interface PausesParts {
  readonly database: Database;
  readonly index: DueIndex;
  /** It is not paused any more, and nobody told. */
  readonly onResumed: (queue: string) => void;
}

export class Pauses {
  readonly #parts: PausesParts;
  #paused: ReadonlySet<string> = new Set();
  /** Told of since the last reading began: what it says of them may be old. */
  readonly #told = new Set<string>();

  constructor(parts: PausesParts) {
    this.#parts = parts;
  }

  has(queue: string): boolean {
    return this.#paused.has(queue);
  }

  get count(): number {
    return this.#paused.size;
  }

  /** Word came that the queue is not paused. */
  resumed(queue: string): void {
    this.#told.add(queue);
    this.#paused = new Set([...this.#paused].filter((one) => one !== queue));
  }

  async look(): Promise<void> {
    this.#told.clear();
    const before = this.#paused;
    const paused = await this.#parts.database.query(readPausedQueues);
    this.#paused = new Set(paused.filter((queue) => !this.#told.has(queue)));
    const resumed = [...before].filter((queue) => !this.#paused.has(queue) && !this.#told.has(queue));
    for (const queue of resumed) {
      // Claims that were refused have taken its tasks out of the index.
      void this.#parts.index.reset(queue).catch(() => undefined);
      this.#parts.onResumed(queue);
    }
  }
}
