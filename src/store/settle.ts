// Owns the settle: how an attempt's outcome and what it leads to become durable, together.

import type { ClaimedTask } from "../task/claimed-task.ts";
import type { Settlement } from "../task/settlement.ts";
import type { TaskState } from "../task/task.ts";
import { type BoundStatement, bind, type Database } from "./database.ts";
import { instant } from "./task-rows.ts";
import { plantTombstones } from "./tombstones.ts";

export interface Settling {
  readonly task: ClaimedTask;
  readonly owner: string;
  readonly settlement: Settlement;
  readonly durationMs: number;
}

/** Where the task stands after its settle won. */
export interface Settled {
  readonly id: string;
  readonly state: TaskState;
  readonly nextAttemptAt: number;
}

/**
 * An attempt's row is written only while the attempt is its task's current one, and locks the task until the commit; the tasks that a
 * transaction of somebody else holds are skipped.
 */
const insertAttempts = {
  name: "settle_attempts",
  text: `with current as (
      select t.id, t.attempts, t.attempt_started_at, t.lateness_ms, o.duration_ms, o.outcome, o.status, o.error, o.snippet
      from unnest($1::uuid[], $2::int[], $3::uuid[], $4::bigint[], $5::text[], $6::int[], $7::text[], $8::text[])
        as o (id, attempt, owner, duration_ms, outcome, status, error, snippet)
      join lapse.tasks t on t.id = o.id and t.state = 'running' and t.attempts = o.attempt and t.owner = o.owner
      order by t.id
      for update of t skip locked
    )
    insert into lapse.attempts
      (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, status, error, response_snippet)
    select id, attempts, attempt_started_at, clock_timestamp(), lateness_ms, duration_ms, outcome, status, error, snippet from current
    on conflict do nothing`,
};

/**
 * `next` is what the answer led to; a cancel that was requested, or a confirm that was refused because of one, has the last word. The
 * guard on the attempt's row makes the two statements win together.
 */
const updateTasks = {
  name: "settle_tasks",
  text: `update lapse.tasks t set
      state = s.ended_as,
      finished_at = case when s.ended_as = 'scheduled' then null else clock_timestamp() end,
      owner = null,
      attempt_started_at = null,
      lateness_ms = null,
      next_attempt_at = case when s.ended_as = 'scheduled' then s.next_at else t.next_attempt_at end,
      due_at = case when s.ended_as = 'scheduled' and s.next = 'reschedule' then s.next_at else t.due_at end,
      attempts_before = case when s.next = 'reschedule' then t.attempts else t.attempts_before end,
      attempts_at_due = case when s.next = 'reschedule' then t.attempts else t.attempts_at_due end,
      reschedules = t.reschedules + case when s.next = 'reschedule' then 1 else 0 end,
      confirmed_attempt = case when t.confirmed_attempt = s.attempt and not s.confirm_stands then null else t.confirmed_attempt end,
      updated_at = clock_timestamp(),
      version = t.version + 1
    from (
      select o.*, case
          when r.confirm_refused or (r.cancel_requested and o.next <> 'succeeded') then 'cancelled'
          when o.next in ('succeeded', 'failed') then o.next
          else 'scheduled'
        end as ended_as
      from unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::timestamptz[], $6::boolean[])
        as o (id, attempt, owner, next, next_at, confirm_stands)
      join lapse.tasks r on r.id = o.id
      join lapse.attempts a on a.task_id = o.id and a.number = o.attempt
    ) s
    where t.id = s.id and t.state = 'running' and t.attempts = s.attempt and t.owner = s.owner
    returning t.id, t.queue, t.key, t.state, t.next_attempt_at, t.tombstone_until`,
};

/**
 * Settles attempts, all in one transaction and one round trip. Those that won come back with where their task stands now; one left out
 * was superseded (a newer attempt owns the task, or this very outcome is written already) or is locked: `readStanding` tells.
 */
export async function settleAttempts(database: Database, settlings: readonly Settling[]): Promise<Settled[]> {
  const [, won] = await database.runTogether(settleStatements(settlings));
  return (won ?? []).map((row) => ({
    id: String(row["id"]),
    state: row["state"] as TaskState,
    nextAttemptAt: Number(row["next_attempt_at"]),
  }));
}

/** The receiver's last word on the schedule that made its task: it counts where this very attempt succeeded. */
const endSchedules = {
  name: "settle_schedules",
  text: `update lapse.schedules s set
      state = 'ended', next_occurrence_at = null, look_at = null, updated_at = clock_timestamp(), version = s.version + 1
    from unnest($1::uuid[], $2::int[]) as o (id, attempt)
    join lapse.tasks t on t.id = o.id and t.attempts = o.attempt and t.state = 'succeeded'
    where s.id = t.schedule_id and s.state <> 'ended'`,
};

/** What such a schedule made ahead and nobody began. Its row is locked by the statement before, so that no claim of it is under way. */
const cancelAhead = {
  name: "settle_cancel_ahead",
  text: `with ahead as (
      select a.id from unnest($1::uuid[], $2::int[]) as o (id, attempt)
      join lapse.tasks t on t.id = o.id and t.attempts = o.attempt and t.state = 'succeeded'
      join lapse.tasks a on a.schedule_id = t.schedule_id and a.occurrence_at is not null and a.attempts = 0
        and a.state in ('scheduled', 'paused')
      order by a.id
      for update of a
    )
    update lapse.tasks t set
      state = 'cancelled', finished_at = clock_timestamp(), cancel_requested = true, held = false,
      updated_at = clock_timestamp(), version = t.version + 1
    from ahead
    where t.id = ahead.id and t.state in ('scheduled', 'paused') and t.attempts = 0`,
};

function endingStatements(settlings: readonly Settling[]): BoundStatement[] {
  const ending = settlings.filter(({ settlement }) => settlement.endsSchedule);
  if (ending.length === 0) return [];
  const values = [ending.map(({ task }) => task.id), ending.map(({ task }) => task.attempt)];
  return [bind(endSchedules, values), bind(cancelAhead, values)];
}

export function settleStatements(settlings: readonly Settling[]): BoundStatement[] {
  const ids = settlings.map(({ task }) => task.id);
  const attempts = settlings.map(({ task }) => task.attempt);
  const owners = settlings.map(({ owner }) => owner);
  return [
    bind(insertAttempts, [
      ids,
      attempts,
      owners,
      settlings.map(({ durationMs }) => Math.round(durationMs)),
      settlings.map(({ settlement }) => settlement.outcome),
      settlings.map(({ settlement }) => settlement.status),
      settlings.map(({ settlement }) => settlement.error),
      settlings.map(({ settlement }) => settlement.responseSnippet),
    ]),
    bind(updateTasks, [
      ids,
      attempts,
      owners,
      settlings.map(({ settlement }) => settlement.next.kind),
      settlings.map(({ settlement }) => nextAt(settlement)),
      settlings.map(({ settlement }) => settlement.confirmStands),
    ]),
    bind(plantTombstones, [ids]),
    ...endingStatements(settlings),
  ];
}

function nextAt({ next }: Settlement): string | null {
  switch (next.kind) {
    case "retry":
      return instant(next.nextAttemptAt);
    case "reschedule":
      return instant(next.dueAt);
    default:
      return null;
  }
}
