// Owns the claim in a queue that has a rate limit: no window of length `per` has more starts than the limit, by the clock of Postgres.
//
// All claims of such a queue, of all dispatchers, go one after the other under the lock of its row. Each sums up the starts of the last
// window, starts no more than are left, and writes its own down in the same transaction: whoever dies, and whatever happens to Redis, what
// was started is known. It is sent in one piece, so that a process that is stopped in between holds no lock.

import { type Claim, claimApart, type ClaimedRow, dueRows, startRows, toClaim } from "./claims.ts";
import { bind, type Database } from "./database.ts";

/** What is left of a queue's rate. */
export interface Rate {
  /** Starts a window. */
  readonly limit: number;
  /** How many more may start now. */
  readonly left: number;
  /** When the first of those in the window leaves it; null where none is in it. In ms, by the clock of Postgres. */
  readonly nextAt: number | null;
}

export interface RatedClaim extends Claim {
  /** Null: the queue has no limit any more. */
  readonly rate: Rate | null;
}

export const lockQueue = { name: "lock_queue", text: "select from lapse.queues where name = $1 for no key update" };

/** A millisecond more than the window: read in whole ms, at either end, no window has more than the limit. */
const window = "(q.rate_limit_per_ms + 1) * interval '1 millisecond'";
/** Of the queue `q`; `statement_timestamp()` is past the wait for the lock, and no later than any start to come. */
const inWindow = `select s.at, s.count from lapse.rate_starts s where s.queue = q.name and s.at > statement_timestamp() - ${window}`;

/** The starts of one 250th of a window share a row: what that costs is below half a per cent of the rate. */
const bucket = "floor(extract(epoch from clock_timestamp()) * 1000 / greatest(1, q.rate_limit_per_ms / 250))::bigint";

export const claimRated = {
  name: "claim_rated",
  text: `with due as (
      ${dueRows("$4", "queue = $3 and not exists (select from lapse.queues where name = $3 and paused)")}
    ),
    starting as (
      select id, misfired from (
        select id, misfired, row_number() over (partition by misfired order by next_attempt_at, id) as place from due
      ) placed
      where misfired or place <= (
        select coalesce(q.rate_limit_count - (select coalesce(sum(w.count), 0) from (${inWindow}) w), 2147483647)
        from lapse.queues q where q.name = $3
      )
    ),
    claimed as (${startRows}),
    written as (
      insert into lapse.rate_starts (queue, bucket, at, count)
      select q.name, ${bucket}, clock_timestamp(), started.count
      from (select count(*)::int as count from claimed where state = 'running') started, lapse.queues q
      where q.name = $3 and q.rate_limit_count is not null and started.count > 0
      on conflict (queue, bucket) do update
        set at = greatest(lapse.rate_starts.at, excluded.at), count = lapse.rate_starts.count + excluded.count
    )
    select * from claimed`,
};

const forgetStarts = {
  name: "forget_rate_starts",
  text: `delete from lapse.rate_starts s using lapse.queues q
    where q.name = $1 and s.queue = q.name and s.at <= statement_timestamp() - coalesce(${window}, interval '0')`,
};

const readRate = {
  name: "read_rate",
  text: `select q.rate_limit_count as limit, greatest(0, q.rate_limit_count - coalesce(sum(w.count), 0))::int as left,
      ceil(extract(epoch from min(w.at) + ${window}) * 1000)::float8 as "nextAt"
    from lapse.queues q left join lateral (${inWindow}) w on true
    where q.name = $1 and q.rate_limit_count is not null
    group by q.name`,
};

/** Claims due tasks of one queue, as many as its rate has left; the oldest first. Else as `claim`. */
export async function claimWithinRate(
  database: Database,
  { queue, owner, ids }: { queue: string; owner: string; ids: readonly string[] },
): Promise<RatedClaim> {
  let rate: Rate | null = null;
  const claim = await claimApart(database, ids, async (part) => {
    const [, rows, , rates] = await database.runTogether([
      bind(lockQueue, [queue]),
      bind(claimRated, [part, owner, queue, []]),
      bind(forgetStarts, [queue]),
      bind(readRate, [queue]),
    ]);
    rate = (rates?.[0] as unknown as Rate | undefined) ?? null;
    return toClaim(database, (rows ?? []) as unknown as readonly ClaimedRow[]);
  });
  return { ...claim, rate };
}
