// Owns telling the index, and whoever dispatches here, of tasks that callers made or changed: those of one turn of the event loop together.

import { failpoint } from "../runtime/failpoint.ts";
import { type DueEntry, type DueIndex, entryHorizonMs, type GoneEntry } from "./due-index.ts";

export interface EntryFeedParts {
  readonly index: DueIndex;
  readonly now: () => number;
  /** A task of the queue is due at `at`, and entered. */
  readonly onEntered: (queue: string, at: number) => void;
  readonly onQueueChanged: (queue: string) => void;
}

/** All of it is a hint: where a call fails, Postgres has the task, and healing finds it. Nobody waits for it. */
export class EntryFeed {
  readonly #parts: EntryFeedParts;
  #due: DueEntry[] = [];
  #gone: GoneEntry[] = [];
  #isScheduled = false;

  constructor(parts: EntryFeedParts) {
    this.#parts = parts;
  }

  /** New tasks: of those beyond what the index holds it knows nothing yet, and need not be told. */
  made(entries: readonly DueEntry[]): void {
    const until = this.#parts.now() + entryHorizonMs;
    for (const entry of entries) if (entry.at <= until) this.#due.push(entry);
    this.#schedule();
  }

  /** Tasks whose due time was moved. */
  due(entries: readonly DueEntry[]): void {
    const until = this.#parts.now() + entryHorizonMs;
    for (const entry of entries) {
      if (entry.at <= until) this.#due.push(entry);
      // It was put off beyond what the index holds.
      else this.#gone.push(entry);
    }
    this.#schedule();
  }

  /** Tasks that wait no more: those beyond what the index holds it does not know. (An old entry that is left there finds no task to claim.) */
  gone(entries: readonly GoneEntry[]): void {
    const until = this.#parts.now() + entryHorizonMs;
    for (const entry of entries) if (entry.at === undefined || entry.at <= until) this.#gone.push(entry);
    this.#schedule();
  }

  queueChanged(queue: string): void {
    void this.#parts.index.reset(queue).catch(() => undefined);
    this.#parts.onQueueChanged(queue);
  }

  #schedule(): void {
    if (this.#isScheduled || this.#due.length + this.#gone.length === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      void this.#feed(this.#due.splice(0), this.#gone.splice(0));
    });
  }

  async #feed(due: readonly DueEntry[], gone: readonly GoneEntry[]): Promise<void> {
    const { index, onEntered } = this.#parts;
    failpoint("index.unfed");
    if (gone.length > 0) void index.remove(gone).catch(() => undefined);
    if (due.length === 0) return;
    await index.put(due).catch(() => undefined);
    failpoint("index.fed");
    for (const [queue, entries] of Map.groupBy(due, (entry) => entry.queue))
      onEntered(queue, Math.min(...entries.map((entry) => entry.at)));
  }
}
