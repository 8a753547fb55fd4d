// Owns writing outcomes: by group commit, again until they are written, and the index set by what then stands.

import type { DueEntry, DueIndex } from "../due-index/due-index.ts";
import { entryHorizonMs } from "../due-index/due-index.ts";
import type { Clock } from "../runtime/clock.ts";
import { sleep } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import { GroupCommit } from "../runtime/group-commit.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { readStanding } from "../store/claims.ts";
import type { Database } from "../store/database.ts";
import { LockTimeoutError, StoreUnavailableError } from "../store/errors.ts";
import { type Settled, type Settling, settleAttempts } from "../store/settle.ts";

const settlesPerWriteMax = 500;
/**
 * Outcomes wait for company while other calls are open, or another write is under way, until there are this many: in a drain that saves a
 * tenth of Node's and Postgres's CPU a task. Nobody waits for an outcome: its slot is free already.
 */
export const companyMin = 200;
const lingerMs = 10;
/** A write that takes longer may hang: the others go on without it. */
const slowWriteMs = 100;
/** A row held by a transaction of somebody else, or a lost server, is tried again after this. */
const lockedRetryMs = 50;
const unavailableRetryMs = 250;

const unstorable = "What the receiver answered could not be stored";

/** Null: the write did not win the row. */
type Written = Settled | null | { readonly fault: unknown };

export interface SettlerParts {
  readonly database: Database;
  readonly index: DueIndex;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Attempts claimed and not yet settled. */
  readonly inFlight: () => number;
  /** A task waits again. */
  readonly onDue: (queue: string, at: number) => void;
}

export class Settler {
  readonly #parts: SettlerParts;
  readonly #writes: GroupCommit<Settling, Written>;

  constructor(parts: SettlerParts) {
    this.#parts = parts;
    this.#writes = new GroupCommit({
      write: (settlings) => this.#writeApart(settlings),
      batchMax: settlesPerWriteMax,
      writersMax: 2,
      companyMin,
      // Those whose calls are still open will bring company.
      lingerMs: (isAnotherUnderWay) => {
        if (isAnotherUnderWay) return slowWriteMs;
        return parts.inFlight() > this.#writes.waitingCount ? lingerMs : 0;
      },
    });
  }

  /**
   * Writes an attempt's outcome. `saved`; or `superseded`: a newer attempt owns the task, or this very outcome was written by a send
   * whose answer was lost. Never gives up, while Postgres is away or whatever else it says. What the receiver sent and Postgres cannot store is left out, so that
   * an outcome is never tried in a circle.
   */
  async settle(settling: Settling): Promise<"saved" | "superseded"> {
    failpoint("settle.decided");
    while (true) {
      const written = await this.#try(settling);
      if (written === "again") continue;
      if (written !== null) return "saved";
      if (await this.#isSuperseded(settling)) return "superseded";
      await sleep(lockedRetryMs);
    }
  }

  drained(): Promise<void> {
    return this.#writes.drained();
  }

  async #try(settling: Settling): Promise<Settled | null | "again"> {
    try {
      const written = await this.#writes.add(settling);
      if (written === null || !("fault" in written)) return written;
      if (settling.settlement.error === unstorable) throw written.fault;
      return this.#try({
        ...settling,
        settlement: { ...settling.settlement, error: unstorable, responseSnippet: null },
      });
    } catch (error) {
      // Whatever it is: the call was made, and an outcome that was given up would come back as a call made again.
      if (!(error instanceof StoreUnavailableError))
        this.#parts.log.error({ err: error, taskId: settling.task.id }, "settle.refused");
      this.#parts.metrics.event("settle.retried");
      await sleep(unavailableRetryMs);
      return "again";
    }
  }

  /** Those that end a schedule need its row, which somebody may hold: the others do not wait for it. */
  async #writeApart(settlings: readonly Settling[]): Promise<Written[]> {
    const ending = settlings.filter(({ settlement }) => settlement.endsSchedule);
    if (ending.length === 0) return this.#write(settlings);
    const others = settlings.filter(({ settlement }) => !settlement.endsSchedule);
    const parts = [others, ...ending.map((settling) => [settling])].filter((part) => part.length > 0);
    const written = new Map<Settling, Written>();
    const writePart = async (part: readonly Settling[]): Promise<void> => {
      const outcomes = await this.#write(part).catch((error: unknown) => {
        if (error instanceof LockTimeoutError && part.every(({ settlement }) => settlement.endsSchedule)) return [];
        throw error;
      });
      for (const [i, settling] of part.entries()) written.set(settling, outcomes[i] ?? null);
    };
    await Promise.all(parts.map(writePart));
    return settlings.map((settling) => written.get(settling) ?? null);
  }

  /** A row that the server refuses is found by halving, so that it cannot hold up its neighbours. */
  async #write(settlings: readonly Settling[]): Promise<Written[]> {
    try {
      const settled = new Map((await settleAttempts(this.#parts.database, settlings)).map((row) => [row.id, row]));
      failpoint("settle.committed");
      const written = settlings.map(({ task }) => settled.get(task.id) ?? null);
      this.#reindex(settlings, written);
      return written;
    } catch (error) {
      if (error instanceof StoreUnavailableError || error instanceof LockTimeoutError) throw error;
      if (settlings.length === 1) return [{ fault: error }];
      const middle = Math.ceil(settlings.length / 2);
      return [...(await this.#write(settlings.slice(0, middle))), ...(await this.#write(settlings.slice(middle)))];
    }
  }

  async #isSuperseded({ task, owner }: Settling): Promise<boolean> {
    try {
      const [standing] = await this.#parts.database.query((connection) => readStanding(connection, [task.id]));
      const isOurs = standing?.state === "running" && standing.attempts === task.attempt && standing.owner === owner;
      if (!isOurs) this.#parts.metrics.event("settle.superseded");
      return !isOurs;
    } catch {
      return false;
    }
  }

  /** The entries follow the rows; where this fails, the next look at an entry mends it. */
  #reindex(settlings: readonly Settling[], written: readonly (Settled | null)[]): void {
    const { index, clock, onDue } = this.#parts;
    const entryUntil = clock.now() + entryHorizonMs;
    const moves: DueEntry[] = [];
    const removals: Omit<DueEntry, "at">[] = [];
    for (const [i, settled] of written.entries()) {
      const queue = settlings[i]?.task.queue;
      if (settled === null || queue === undefined) continue;
      const { id, nextAttemptAt: at } = settled;
      if (at !== null && at <= entryUntil) moves.push({ queue, id, at });
      else removals.push({ queue, id });
    }
    void index.remove(removals).catch(() => undefined);
    const told = (): void => {
      failpoint("settle.indexed");
      for (const { queue, at } of moves) onDue(queue, at);
    };
    if (moves.length > 0) void index.move(moves).then(told, told);
  }
}
