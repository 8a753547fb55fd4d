// Owns the settle: how an attempt's outcome and what it leads to become durable, together.

import type { ClaimedTask } from "../task/claimed-task.ts";
import type { Settlement } from "../task/settlement.ts";
import type { TaskState } from "../task/task.ts";
import { type BoundStatement, bind, type Database, type Statement } from "./database.ts";
import { isAmong } from "./kept-plan.ts";
import { type Column, instantType, SentRows } from "./sent-rows.ts";

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
  /** Null: it has ended. */
  readonly nextAttemptAt: number | null;
}

const columns: readonly Column<Settling>[] = [
  { name: "attempt", type: "int", of: ({ task }) => task.attempt },
  { name: "owner", type: "uuid", of: ({ owner }) => owner },
  { name: "duration_ms", type: "bigint", of: ({ durationMs }) => Math.round(durationMs) },
  { name: "outcome", type: "text", of: ({ settlement }) => settlement.outcome },
  { name: "status", type: "int", of: ({ settlement }) => settlement.status },
  { name: "error", type: "text", of: ({ settlement }) => settlement.error },
  { name: "snippet", type: "text", of: ({ settlement }) => settlement.responseSnippet },
  { name: "next", type: "text", of: ({ settlement }) => settlement.next.kind },
  { name: "next_at", ...instantType, of: ({ settlement }) => nextAt(settlement) },
  { name: "confirm_stands", type: "boolean", of: ({ settlement }) => settlement.confirmStands },
];
const sent = new SentRows(columns);

/**
 * `next` is what the answer led to; a cancel that was requested, or a confirm that was refused because of one, has the last word. Tasks
 * that a transaction of somebody else holds are skipped. An attempt's row is written only with its task's change, and so is a tombstone
 * that waited for the task to end (tombstones.ts has one for other ends).
 *
 * One statement for all of it: as three in a transaction, each planned by itself, a settle of 50 took 66 µs of Postgres's CPU a task, and
 * takes some 27 with its plan kept. Only a running task has an owner, so that naming the owner names the state.
 */
const settleTasks: Statement = {
  name: "settle_tasks",
  keepsPlan: true,
  text: `with current as (
      select t.*, ${sent.names}
      from (${sent.text}) o
      cross join lateral (
        select id, cancel_requested, confirm_refused, attempt_started_at, lateness_ms from lapse.tasks
        where id = o.id and attempts = o.attempt and owner = o.owner
        for update skip locked
      ) t
    ), settled as (
      update lapse.tasks t set
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
        select c.*, case
            when c.confirm_refused or (c.cancel_requested and c.next <> 'succeeded') then 'cancelled'
            when c.next in ('succeeded', 'failed') then c.next
            else 'scheduled'
          end as ended_as
        from current c
      ) s
      where ${isAmong("t.id", "s", "current")} and t.attempts = s.attempt and t.owner = s.owner
      returning t.id, t.queue, t.key, t.state, t.next_attempt_at, t.tombstone_until,
        s.attempt, s.attempt_started_at, s.lateness_ms, s.duration_ms, s.outcome, s.status, s.error, s.snippet
    ), written as (
      insert into lapse.attempts
        (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome, status, error, response_snippet)
      select id, attempt, attempt_started_at, clock_timestamp(), lateness_ms, duration_ms, outcome, status, error, snippet from settled
      on conflict do nothing
    ), planted as (
      insert into lapse.tasks (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at)
      select gen_random_uuid(), queue, key, 'tombstone', tombstone_until, tombstone_until, clock_timestamp(), clock_timestamp()
      from settled where state <> 'scheduled' and key is not null and tombstone_until > clock_timestamp()
      on conflict do nothing
    )
    select id, state, case when state = 'scheduled' then next_attempt_at end as next_attempt_at from settled`,
};

/**
 * Settles attempts, all in one transaction and one round trip. Those that won come back with where their task stands now; one left out
 * was superseded (a newer attempt owns the task, or this very outcome is written already) or is locked: `readStanding` tells.
 */
export async function settleAttempts(database: Database, settlings: readonly Settling[]): Promise<Settled[]> {
  const ids = settlings.map(({ task }) => task.id);
  const settle = bind(settleTasks, sent.values(ids, settlings));
  const ending = endingStatements(settlings);
  const won =
    ending.length === 0
      ? await database.run(settle, "settle.sent")
      : ((await database.runTogether([settle, ...ending]))[0] ?? []);
  return won.map((row) => ({
    id: String(row["id"]),
    state: row["state"] as TaskState,
    nextAttemptAt: row["next_attempt_at"] as number | null,
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

function nextAt({ next }: Settlement): number | null {
  switch (next.kind) {
    case "retry":
      return next.nextAttemptAt;
    case "reschedule":
      return next.dueAt;
    default:
      return null;
  }
}
