-- Schedules: recurring definitions that bring forth one task an occurrence.
--
-- A schedule's next occurrence is a column, never a plan in a process's memory: whichever dispatcher finds look_at in the past locks the
-- row, makes the tasks and moves the columns on, in one transaction. A hundred thousand schedules that wait stand in one index, of which a
-- round reads the head. That an occurrence has one task is decided by that lock, and held once more by a unique index.

create table lapse.schedules (
  id uuid primary key,
  name text collate "C" not null,
  state text not null default 'active',
  trigger jsonb not null,
  -- With jobs missed while nobody dispatched: only the latest becomes a task, or each.
  coalesce boolean not null default true,
  -- How many of its tasks may have an attempt made and not have ended; one more that falls due is missed.
  max_instances integer not null default 1,
  -- Each occurrence's task is due later than it by chance, by less than this.
  jitter_ms bigint,
  -- What its tasks are made of. Null where the caller left it to the queue.
  queue text collate "C" not null,
  key text collate "C",
  url text not null,
  method text not null default 'POST',
  headers jsonb not null default '{}',
  payload text,
  body text,
  content_type text,
  timeout_ms integer,
  retry jsonb,
  misfire_grace_ms bigint,
  -- Null is a word of the caller's, too: however late, fire.
  misfire_grace_given boolean not null default false,
  delivery text not null default 'at-least-once',
  max_reschedules integer,
  labels jsonb not null default '{}',
  traceparent text,
  -- The first occurrence whose task is not made yet; null: none follows.
  next_occurrence_at timestamptz,
  -- The last one whose task was made; up to 30 s ahead.
  last_occurrence_at timestamptz,
  -- When a dispatcher must look at it: 15 s before the next occurrence, or when its last one is there and it ends.
  look_at timestamptz,
  -- Which time-zone database next_occurrence_at was reckoned with.
  tz_version text collate "C" not null,
  -- Why it was set aside: it can bring forth no task.
  error text,
  -- SHA-256 of the request, so that the very same one again is known.
  request_hash text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version integer not null default 1,
  constraint schedule_name_is_unique unique (name),
  constraint schedule_state_is_known check (state in ('active', 'paused', 'ended')),
  constraint looked_at_iff_active check ((look_at is not null) = (state = 'active')),
  constraint next_only_while_active check (next_occurrence_at is null or state = 'active'),
  constraint set_aside_has_ended check (error is null or state = 'ended'),
  constraint instances_are_positive check (max_instances > 0),
  constraint jitter_is_not_negative check (jitter_ms >= 0),
  constraint schedule_one_body check (payload is null or body is null),
  constraint schedule_body_has_a_type check ((body is not null) = (content_type is not null)),
  constraint schedule_delivery_is_known check (delivery in ('at-least-once', 'at-most-once'))
)
with (
  -- A dense schedule's row is moved on every 15 s.
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.05,
  autovacuum_vacuum_threshold = 1000
);
comment on table lapse.schedules is 'One row a schedule: what its tasks are made of, and when the next one is made.';

-- What a round looks at next.
create index schedules_look on lapse.schedules (look_at, id) where state = 'active';
-- What was reckoned with an older time-zone database.
create index schedules_tz on lapse.schedules (tz_version, id) where state = 'active';
-- Listings of a queue, and of what a confined key sees.
create index schedules_queue on lapse.schedules (queue, name);

alter table lapse.tasks add column occurrence_at timestamptz;
comment on column lapse.tasks.occurrence_at is
  'The occurrence that its schedule made it for; null where there is none, also for a task that a caller''s run made.';

-- One task an occurrence, whatever the processes do. A cancelled one may be made anew, by a change or a resume.
create unique index tasks_occurrence on lapse.tasks (schedule_id, occurrence_at)
  where occurrence_at is not null and state <> 'cancelled';
-- The tasks of a schedule that are under way, which max_instances counts.
create index tasks_instances on lapse.tasks (schedule_id)
  where schedule_id is not null and attempts > 0 and state in ('scheduled', 'paused', 'running');
-- The tasks of a schedule that were made ahead: what its pause, change, deletion or end cancels.
create index tasks_ahead on lapse.tasks (schedule_id, occurrence_at)
  where occurrence_at is not null and attempts = 0 and state in ('scheduled', 'paused');

-- However it ended: by its last occurrence, by its receiver, by a change, or set aside.
create function lapse.record_schedule_ended() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if starts_with(new.queue, 'lapse:') then
    return null;
  end if;
  perform lapse.record_events(json_build_array(json_build_object(
    'type', 'schedule.ended', 'queue', new.queue, 'taskId', null, 'key', null,
    'data', json_build_object('scheduleId', new.id, 'name', new.name)
  )));
  return null;
end
$$;

create trigger schedules_ended after update of state on lapse.schedules
  for each row when (new.state = 'ended' and old.state <> 'ended') execute function lapse.record_schedule_ended();
