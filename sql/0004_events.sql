-- Events: what happened to tasks, queues, schedules and origins, written in the very transaction of the change (an outbox).
--
-- Triggers on the tables write them, so that no way of changing a task can forget one, SQL by hand included. A statement writes one row
-- for all that it did, and nothing at all while nobody has listened for a day. Readers go through the rows in the order (xid, id), up
-- to the oldest transaction that is still open: what commits late was never passed by.

create table lapse.events (
  -- The transaction that made the change.
  xid xid8 not null default pg_current_xact_id(),
  -- In the order of a transaction's own statements. A sequence is not rolled back and has gaps, which nobody counts.
  id bigint generated always as identity,
  created_at timestamptz not null default clock_timestamp(),
  -- [{ type, queue, taskId, key, data }], at most 500. json: passed on as it was written, and never searched.
  items json not null,
  primary key (xid, id)
)
with (
  -- Rows are only inserted, and removed after a day by the thousand.
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table lapse.events is 'The outbox: what one statement did, kept for a day.';

create table lapse.event_recording (
  -- One row.
  id smallint primary key default 1,
  -- Whoever listens moves it on; past it no event is written.
  recorded_until timestamptz not null default '-infinity',
  -- When recording last began.
  began_at timestamptz not null default '-infinity',
  -- All events after this place are there still: what is older was removed, or never recorded.
  kept_after_xid xid8 not null default '0',
  kept_after_id bigint not null default 0,
  constraint one_recording check (id = 1)
)
with (fillfactor = 50);
comment on table lapse.event_recording is 'Whether events are recorded, and from where on they are complete.';
insert into lapse.event_recording (id) values (1);

create table lapse.subscriptions (
  id uuid primary key,
  url text not null,
  types text[] not null,
  -- Null: all queues, and what concerns none.
  queue text collate "C",
  created_at timestamptz not null default clock_timestamp(),
  -- The last row of events that was passed on.
  cursor_xid xid8 not null,
  cursor_id bigint not null default 0,
  -- Events that it could not be given within a day.
  dropped bigint not null default 0,
  constraint types_are_named check (cardinality(types) > 0)
)
with (fillfactor = 50);
comment on table lapse.subscriptions is
  'Who is told of events by webhook: each event becomes a task in the queue `lapse:events:<id>`.';

-- The oldest transaction that may still add to this database's events: those of other databases cannot.
create function lapse.events_horizon() returns xid8 language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    (
      select x from pg_snapshot_xip(s) x
      where not exists (
        select from pg_stat_activity a
        where a.backend_xid = x::xid and a.datid <> (select oid from pg_database where datname = current_database())
      )
      order by x limit 1
    ),
    pg_snapshot_xmax(s)
  )
  from pg_current_snapshot() s
$$;

-- Writes events where anybody listens: for changes that are none of a row that has a trigger.
create function lapse.record_events(items json) returns void language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into lapse.events (items)
  select items from lapse.event_recording where id = 1 and recorded_until > clock_timestamp()
$$;
revoke all on function lapse.record_events(json) from public;

-- The planner knows nothing of how many rows a statement will have changed when it plans the first one: no loop over them, no scan of a table.
create function lapse.record_new_tasks() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_nestloop = off set enable_seqscan = off set jit = off
as $$
begin
  if not exists (select from lapse.event_recording where id = 1 and recorded_until > clock_timestamp()) then
    return null;
  end if;
  insert into lapse.events (items)
  select json_agg(item order by id, place)
  from (
    select n.id, t.place, (row_number() over (order by n.id, t.place) - 1) / 500 as part,
      json_build_object(
        'type', t.type, 'queue', n.queue, 'taskId', n.id, 'key', n.key,
        'data', json_build_object(
          'state', n.state, 'dueAt', n.due_at, 'nextAttemptAt', n.next_attempt_at, 'attempts', n.attempts,
          'scheduleId', n.schedule_id, 'labels', n.labels
        )
      ) as item
    from new_rows n
    cross join lateral (
      values
        (1, 'task.created', true),
        (2, 'task.paused', n.state = 'paused'),
        -- A tombstone stopped it on arrival.
        (2, 'task.cancelled', n.state = 'cancelled'),
        (2, 'task.missed', n.state = 'missed'),
        (2, 'task.failed', n.state = 'failed')
    ) t (place, type, is_so)
    where t.is_so and n.state <> 'tombstone' and not starts_with(n.queue, 'lapse:')
  ) told
  group by part
  order by part;
  return null;
end
$$;

create function lapse.record_changed_tasks() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_nestloop = off set enable_seqscan = off set jit = off
as $$
begin
  if not exists (select from lapse.event_recording where id = 1 and recorded_until > clock_timestamp()) then
    return null;
  end if;
  insert into lapse.events (items)
  with changed as materialized (
    select n.id, n.queue, n.key, n.state, n.due_at, n.next_attempt_at, n.attempts, n.schedule_id, n.labels,
      o.state as was, n.due_at <> o.due_at as is_due_anew, n.version <> o.version as is_changed,
      n.state = 'running' and (o.state <> 'running' or n.attempts > o.attempts) as is_started,
      -- The number of the attempt that ended. Of one that could not be claimed only the end is known.
      case
        when o.state = 'running' and (n.state <> 'running' or n.attempts > o.attempts) then o.attempts
        when o.state <> 'running' and n.state <> 'running' and n.attempts > o.attempts then n.attempts
      end as ended
    from new_rows n
    join old_rows o on o.id = n.id
    where n.state <> 'tombstone' and o.state <> 'tombstone' and not starts_with(n.queue, 'lapse:')
      -- A deferral moves next_attempt_at alone, and is no event.
      and (n.state <> o.state or n.version <> o.version or n.due_at <> o.due_at)
  ), settled as materialized (
    -- Attempts are written before the task's own change, in the same transaction.
    select c.*, (select a from lapse.attempts a where a.task_id = c.id and a.number = c.ended) as attempt
    from changed c
  ), told as (
    select s.id, t.place, (row_number() over (order by s.id, t.place) - 1) / 500 as part,
      json_build_object(
        'type', t.type, 'queue', s.queue, 'taskId', s.id, 'key', s.key,
        'data', json_build_object(
          'state', s.state, 'dueAt', s.due_at, 'nextAttemptAt', s.next_attempt_at, 'attempts', s.attempts,
          'attempt', t.number,
          'outcome', case when t.number = s.ended then (s.attempt).outcome end,
          'status', case when t.number = s.ended then (s.attempt).status end,
          'error', case when t.number = s.ended then (s.attempt).error end,
          'scheduleId', s.schedule_id, 'labels', s.labels
        )
      ) as item
    from settled s
    cross join lateral (
      values
        (1, 'task.attempt-failed', s.ended, (s.attempt).outcome in ('failed', 'timed-out', 'refused', 'blocked', 'lost')),
        (2, 'task.started', s.attempts, s.is_started),
        (2, 'task.succeeded', s.ended, s.state = 'succeeded' and s.was <> s.state),
        (2, 'task.failed', s.ended, s.state = 'failed' and s.was <> s.state),
        (2, 'task.cancelled', s.ended, s.state = 'cancelled' and s.was <> s.state),
        (2, 'task.missed', s.ended, s.state = 'missed' and s.was <> s.state),
        (2, 'task.paused', s.ended, s.state = 'paused' and s.was <> s.state),
        (2, 'task.resumed', s.ended, s.was = 'paused' and s.state = 'scheduled'),
        -- A new due time or definition: backoff and resume give neither.
        (3, 'task.rescheduled', s.ended, s.state in ('scheduled', 'paused')
          and (s.is_due_anew or s.was in ('succeeded', 'failed', 'cancelled', 'missed') or (s.was = s.state and s.is_changed)))
    ) t (place, type, number, is_so)
    where t.is_so
  )
  select json_agg(item order by id, place) from told group by part order by part;
  return null;
end
$$;

create function lapse.record_queues() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if starts_with(new.name, 'lapse:') then
    return null;
  end if;
  perform lapse.record_events(json_build_array(json_build_object(
    'type', case when new.paused then 'queue.paused' else 'queue.resumed' end,
    'queue', new.name, 'taskId', null, 'key', null, 'data', json_build_object()
  )));
  return null;
end
$$;

create trigger tasks_inserted after insert on lapse.tasks
  referencing new table as new_rows
  for each statement execute function lapse.record_new_tasks();
create trigger tasks_updated after update on lapse.tasks
  referencing old table as old_rows new table as new_rows
  for each statement execute function lapse.record_changed_tasks();
create trigger queues_inserted after insert on lapse.queues
  for each row when (new.paused) execute function lapse.record_queues();
create trigger queues_updated after update on lapse.queues
  for each row when (new.paused <> old.paused) execute function lapse.record_queues();
