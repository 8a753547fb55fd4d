// Owns claiming: ids that lanes took are won in Postgres together, and the index is set by what stands where one was not won.

import type { DueEntry, DueIndex } from "../due-index/due-index.ts";
import { entryHorizonMs } from "../due-index/due-index.ts";
import type { Clock } from "../runtime/clock.ts";
import { GroupCommit } from "../runtime/group-commit.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import { claim, readStanding, type Standing } from "../store/claims.ts";
import type { Database } from "../store/database.ts";
import { leaseMs } from "../store/owners.ts";

/** Lanes whose takes are claimed by one statement at most. */
const requestsPerClaimMax = 64;
/** A row held by a transaction of somebody else is looked at again after this. */
const lockedLookMs = 50;
/** The clock reckoned here runs a little ahead of Postgres's: a task found not yet due is not looked at in the same ms again. */
const notYetDueLookMs = 1;

interface ClaimRequest {
  readonly queue: string;
  readonly owner: string;
  readonly ids: readonly string[];
}

/** What a lane won. `lookAt`: when a task that it did not win may be looked at again, if soon. */
export interface ClaimVerdict {
  readonly claimed: readonly ClaimedTask[];
  readonly lookAt: number | null;
}

export class Claimer {
  readonly #database: Database;
  readonly #index: DueIndex;
  readonly #clock: Clock;
  readonly #claims: GroupCommit<ClaimRequest, ClaimVerdict>;

  constructor({ database, index, clock }: { database: Database; index: DueIndex; clock: Clock }) {
    this.#database = database;
    this.#index = index;
    this.#clock = clock;
    this.#claims = new GroupCommit({
      write: (requests) => this.#claim(requests),
      batchMax: requestsPerClaimMax,
      writersMax: 2,
    });
  }

  claim(request: ClaimRequest): Promise<ClaimVerdict> {
    return this.#claims.add(request);
  }

  async #claim(requests: readonly ClaimRequest[]): Promise<ClaimVerdict[]> {
    const owner = requests[0]?.owner ?? "";
    // Requests of another identity (after a death) are left for the next look.
    const asked = requests.filter((request) => request.owner === owner).flatMap((request) => request.ids);
    const { claimed, missed } = await claim(this.#database, owner, asked);
    const won = new Map(claimed.map((task) => [task.id, task]));
    const settled = new Set(missed);
    return Promise.all(
      requests.map(async (request) => {
        const ended = request.ids.filter((id) => settled.has(id));
        if (ended.length > 0)
          void this.#index.remove(ended.map((id) => ({ queue: request.queue, id }))).catch(() => undefined);
        const lost = request.ids.filter((id) => !won.has(id) && !settled.has(id));
        const lookAt = lost.length === 0 ? null : await this.#followWhatStands(request.queue, lost);
        return { claimed: request.ids.flatMap((id) => won.get(id) ?? []), lookAt };
      }),
    );
  }

  /** Sets the entries of ids that were taken and not won; resolves to the earliest time at which one of them should be looked at. */
  async #followWhatStands(queue: string, ids: readonly string[]): Promise<number | null> {
    const now = this.#clock.now();
    const standing = new Map(
      (await this.#database.query((connection) => readStanding(connection, ids))).map((row) => [row.id, row]),
    );
    const moves: DueEntry[] = [];
    const removals: Omit<DueEntry, "at">[] = [];
    for (const id of ids) {
      const at = nextLook(standing.get(id), now);
      if (at === null || at > now + entryHorizonMs) removals.push({ queue, id });
      else moves.push({ queue, id, at });
    }
    await Promise.all([this.#index.move(moves), this.#index.remove(removals)]).catch(() => undefined);
    return moves.length === 0 ? null : Math.min(...moves.map((move) => move.at));
  }
}

/** When to look at a task that a claim did not win; null: never, by this entry. */
function nextLook(standing: Standing | undefined, now: number): number | null {
  switch (standing?.state) {
    case "running":
      return now + leaseMs;
    case "scheduled":
      // In a paused queue: the resume enters it anew. Due and not won: its row was locked, or it became due between claim and look.
      if (standing.isQueuePaused) return null;
      if (!standing.isDue) return Math.max(standing.nextAttemptAt, now + notYetDueLookMs);
      return now + (now - standing.nextAttemptAt < lockedLookMs ? notYetDueLookMs : lockedLookMs);
    default:
      return null;
  }
}
