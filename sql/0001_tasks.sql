-- Tasks, the attempts made for them, and what the processes that fire them share.
--
-- A row of `tasks` is the promise made to a caller. Its state is tied to its other columns by CHECKs, so that no bug can store half a
-- transition. Each index is partial and equal to one statement's predicate and order: a task that waits stands in no index of running
-- or ended ones, and the reverse. Names and keys compare byte by byte (collate "C"), so that prefixes use the same index.

create schema if not exists lapse;

create table lapse.queues (
  name text collate "C" primary key,
  -- How many calls of the queue may be in flight at once, over all dispatchers together.
  concurrency integer not null default 100,
  -- A paused queue accepts tasks and fires none.
  paused boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  constraint concurrency_is_positive check (concurrency > 0)
);
comment on table lapse.queues is 'One row a queue; made at its first use, never removed.';

create table lapse.tasks (
  -- UUIDv7 of created_at: ids sort by age.
  id uuid primary key,
  queue text collate "C" not null,
  key text collate "C",
  -- `tombstone` is no task: it stands where a cancelled key must be refused until due_at, and no listing shows it.
  state text not null,
  due_at timestamptz not null,
  next_attempt_at timestamptz not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  finished_at timestamptz,
  url text,
  method text not null default 'POST',
  headers jsonb not null default '{}',
  -- The caller's own JSON text. Never jsonb, which loses member order and the spelling of numbers.
  payload text,
  body text,
  content_type text,
  timeout_ms integer not null default 30000,
  retry jsonb not null default '{}',
  misfire_grace_ms bigint,
  delivery text not null default 'at-least-once',
  max_reschedules integer,
  reschedules integer not null default 0,
  labels jsonb not null default '{}',
  schedule_id uuid,
  traceparent text,
  -- SHA-256 of the request, so that the very same one again is known.
  request_hash text,
  attempts integer not null default 0,
  -- Attempts made before the last retry, reschedule or replace: the budget counts from there.
  attempts_before integer not null default 0,
  -- Attempts made before due_at was last set: misfire_grace and lateness from due_at hold for the first one after.
  attempts_at_due integer not null default 0,
  -- The attempt in flight: when its claim began it, how late, and which dispatcher's it is.
  attempt_started_at timestamptz,
  lateness_ms bigint,
  owner uuid,
  cancel_requested boolean not null default false,
  -- The first attempt whose receiver said that it acts and of which nobody knows that it did not; a cancel is refused while there is one.
  confirmed_attempt integer,
  -- A receiver was told not to act: whatever it answers, the task ends cancelled.
  confirm_refused boolean not null default false,
  -- A tombstone asked for while an attempt was in flight; it becomes a row when that attempt ends.
  tombstone_until timestamptz,
  -- Paused by a start after a gap (LAPSE_CATCH_UP), until a resume lets it go.
  held boolean not null default false,
  version integer not null default 1,
  constraint state_is_known check (
    state in ('scheduled', 'paused', 'running', 'succeeded', 'failed', 'cancelled', 'missed', 'tombstone')
  ),
  constraint finished_iff_ended check ((finished_at is not null) = (state in ('succeeded', 'failed', 'cancelled', 'missed'))),
  constraint owned_iff_running check (
    (owner is not null) = (state = 'running')
    and (attempt_started_at is not null) = (state = 'running')
    and (lateness_ms is not null) = (state = 'running')
  ),
  constraint running_has_an_attempt check (state <> 'running' or attempts > 0),
  constraint attempts_only_grow check (
    attempts_before between 0 and attempts and attempts_at_due between 0 and attempts and reschedules >= 0
  ),
  constraint one_body check (payload is null or body is null),
  constraint body_has_a_type check ((body is not null) = (content_type is not null)),
  constraint tombstone_names_a_key check (state <> 'tombstone' or (key is not null and attempts = 0)),
  constraint task_has_a_url check (url is not null or state = 'tombstone'),
  constraint delivery_is_known check (delivery in ('at-least-once', 'at-most-once')),
  constraint confirmed_attempt_was_made check (confirmed_attempt between 1 and attempts),
  constraint held_only_while_paused check (state = 'paused' or not held),
  constraint refused_only_after_a_cancel check (cancel_requested or not confirm_refused)
)
with (
  -- Each change of state moves the row to another index, so none is heap-only: free space kept in the page would be wasted.
  fillfactor = 100,
  -- A task leaves two dead rows. At thousands a second the default (a fifth of the table) would let the due index grow over millions
  -- of them; 1 % or 10,000 rows keeps it near its live size, and without the cost delay a pass ends before the next is needed.
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_insert_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.02,
  autovacuum_vacuum_cost_delay = 0
);
comment on table lapse.tasks is 'One row a task: one webhook call to be made once, at its due time.';

-- One live task a key; tombstones stand in the same index, so that a create and a cancel that came first collide here.
create unique index tasks_live_key on lapse.tasks (queue, key)
  where key is not null and state in ('scheduled', 'paused', 'running', 'tombstone');
-- What falls due next, queue by queue.
create index tasks_due on lapse.tasks (queue, next_attempt_at, id) where state = 'scheduled';
-- What a dispatcher had in flight.
create index tasks_running on lapse.tasks (owner, queue, id) where state = 'running';
-- The newest ended task with a key.
create index tasks_ended_key on lapse.tasks (queue, key, id) where key is not null and finished_at is not null;
-- What retention removes, oldest first.
create index tasks_finished on lapse.tasks (finished_at, id) where finished_at is not null;
-- Listings, merged over queues and states.
create index tasks_list on lapse.tasks (queue, state, due_at, id);
create index tasks_labels on lapse.tasks using gin (labels jsonb_path_ops) where labels <> '{}';
create index tasks_schedule on lapse.tasks (schedule_id, id) where schedule_id is not null;
-- What a start after a gap held back.
create index tasks_held on lapse.tasks (id) where held;
-- Tombstones whose time is over.
create index tasks_tombstones on lapse.tasks (due_at, id) where state = 'tombstone';

create table lapse.attempts (
  task_id uuid not null,
  number integer not null,
  started_at timestamptz not null,
  finished_at timestamptz not null,
  lateness_ms bigint not null,
  duration_ms bigint not null,
  outcome text not null,
  status integer,
  error text,
  response_snippet text,
  primary key (task_id, number),
  constraint number_counts_from_one check (number > 0),
  constraint outcome_is_known check (
    outcome in ('succeeded', 'failed', 'timed-out', 'refused', 'blocked', 'lost', 'rescheduled')
  )
)
with (
  -- Rows are only inserted, and removed with their task by retention: vacuum matters for the visibility map, not for space.
  autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.05
);
comment on table lapse.attempts is
  'How each attempt ended, written with its outcome. The attempt in flight is in its task''s row. No foreign key: it would lock the task''s row once more for every outcome; both are removed in one transaction.';

create table lapse.dispatchers (
  -- Made anew at each start: a host name may come back, an id does not.
  id uuid primary key,
  started_at timestamptz not null default clock_timestamp(),
  lease_until timestamptz not null,
  -- Set by the dispatcher that takes over; from then on the lease cannot be renewed, and the owner stops.
  dead_at timestamptz
)
with (
  -- Renewed every 3 s in place: half the page kept free makes every renewal heap-only.
  fillfactor = 50,
  autovacuum_vacuum_threshold = 100
);
comment on table lapse.dispatchers is 'The leases of the processes that fire. A task names its owner; only this row carries the lease.';

create table lapse.shares (
  queue text collate "C" not null,
  owner uuid not null,
  slots integer not null default 0,
  -- How many more the owner could use now; the others give up slots down to an even share while it is above 0.
  wanted integer not null default 0,
  primary key (queue, owner),
  constraint slots_are_not_negative check (slots >= 0 and wanted >= 0)
)
with (fillfactor = 50, autovacuum_vacuum_threshold = 100);
comment on table lapse.shares is
  'Each dispatcher''s leased share of a queue''s slots. Their sum never exceeds the queue''s concurrency; a dead owner''s share moves with its tasks.';
create index shares_owner on lapse.shares (owner);

create table lapse.tallies (
  -- The write that counted: sent again after a lost answer, it counts once.
  id uuid not null,
  queue text collate "C" not null,
  kind text not null,
  count bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (id, queue, kind),
  constraint kind_is_known check (kind in ('accepted', 'pruned'))
)
with (
  -- A few rows a second are inserted and folded into one a minute later.
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_scale_factor = 0
);
comment on table lapse.tallies is
  'How many tasks were accepted and pruned, counted apart from the tasks in the same transaction, so that the audit can fail.';

create table lapse.idempotency_keys (
  api_key_id text not null,
  method text not null,
  path text not null,
  key text not null,
  -- SHA-256 of the body.
  fingerprint text not null,
  -- Null until the answer is known, within the transaction that made it.
  status integer,
  headers jsonb,
  body text,
  created_at timestamptz not null default clock_timestamp(),
  primary key (api_key_id, method, path, key)
);
comment on table lapse.idempotency_keys is 'The first answer to a request with an Idempotency-Key, kept for 24 h in the transaction of its task.';
create index idempotency_keys_created on lapse.idempotency_keys (created_at);

create table lapse.settings (
  name text primary key,
  value text not null,
  created_at timestamptz not null default clock_timestamp()
);
comment on table lapse.settings is 'Secrets that the first process made and all share.';

create table lapse.heartbeat (
  -- One row.
  id smallint primary key default 1,
  beaten_at timestamptz not null,
  constraint one_row check (id = 1)
)
with (fillfactor = 50);
comment on table lapse.heartbeat is
  'When a dispatcher last lived on this database: after an old backup was restored, or a long stop, the gap shows here.';

insert into lapse.queues (name) values ('default');
