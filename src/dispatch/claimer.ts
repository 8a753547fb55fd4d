// Owns claiming: ids that lanes took are won in Postgres together, and the index is set by what stands where one was not won.

import type { DueEntry, DueIndex } from "../due-index/due-index.ts";
import { entryHorizonMs } from "../due-index/due-index.ts";
import type { Clock } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import { GroupCommit } from "../runtime/group-commit.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import { claim, readStanding, type Standing } from "../store/claims.ts";
import { claimOccurrences } from "../store/occurrence-claims.ts";
import type { Database } from "../store/database.ts";
import { LockTimeoutError } from "../store/errors.ts";
import { leaseMs } from "../store/owners.ts";
import { claimWithinRate } from "../store/rated-claims.ts";
import { lockedLookMs } from "./head.ts";
import type { Pace } from "./pace.ts";

/** Lanes whose takes are claimed by one statement at most. */
const requestsPerClaimMax = 64;
/** The clock reckoned here runs a little ahead of Postgres's: a task found not yet due is not looked at in the same ms again. */
const notYetDueLookMs = 1;

/** What a request won at once, and what it may win still: occurrences are judged apart, so that no other task waits for them. */
interface Won {
  readonly now: readonly ClaimedTask[];
  readonly later: Promise<readonly ClaimedTask[]> | null;
}

interface ClaimRequest {
  readonly queue: string;
  readonly owner: string;
  readonly ids: readonly string[];
}

/** What a claim came to for the ids of all its requests. */
interface ClaimEnd {
  readonly won: ReadonlyMap<string, ClaimedTask>;
  readonly ended: ReadonlySet<string>;
  /** Where the claim kept to a rate limit: when the next may. */
  readonly notBefore: number | null;
}

export interface ClaimerParts {
  readonly database: Database;
  readonly index: DueIndex;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** A task that was taken and not won should be looked at again at `at`. */
  readonly onLook: (queue: string, at: number) => void;
  /** The queue has a rate limit that the claim did not know of. */
  readonly onRated: (queue: string) => void;
}

export class Claimer {
  readonly #parts: ClaimerParts;
  readonly #claims: GroupCommit<ClaimRequest, Won>;
  readonly #asked = new Set<string>();

  constructor(parts: ClaimerParts) {
    this.#parts = parts;
    this.#claims = new GroupCommit({
      write: (requests) => this.#claim(requests),
      batchMax: requestsPerClaimMax,
      writersMax: 2,
    });
  }

  /**
   * Resolves to the tasks won; what becomes of the others is seen to in the background, so that no call waits for it. In a queue with a
   * rate limit they are claimed within it, and `pace` learns what is left. An id for which a claim is under way is left to that one: two
   * requests in one statement would both be told that they won it.
   */
  async claim(asking: ClaimRequest, pace: Pace): Promise<readonly ClaimedTask[]> {
    const request = { ...asking, ids: asking.ids.filter((id) => !this.#asked.has(id)) };
    if (request.ids.length === 0) return [];
    for (const id of request.ids) this.#asked.add(id);
    try {
      const { now, later } = await (pace.isRated ? this.#claimRated(request, pace) : this.#claims.add(request));
      return later === null ? now : [...now, ...(await later)];
    } finally {
      for (const id of request.ids) this.#asked.delete(id);
    }
  }

  /** A claim of the id is under way: its answer may be late, and the row won already. */
  has(id: string): boolean {
    return this.#asked.has(id);
  }

  async #claim(requests: readonly ClaimRequest[]): Promise<Won[]> {
    const { database } = this.#parts;
    const owner = requests[0]?.owner ?? "";
    // Requests of another identity (after a death) are left for the next look.
    const asked = requests.filter((request) => request.owner === owner).flatMap((request) => request.ids);
    const { claimed, ended: endedIds } = await claim(database, owner, asked);
    const won = new Map(claimed.map((task) => [task.id, task]));
    const ended = new Set(endedIds);
    return requests.map((request) => this.#won({ ...request, owner }, { won, ended, notBefore: null }));
  }

  async #claimRated(request: ClaimRequest, pace: Pace): Promise<Won> {
    const { database, clock, metrics } = this.#parts;
    try {
      const { claimed, ended, rate } = await claimWithinRate(database, request);
      const now = clock.now();
      pace.learn(rate, now);
      const isSpent = rate !== null && rate.left === 0;
      if (isSpent) metrics.event("rate.spent");
      const won = new Map(claimed.map((task) => [task.id, task]));
      return this.#won(request, { won, ended: new Set(ended), notBefore: isSpent ? pace.nextAt(now) : now });
    } catch (error) {
      if (!(error instanceof LockTimeoutError)) throw error;
      // The queue's row: others claim in it, or a transaction of somebody else holds it.
      return this.#won(request, { won: new Map(), ended: new Set(), notBefore: clock.now() + lockedLookMs });
    }
  }

  /** Those of a request that were won; the entries of the others are seen to, once those of them that are occurrences are judged. */
  #won(request: ClaimRequest, { won, ended, notBefore }: ClaimEnd): Won {
    const { queue, ids } = request;
    this.#forget(
      queue,
      ids.filter((id) => ended.has(id)),
    );
    const lost = ids.filter((id) => !won.has(id) && !ended.has(id));
    const later = lost.length === 0 ? null : this.#claimOccurrences({ ...request, ids: lost }, notBefore);
    return { now: ids.flatMap((id) => won.get(id) ?? []), later };
  }

  /** Of what a claim did not win, the first attempts of occurrences. Never rejects: what is won unheard is found as a stray. */
  async #claimOccurrences(request: ClaimRequest, notBefore: number | null): Promise<readonly ClaimedTask[]> {
    const { database, metrics } = this.#parts;
    const none = { claimed: [], ended: [], crowdedOutCount: 0 };
    const judging = claimOccurrences(database, { ...request, isRated: notBefore !== null });
    const { claimed, ended, crowdedOutCount } = await judging.catch(() => none);
    metrics.event("schedule.max_instances", crowdedOutCount);
    this.#forget(request.queue, ended);
    const settled = new Set([...claimed.map(({ id }) => id), ...ended]);
    const lost = request.ids.filter((id) => !settled.has(id));
    if (lost.length > 0) void this.#followWhatStands(request.queue, lost, notBefore);
    return claimed;
  }

  /** Ended instead of being won. */
  #forget(queue: string, ids: readonly string[]): void {
    if (ids.length === 0) return;
    failpoint("claim.missed");
    void this.#parts.index.remove(ids.map((id) => ({ queue, id }))).catch(() => undefined);
  }

  /** Sets the entries of ids that were taken and not won, and says when the first of them should be looked at. Never rejects. */
  async #followWhatStands(queue: string, ids: readonly string[], notBefore: number | null): Promise<void> {
    const { database, index, clock, onLook, onRated } = this.#parts;
    const now = clock.now();
    const standing = await database.query((connection) => readStanding(connection, ids)).catch(() => null);
    // Postgres is away: the entries are a lease ahead by now, and healing finds the tasks when it is back.
    if (standing === null) return;
    failpoint("claim.not_won");
    const rows = new Map(standing.map((row) => [row.id, row]));
    if (notBefore === null && standing.some((row) => row.isQueueRated)) onRated(queue);
    const moves: DueEntry[] = [];
    const removals: Omit<DueEntry, "at">[] = [];
    for (const id of ids) {
      const at = nextLook(rows.get(id), now, notBefore);
      if (at === null || at > now + entryHorizonMs) removals.push({ queue, id });
      else moves.push({ queue, id, at });
    }
    await Promise.all([index.move(moves), index.remove(removals)]).catch(() => undefined);
    if (moves.length > 0) onLook(queue, Math.min(...moves.map((move) => move.at)));
  }
}

/** When to look at a task that a claim did not win, `notBefore` where its queue's rate is spent until then; null: never, by this entry. */
function nextLook(standing: Standing | undefined, now: number, notBefore: number | null): number | null {
  switch (standing?.state) {
    case "running":
      return now + leaseMs;
    case "scheduled":
      // In a paused queue: the resume enters it anew. Due and not won: its row was locked, or it became due between claim and look.
      if (standing.isQueuePaused) return null;
      if (!standing.isDue) return Math.max(standing.nextAttemptAt, now + notYetDueLookMs);
      if (standing.isQueueRated && notBefore === null) return now + notYetDueLookMs;
      return Math.max(
        notBefore ?? 0,
        now + (now - standing.nextAttemptAt < lockedLookMs ? notYetDueLookMs : lockedLookMs),
      );
    default:
      return null;
  }
}
