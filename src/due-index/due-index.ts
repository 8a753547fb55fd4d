// Owns what a due index is: ids by the next moment at which someone must look at them. It may be empty, stale or gone; nothing fires on
// its word alone.

/** Entries due within this are kept in Redis; its memory follows the near future, not the backlog. */
export const horizonMs = 10 * 60_000;
/** A new task due within this is entered at once; two minutes beyond the horizon, so that the filler never leaves a gap. */
export const entryHorizonMs = 12 * 60_000;

export interface DueEntry {
  readonly queue: string;
  readonly id: string;
  /** When to look at it, in ms since the epoch. */
  readonly at: number;
}

/** An entry that is to be removed; `at`, where it is known, tells whether there is one. */
export type GoneEntry = Omit<DueEntry, "at"> & Partial<Pick<DueEntry, "at">>;

export interface Taken {
  readonly ids: readonly string[];
  /** When the next entry of the queue is due; null where none is known. */
  readonly nextAt: number | null;
}

/** What a take may ask for: no script or statement is to hold its server for more than a few ms. */
export const idsPerTakeMax = 500;

export interface TakeRequest {
  readonly queue: string;
  readonly now: number;
  /** Until when the ids taken are nobody else's. */
  readonly leaseUntil: number;
  /** At most `idsPerTakeMax`. */
  readonly limit: number;
}

/** A due index. Every method rejects with an error of the server's where it cannot answer; the caller goes on without. */
export interface DueIndex {
  /** Enters tasks; an entry that is there only ever moves to an earlier time. */
  put(entries: readonly DueEntry[]): Promise<void>;
  take(request: TakeRequest): Promise<Taken>;
  /** Sets entries to a time, earlier or later. */
  move(entries: readonly DueEntry[]): Promise<void>;
  remove(entries: readonly Omit<DueEntry, "at">[]): Promise<void>;
  /** Forgets how far the queue is entered, and wakes whoever looks at it. */
  reset(queue: string): Promise<void>;
}
