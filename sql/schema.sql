-- The schema that the migrations of this folder lead to. Written by `node scripts/schema.ts`, never by hand.
-- Dumped from PostgreSQL's catalogue: why a column or an index is there stands in its migration.

create schema lapse;

create table lapse.api_keys (
  id text collate "C" not null,
  name text not null,
  scopes text[] not null,
  queues text[],
  digest bytea not null,
  created_by text not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  last_used_at timestamp with time zone,
  expires_at timestamp with time zone,
  constraint api_keys_pkey PRIMARY KEY (id),
  constraint admin_is_not_confined CHECK (queues IS NULL OR NOT scopes @> ARRAY['admin'::text]),
  constraint digest_is_a_sha256 CHECK (octet_length(digest) = 32),
  constraint queues_are_named CHECK (queues IS NULL OR cardinality(queues) > 0),
  constraint scopes_are_known CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['tasks:read'::text, 'tasks:write'::text, 'queues:write'::text, 'admin'::text])
)
with (
  fillfactor=70
);
comment on table lapse.api_keys is 'The keys that the API made. The one of LAPSE_API_KEY is not among them.';

create table lapse.attempts (
  task_id uuid not null,
  number integer not null,
  started_at timestamp with time zone not null,
  finished_at timestamp with time zone not null,
  lateness_ms bigint not null,
  duration_ms bigint not null,
  outcome text not null,
  status integer,
  error text,
  response_snippet text,
  constraint attempts_pkey PRIMARY KEY (task_id, number),
  constraint number_counts_from_one CHECK (number > 0),
  constraint outcome_is_known CHECK (outcome = ANY (ARRAY['succeeded'::text, 'failed'::text, 'timed-out'::text, 'refused'::text, 'blocked'::text, 'lost'::text, 'rescheduled'::text]))
)
with (
  autovacuum_vacuum_insert_scale_factor=0.1,
  autovacuum_analyze_scale_factor=0.05
);
comment on table lapse.attempts is 'How each attempt ended, written with its outcome. The attempt in flight is in its task''s row. No foreign key: it would lock the task''s row once more for every outcome; both are removed in one transaction.';

create table lapse.dispatchers (
  id uuid not null,
  started_at timestamp with time zone default clock_timestamp() not null,
  lease_until timestamp with time zone not null,
  dead_at timestamp with time zone,
  constraint dispatchers_pkey PRIMARY KEY (id)
)
with (
  fillfactor=50,
  autovacuum_vacuum_threshold=100
);
comment on table lapse.dispatchers is 'The leases of the processes that fire. A task names its owner; only this row carries the lease.';

create table lapse.event_recording (
  id smallint default 1 not null,
  recorded_until timestamp with time zone default '-infinity'::timestamp with time zone not null,
  began_at timestamp with time zone default '-infinity'::timestamp with time zone not null,
  kept_after_xid xid8 default '0'::xid8 not null,
  kept_after_id bigint default 0 not null,
  constraint event_recording_pkey PRIMARY KEY (id),
  constraint one_recording CHECK (id = 1)
)
with (
  fillfactor=50
);
comment on table lapse.event_recording is 'Whether events are recorded, and from where on they are complete.';

create table lapse.events (
  xid xid8 default pg_current_xact_id() not null,
  id bigint generated always as identity not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  items json not null,
  constraint events_pkey PRIMARY KEY (xid, id)
)
with (
  autovacuum_vacuum_scale_factor=0.01,
  autovacuum_vacuum_threshold=10000,
  autovacuum_vacuum_cost_delay=0
);
comment on table lapse.events is 'The outbox: what one statement did, kept for a day.';

create table lapse.heartbeat (
  id smallint default 1 not null,
  beaten_at timestamp with time zone not null,
  constraint heartbeat_pkey PRIMARY KEY (id),
  constraint one_row CHECK (id = 1)
)
with (
  fillfactor=50
);
comment on table lapse.heartbeat is 'When a dispatcher last lived on this database: after an old backup was restored, or a long stop, the gap shows here.';

create table lapse.idempotency_keys (
  api_key_id text not null,
  method text not null,
  path text not null,
  key text not null,
  fingerprint text not null,
  status integer,
  headers jsonb,
  body text,
  created_at timestamp with time zone default clock_timestamp() not null,
  constraint idempotency_keys_pkey PRIMARY KEY (api_key_id, method, path, key)
);
CREATE INDEX idempotency_keys_created ON lapse.idempotency_keys USING btree (created_at);
comment on table lapse.idempotency_keys is 'The first answer to a request with an Idempotency-Key, kept for 24 h in the transaction of its task.';

create table lapse.new_queues (
  name text collate "C" not null,
  task_id uuid not null,
  constraint new_queues_pkey PRIMARY KEY (name, task_id)
);
comment on table lapse.new_queues is 'Queues named from SQL that have no row yet.';

create table lapse.queue_activity (
  queue text collate "C" not null,
  owner uuid not null,
  recorded_at timestamp with time zone default clock_timestamp() not null,
  fired integer not null,
  lateness jsonb default '{}'::jsonb not null,
  constraint queue_activity_pkey PRIMARY KEY (queue, recorded_at, owner),
  constraint fired_is_not_negative CHECK (fired >= 0)
)
with (
  autovacuum_vacuum_threshold=1000,
  autovacuum_vacuum_scale_factor=0
);
CREATE INDEX queue_activity_recorded ON lapse.queue_activity USING btree (recorded_at);
comment on table lapse.queue_activity is 'What each process fired, queue by queue, written about once a second beside the attempts and kept for some minutes: the figures of a queue''s last minute without a scan of its attempts.';

create table lapse.queues (
  name text collate "C" not null,
  concurrency integer default 100 not null,
  paused boolean default false not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  rate_limit_count integer,
  rate_limit_per_ms bigint,
  defaults jsonb default '{}'::jsonb not null,
  constraint queues_pkey PRIMARY KEY (name),
  constraint concurrency_is_positive CHECK (concurrency > 0),
  constraint defaults_are_named CHECK (jsonb_typeof(defaults) = 'object'::text AND (defaults - '{retry,timeoutMs,misfireGraceMs}'::text[]) = '{}'::jsonb),
  constraint rate_limit_is_positive CHECK (rate_limit_count > 0 AND rate_limit_per_ms > 0),
  constraint rate_limit_is_whole CHECK ((rate_limit_count IS NULL) = (rate_limit_per_ms IS NULL))
);
CREATE INDEX queues_restricted ON lapse.queues USING btree (name) WHERE (paused OR (rate_limit_count IS NOT NULL));
CREATE INDEX queues_with_defaults ON lapse.queues USING btree (name) WHERE (defaults <> '{}'::jsonb);
comment on table lapse.queues is 'One row a queue; made at its first use, never removed.';

create table lapse.rate_starts (
  queue text collate "C" not null,
  bucket bigint not null,
  at timestamp with time zone not null,
  count integer not null,
  constraint rate_starts_pkey PRIMARY KEY (queue, bucket),
  constraint count_is_positive CHECK (count > 0)
)
with (
  fillfactor=50,
  autovacuum_vacuum_threshold=200
);
comment on table lapse.rate_starts is 'The attempts started within the last window of each queue that has a rate limit, some 250 rows a queue at most.';

create table lapse.schedules (
  id uuid not null,
  name text collate "C" not null,
  state text default 'active'::text not null,
  trigger jsonb not null,
  coalesce boolean default true not null,
  max_instances integer default 1 not null,
  jitter_ms bigint,
  queue text collate "C" not null,
  key text collate "C",
  url text not null,
  method text default 'POST'::text not null,
  headers jsonb default '{}'::jsonb not null,
  payload text,
  body text,
  content_type text,
  timeout_ms integer,
  retry jsonb,
  misfire_grace_ms bigint,
  misfire_grace_given boolean default false not null,
  delivery text default 'at-least-once'::text not null,
  max_reschedules integer,
  labels jsonb default '{}'::jsonb not null,
  traceparent text,
  next_occurrence_at timestamp with time zone,
  last_occurrence_at timestamp with time zone,
  look_at timestamp with time zone,
  tz_version text collate "C" not null,
  error text,
  request_hash text,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  version integer default 1 not null,
  constraint schedules_pkey PRIMARY KEY (id),
  constraint schedule_name_is_unique UNIQUE (name),
  constraint instances_are_positive CHECK (max_instances > 0),
  constraint jitter_is_not_negative CHECK (jitter_ms >= 0),
  constraint looked_at_iff_active CHECK ((look_at IS NOT NULL) = (state = 'active'::text)),
  constraint next_only_while_active CHECK (next_occurrence_at IS NULL OR state = 'active'::text),
  constraint schedule_body_has_a_type CHECK ((body IS NOT NULL) = (content_type IS NOT NULL)),
  constraint schedule_delivery_is_known CHECK (delivery = ANY (ARRAY['at-least-once'::text, 'at-most-once'::text])),
  constraint schedule_one_body CHECK (payload IS NULL OR body IS NULL),
  constraint schedule_state_is_known CHECK (state = ANY (ARRAY['active'::text, 'paused'::text, 'ended'::text])),
  constraint set_aside_has_ended CHECK (error IS NULL OR state = 'ended'::text)
)
with (
  fillfactor=70,
  autovacuum_vacuum_scale_factor=0.05,
  autovacuum_vacuum_threshold=1000
);
CREATE INDEX schedules_look ON lapse.schedules USING btree (look_at, id) WHERE (state = 'active'::text);
CREATE INDEX schedules_queue ON lapse.schedules USING btree (queue, name);
CREATE INDEX schedules_tz ON lapse.schedules USING btree (tz_version, id) WHERE (state = 'active'::text);
comment on table lapse.schedules is 'One row a schedule: what its tasks are made of, and when the next one is made.';

create table lapse.settings (
  name text not null,
  value text not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  constraint settings_pkey PRIMARY KEY (name)
);
comment on table lapse.settings is 'Secrets that the first process made and all share.';

create table lapse.shares (
  queue text collate "C" not null,
  owner uuid not null,
  slots integer default 0 not null,
  wanted integer default 0 not null,
  constraint shares_pkey PRIMARY KEY (queue, owner),
  constraint slots_are_not_negative CHECK (slots >= 0 AND wanted >= 0)
)
with (
  fillfactor=50,
  autovacuum_vacuum_threshold=100
);
CREATE INDEX shares_owner ON lapse.shares USING btree (owner);
comment on table lapse.shares is 'Each dispatcher''s leased share of a queue''s slots. Their sum never exceeds the queue''s concurrency; a dead owner''s share moves with its tasks.';

create table lapse.subscriptions (
  id uuid not null,
  url text not null,
  types text[] not null,
  queue text collate "C",
  created_at timestamp with time zone default clock_timestamp() not null,
  cursor_xid xid8 not null,
  cursor_id bigint default 0 not null,
  dropped bigint default 0 not null,
  constraint subscriptions_pkey PRIMARY KEY (id),
  constraint types_are_named CHECK (cardinality(types) > 0)
)
with (
  fillfactor=50
);
comment on table lapse.subscriptions is 'Who is told of events by webhook: each event becomes a task in the queue `lapse:events:<id>`.';

create table lapse.tallies (
  id uuid not null,
  queue text collate "C" not null,
  kind text not null,
  count bigint not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  constraint tallies_pkey PRIMARY KEY (id, queue, kind),
  constraint kind_is_known CHECK (kind = ANY (ARRAY['accepted'::text, 'pruned'::text]))
)
with (
  autovacuum_vacuum_threshold=1000,
  autovacuum_vacuum_scale_factor=0
);
comment on table lapse.tallies is 'How many tasks were accepted and pruned, counted apart from the tasks in the same transaction, so that the audit can fail.';

create table lapse.tasks (
  id uuid not null,
  queue text collate "C" not null,
  key text collate "C",
  state text not null,
  due_at timestamp with time zone not null,
  next_attempt_at timestamp with time zone not null,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  finished_at timestamp with time zone,
  url text,
  method text default 'POST'::text not null,
  headers jsonb default '{}'::jsonb not null,
  payload text,
  body text,
  content_type text,
  timeout_ms integer default 30000 not null,
  retry jsonb default '{}'::jsonb not null,
  misfire_grace_ms bigint,
  delivery text default 'at-least-once'::text not null,
  max_reschedules integer,
  reschedules integer default 0 not null,
  labels jsonb default '{}'::jsonb not null,
  schedule_id uuid,
  traceparent text,
  request_hash text,
  attempts integer default 0 not null,
  attempts_before integer default 0 not null,
  attempts_at_due integer default 0 not null,
  attempt_started_at timestamp with time zone,
  lateness_ms bigint,
  owner uuid,
  cancel_requested boolean default false not null,
  confirmed_attempt integer,
  confirm_refused boolean default false not null,
  tombstone_until timestamp with time zone,
  held boolean default false not null,
  version integer default 1 not null,
  occurrence_at timestamp with time zone,
  constraint tasks_pkey PRIMARY KEY (id),
  constraint attempts_only_grow CHECK (attempts_before >= 0 AND attempts_before <= attempts AND attempts_at_due >= 0 AND attempts_at_due <= attempts AND reschedules >= 0),
  constraint body_has_a_type CHECK ((body IS NOT NULL) = (content_type IS NOT NULL)),
  constraint confirmed_attempt_was_made CHECK (confirmed_attempt >= 1 AND confirmed_attempt <= attempts),
  constraint delivery_is_known CHECK (delivery = ANY (ARRAY['at-least-once'::text, 'at-most-once'::text])),
  constraint finished_iff_ended CHECK ((finished_at IS NOT NULL) = (state = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text, 'missed'::text]))),
  constraint held_only_while_paused CHECK (state = 'paused'::text OR NOT held),
  constraint one_body CHECK (payload IS NULL OR body IS NULL),
  constraint owned_iff_running CHECK ((owner IS NOT NULL) = (state = 'running'::text) AND (attempt_started_at IS NOT NULL) = (state = 'running'::text) AND (lateness_ms IS NOT NULL) = (state = 'running'::text)),
  constraint refused_only_after_a_cancel CHECK (cancel_requested OR NOT confirm_refused),
  constraint running_has_an_attempt CHECK (state <> 'running'::text OR attempts > 0),
  constraint state_is_known CHECK (state = ANY (ARRAY['scheduled'::text, 'paused'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text, 'missed'::text, 'tombstone'::text])),
  constraint task_has_a_url CHECK (url IS NOT NULL OR state = 'tombstone'::text),
  constraint tombstone_names_a_key CHECK (state <> 'tombstone'::text OR key IS NOT NULL AND attempts = 0)
)
with (
  fillfactor=100,
  autovacuum_vacuum_threshold=10000,
  autovacuum_vacuum_insert_scale_factor=0.05,
  autovacuum_analyze_scale_factor=0.02,
  autovacuum_vacuum_scale_factor=0.05,
  autovacuum_vacuum_cost_delay=2,
  autovacuum_vacuum_cost_limit=1000
);
CREATE INDEX tasks_ahead ON lapse.tasks USING btree (schedule_id, occurrence_at) WHERE ((occurrence_at IS NOT NULL) AND (attempts = 0) AND (state = ANY (ARRAY['scheduled'::text, 'paused'::text])));
CREATE INDEX tasks_due ON lapse.tasks USING btree (queue, next_attempt_at, id) WHERE (state = 'scheduled'::text);
CREATE INDEX tasks_ended_key ON lapse.tasks USING btree (queue, key, id) WHERE ((key IS NOT NULL) AND (finished_at IS NOT NULL));
CREATE INDEX tasks_finished ON lapse.tasks USING btree (finished_at, id) WHERE (finished_at IS NOT NULL);
CREATE INDEX tasks_held ON lapse.tasks USING btree (id) WHERE held;
CREATE INDEX tasks_instances ON lapse.tasks USING btree (schedule_id) WHERE ((schedule_id IS NOT NULL) AND (attempts > 0) AND (state = ANY (ARRAY['scheduled'::text, 'paused'::text, 'running'::text])));
CREATE INDEX tasks_labels ON lapse.tasks USING gin (labels jsonb_path_ops) WHERE (labels <> '{}'::jsonb);
CREATE INDEX tasks_list ON lapse.tasks USING btree (queue, state, due_at, id) WHERE (queue IS NOT NULL);
CREATE UNIQUE INDEX tasks_live_key ON lapse.tasks USING btree (queue, key) WHERE ((key IS NOT NULL) AND (state = ANY (ARRAY['scheduled'::text, 'paused'::text, 'running'::text, 'tombstone'::text])));
CREATE UNIQUE INDEX tasks_occurrence ON lapse.tasks USING btree (schedule_id, occurrence_at) WHERE ((occurrence_at IS NOT NULL) AND (state <> 'cancelled'::text));
CREATE INDEX tasks_running ON lapse.tasks USING btree (owner, queue, id) WHERE (state = 'running'::text);
CREATE INDEX tasks_schedule ON lapse.tasks USING btree (schedule_id, id) WHERE (schedule_id IS NOT NULL);
CREATE INDEX tasks_tombstones ON lapse.tasks USING btree (due_at, id) WHERE (state = 'tombstone'::text);
comment on table lapse.tasks is 'One row a task: one webhook call to be made once, at its due time.';
comment on column lapse.tasks.occurrence_at is 'The occurrence that its schedule made it for; null where there is none, also for a task that a caller''s run made.';

create view lapse.task_report as
 SELECT t.id,
    t.queue,
    t.key,
    t.state,
    t.due_at,
    t.next_attempt_at,
    t.created_at,
    t.updated_at,
    t.finished_at,
    t.method,
    t.delivery,
    t.labels,
    t.schedule_id,
    t.attempts,
    t.cancel_requested,
    COALESCE(t.attempt_started_at, a.started_at) AS last_started_at,
    COALESCE(t.lateness_ms, a.lateness_ms) AS last_lateness_ms,
    a.duration_ms AS last_duration_ms,
    a.outcome AS last_outcome,
    a.status AS last_status
   FROM tasks t
     LEFT JOIN attempts a ON a.task_id = t.id AND a.number = t.attempts AND t.state <> 'running'::text
  WHERE t.state <> 'tombstone'::text;

CREATE OR REPLACE FUNCTION lapse.accept_task(task tasks, on_conflict text)
 RETURNS uuid
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
  standing lapse.tasks;
  stored uuid;
begin
  if not exists (select from lapse.queues q where q.name = task.queue)
    and not exists (select from lapse.new_queues n where n.name = task.queue) then
    insert into lapse.new_queues (name, task_id) values (task.queue, task.id);
  end if;
  -- As often as a key may change hands under one call.
  for look in 1 .. 10 loop
    insert into lapse.tasks (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at, finished_at, url, method, headers, payload,
      body, content_type, timeout_ms, retry, misfire_grace_ms, delivery, max_reschedules, labels, request_hash)
    values (task.id, task.queue, task.key, task.state, task.due_at, task.due_at, task.created_at, task.created_at,
      case when task.state = 'cancelled' then task.created_at end, task.url, task.method, task.headers, task.payload,
      task.body, task.content_type, task.timeout_ms, task.retry, task.misfire_grace_ms, task.delivery, task.max_reschedules, task.labels,
      task.request_hash)
    on conflict do nothing
    returning id into stored;
    if stored is not null then
      insert into lapse.tallies (id, queue, kind, count) values (stored, task.queue, 'accepted', 1);
      return stored;
    end if;
    select t.* into standing from lapse.tasks t
      where t.queue = task.queue and t.key = task.key and t.state in ('scheduled', 'paused', 'running', 'tombstone');
    continue when not found;
    if standing.tombstone_until > clock_timestamp() then
      task.state := 'cancelled';
    elsif standing.state = 'tombstone' then
      if standing.due_at > clock_timestamp() then
        task.state := 'cancelled';
      else
        delete from lapse.tasks t where t.id = standing.id and t.state = 'tombstone' and t.due_at <= clock_timestamp();
      end if;
    elsif on_conflict = 'keep' or (on_conflict = 'reject' and standing.request_hash = task.request_hash) then
      return standing.id;
    elsif on_conflict = 'reject' or standing.state = 'running' then
      raise exception using
        errcode = 'unique_violation',
        message = format('lapse.schedule_task: key "%s" of queue "%s" is taken by a task that is %s', task.key, task.queue, standing.state),
        detail = format('The task that stands is %s.', standing.id),
        hint = case when on_conflict = 'reject' then 'on_conflict => ''keep'' returns the task that stands; ''replace'' gives it the new definition and due time.'
          else 'A task whose attempt is being made cannot be replaced.' end;
    else
      update lapse.tasks t set
        url = task.url, method = task.method, headers = task.headers, payload = task.payload, body = task.body, content_type = task.content_type,
        timeout_ms = task.timeout_ms, retry = task.retry, misfire_grace_ms = task.misfire_grace_ms, delivery = task.delivery,
        max_reschedules = task.max_reschedules, labels = task.labels, traceparent = null, request_hash = task.request_hash,
        due_at = task.due_at, next_attempt_at = task.due_at, updated_at = clock_timestamp(),
        attempts_before = t.attempts, attempts_at_due = t.attempts, reschedules = 0, version = t.version + 1
      where t.id = standing.id and t.state in ('scheduled', 'paused');
      if found then return standing.id; end if;
    end if;
  end loop;
  raise exception using
    errcode = 'serialization_failure',
    message = format('lapse.schedule_task: key "%s" of queue "%s" changed hands again and again', task.key, task.queue),
    hint = 'Try the transaction again.';
end
$function$;

CREATE OR REPLACE FUNCTION lapse.cancel_task(key text DEFAULT NULL::text, queue text DEFAULT 'default'::text, id uuid DEFAULT NULL::uuid, tombstone interval DEFAULT NULL::interval)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  year_ms constant bigint := 365 * 86400000::bigint;
  faults text[];
  task lapse.tasks;
  verdict text;
  stands_until timestamptz;
begin
  queue := coalesce(queue, 'default');
  faults := array(
    select format('%s %s', field, fault) from (values
      ('key', case when (key is null) = (id is null) then 'or id is required, one of them' else lapse.key_fault(key) end),
      ('tombstone', case when tombstone is not null and key is null then 'needs a key'
        else lapse.interval_fault(tombstone, 1, year_ms, 'from 1 ms to 365 days') end)
    ) as checked (field, fault)
    where fault is not null);
  if faults <> '{}' then perform lapse.raise_faults('cancel_task', faults); end if;

  -- As often as a key may change hands under one call.
  for look in 1 .. 10 loop
    if cancel_task.id is not null then
      select t.* into task from lapse.tasks t where t.id = cancel_task.id and t.state <> 'tombstone';
    else
      select t.* into task from lapse.tasks t
        where t.queue = cancel_task.queue and t.key = cancel_task.key and t.state in ('scheduled', 'paused', 'running');
      if not found then
        select t.* into task from lapse.tasks t
          where t.queue = cancel_task.queue and t.key = cancel_task.key and t.finished_at is not null order by t.id desc limit 1;
      end if;
    end if;
    if not found then verdict := 'none';
    elsif task.state = 'cancelled' then verdict := 'cancelled';
    elsif task.finished_at is not null or task.confirmed_attempt is not null or (task.state = 'running' and task.cancel_requested) then
      verdict := 'too-late';
    else
      -- Waits for the row's lock, and judges the row as it is then.
      update lapse.tasks t set
        state = case when t.state = 'running' then 'running' else 'cancelled' end,
        finished_at = case when t.state = 'running' then null else clock_timestamp() end,
        cancel_requested = true,
        held = false,
        updated_at = clock_timestamp(),
        version = t.version + 1
      where t.id = task.id and t.state in ('scheduled', 'paused', 'running') and t.confirmed_attempt is null
        and not (t.state = 'running' and t.cancel_requested)
      returning case when t.state = 'running' then 'too-late' else 'cancelled' end into verdict;
      continue when not found;
    end if;
    if tombstone is null then return verdict; end if;

    stands_until := lapse.whole_ms(clock_timestamp() + make_interval(secs => lapse.interval_ms(tombstone) / 1000.0));
    insert into lapse.tasks as t (id, queue, key, state, due_at, next_attempt_at, created_at, updated_at)
      values (gen_random_uuid(), cancel_task.queue, cancel_task.key, 'tombstone', stands_until, stands_until, clock_timestamp(), clock_timestamp())
      on conflict (queue, key) where key is not null and state in ('scheduled', 'paused', 'running', 'tombstone')
      do update set due_at = greatest(t.due_at, excluded.due_at), updated_at = excluded.updated_at where t.state = 'tombstone';
    if found then return verdict; end if;
    -- The task in flight holds the key's place: its settle plants the tombstone.
    update lapse.tasks t set tombstone_until = greatest(t.tombstone_until, stands_until)
      where t.queue = cancel_task.queue and t.key = cancel_task.key and t.state in ('scheduled', 'paused', 'running')
        and (t.state = 'running' or t.confirmed_attempt is not null);
    if found then return verdict; end if;
  end loop;
  raise exception using
    errcode = 'serialization_failure',
    message = format('lapse.cancel_task: key "%s" of queue "%s" changed hands again and again', key, queue),
    hint = 'Try the transaction again.';
end
$function$;

CREATE OR REPLACE FUNCTION lapse.content_type_fault(content_type text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select case
    when length(content_type) > 256 then 'must have at most 256 characters'
    when content_type !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]+/[!#$%&''*+.^_`|~0-9A-Za-z-]+([ \t]*;[\t\u0020-\u007e]*)?$'
      then 'must be a media type, such as text/plain; charset=utf-8'
  end
$function$;

CREATE OR REPLACE FUNCTION lapse.default_retry()
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select '{"maxAttempts": 10, "backoff": "exponential", "minDelayMs": 5000, "maxDelayMs": 21600000, "factor": 3, "jitter": 0.2}'::jsonb
$function$;

CREATE OR REPLACE FUNCTION lapse.events_horizon()
 RETURNS xid8
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION lapse.headers_faults(headers jsonb)
 RETURNS SETOF text
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
begin
  if jsonb_typeof(headers) <> 'object' then
    return next 'must be an object';
    return;
  end if;
  return query
    select to_json(name)::text || ' ' || case
      when jsonb_typeof(value) <> 'string' then 'must be a string'
      when name = '__proto__' then 'is not allowed as a name'
      when name !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]+$' then 'must be a header name as RFC 9110 has it'
      when lower(name) in ('host', 'connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect', 'content-length',
        'content-encoding', 'http2-settings', 'cookie2', 'forwarded', 'via', 'traceparent', 'tracestate', 'baggage')
        then 'must not be set: it belongs to the connection, or to Lapse'
      when lower(name) ~ '^(proxy-|x-forwarded-|webhook-|lapse-)' then 'must not be set: every proxy-*, x-forwarded-*, webhook-* and lapse-* header is refused'
      when value #>> '{}' !~ '^[\t\u0020-\u007e\u0080-\u00ff]*$' then 'must not hold control characters, line breaks, or characters beyond Latin-1'
      when count(*) over (partition by lower(name)) > 1 then 'must not be given twice, in whatever case'
    end
    from jsonb_each(headers) as header (name, value);
  if (select count(*) from jsonb_object_keys(headers)) > 32 then return next 'must have at most 32 headers'; end if;
  if (select sum(length(header.key) + length(header.value)) from jsonb_each_text(headers) as header) > 8192 then
    return next 'must have at most 8192 bytes altogether';
  end if;
end
$function$;

CREATE OR REPLACE FUNCTION lapse.interval_fault(span interval, min_ms bigint, max_ms bigint, range_words text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select case
    when extract(year from span) <> 0 or extract(month from span) <> 0 then 'must not hold years or months, whose length varies; use days'
    when ceil(extract(epoch from span) * 1000) not between min_ms and max_ms then 'must be ' || range_words
  end
$function$;

CREATE OR REPLACE FUNCTION lapse.interval_ms(span interval)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select ceil(extract(epoch from span) * 1000)::bigint
$function$;

CREATE OR REPLACE FUNCTION lapse.key_fault(key text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select case
    when key = '' then 'must have at least 1 character'
    when length(key) > 512 then 'must have at most 512 characters'
    when key ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]' then 'may have only printable characters'
  end
$function$;

CREATE OR REPLACE FUNCTION lapse.labels_faults(labels jsonb)
 RETURNS SETOF text
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
begin
  if jsonb_typeof(labels) <> 'object' then
    return next 'must be an object';
    return;
  end if;
  return query
    select to_json(name)::text || ' ' || case
      when jsonb_typeof(value) <> 'string' then 'must be a string'
      when name = '__proto__' then 'is not allowed as a name'
      when name = '' then 'must have a name'
      when length(name) > 128 then 'must have a name of at most 128 characters'
      when length(value #>> '{}') > 256 then 'must have at most 256 characters'
      when name ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]' then 'must have a name of printable characters'
    end
    from jsonb_each(labels) as label (name, value);
  if (select count(*) from jsonb_object_keys(labels)) > 16 then return next 'must have at most 16 labels'; end if;
end
$function$;

CREATE OR REPLACE FUNCTION lapse.queue_fault(queue text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select case
    when length(queue) not between 1 and 128 then 'must have 1 to 128 characters'
    when queue !~ '^[A-Za-z0-9._:-]+$' then 'may have only letters, digits and . _ : -'
    when starts_with(queue, 'lapse:') then 'must not begin with "lapse:", which is kept for Lapse itself'
  end
$function$;

CREATE OR REPLACE FUNCTION lapse.raise_faults(function_name text, faults text[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  raise exception using
    errcode = 'invalid_parameter_value',
    message = format('lapse.%s: %s', function_name, array_to_string(faults, '; ')),
    hint = 'Parameters are given by name; their limits are those of the API, POST /v1/tasks.';
end
$function$;

CREATE OR REPLACE FUNCTION lapse.read_duration(written text)
 RETURNS numeric
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
declare
  parts text[];
  iso constant text := '^P(?=[0-9T])(?:([0-9.,]+)W)?(?:([0-9.,]+)D)?(?:T(?=[0-9])(?:([0-9.,]+)H)?(?:([0-9.,]+)M)?(?:([0-9.,]+)S)?)?$';
  short constant text := '^(?=[0-9])(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m(?!s))?(?:([0-9]+)s)?(?:([0-9]+)ms)?$';
  units constant bigint[] := array[604800000, 86400000, 3600000, 60000, 1000, 1];
  total numeric := 0;
begin
  if length(written) > 64 then return null; end if;
  parts := coalesce(regexp_match(written, iso), regexp_match(written, short));
  if parts is null then return null; end if;
  for i in 1 .. cardinality(parts) loop
    continue when parts[i] is null;
    if parts[i] !~ '^[0-9]+([.,][0-9]+)?$' then return null; end if;
    total := total + replace(parts[i], ',', '.')::numeric * units[i];
  end loop;
  return ceil(total);
end
$function$;

CREATE OR REPLACE FUNCTION lapse.read_retry(retry jsonb, OUT policy jsonb, OUT faults text[])
 RETURNS record
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
declare
  defaults constant jsonb := lapse.default_retry();
  min_delay numeric := defaults ->> 'minDelayMs';
  max_delay numeric := defaults ->> 'maxDelayMs';
  month_ms constant bigint := 30 * 86400000::bigint;
begin
  faults := '{}';
  if jsonb_typeof(retry) <> 'object' then
    faults := array['must be an object'];
    return;
  end if;
  faults := array(select format('%s is no member of it', to_json(name)) from jsonb_object_keys(retry) as name
    where name not in ('maxAttempts', 'backoff', 'minDelay', 'maxDelay', 'factor', 'jitter'));
  faults := faults || array(
    select format('%s must be a%s from %s to %s', name, case when is_whole then ' whole number' else ' number' end, least_value, most)
    from (values ('maxAttempts', true, 1, 100), ('factor', false, 1, 100), ('jitter', false, 0, 1)) as rule (name, is_whole, least_value, most)
    where retry ? name and not case when jsonb_typeof(retry -> name) = 'number' then
      (retry ->> name)::numeric between least_value and most and not (is_whole and (retry ->> name)::numeric <> trunc((retry ->> name)::numeric))
      else false end);
  if retry ? 'backoff' and coalesce(retry ->> 'backoff', '') not in ('exponential', 'fixed') then
    faults := array_append(faults, 'backoff must be exponential or fixed');
  end if;
  if retry ? 'minDelay' then min_delay := case when jsonb_typeof(retry -> 'minDelay') = 'string' then lapse.read_duration(retry ->> 'minDelay') end; end if;
  if retry ? 'maxDelay' then max_delay := case when jsonb_typeof(retry -> 'maxDelay') = 'string' then lapse.read_duration(retry ->> 'maxDelay') end; end if;
  if min_delay is null or min_delay > month_ms then
    faults := array_append(faults, 'minDelay must be a duration of at most P30D, as a string with a unit, such as "PT5S" or "5s"');
  end if;
  if max_delay is null or max_delay > month_ms then
    faults := array_append(faults, 'maxDelay must be a duration of at most P30D, as a string with a unit, such as "PT6H" or "6h"');
  end if;
  if min_delay > max_delay then faults := array_append(faults, 'minDelay must not be more than maxDelay'); end if;
  if faults <> '{}' then return; end if;
  policy := defaults || jsonb_strip_nulls(jsonb_build_object(
    'maxAttempts', (retry ->> 'maxAttempts')::numeric::int,
    'backoff', retry ->> 'backoff',
    'minDelayMs', min_delay::bigint,
    'maxDelayMs', max_delay::bigint,
    'factor', (retry ->> 'factor')::float8,
    'jitter', (retry ->> 'jitter')::float8));
end
$function$;

CREATE OR REPLACE FUNCTION lapse.record_changed_tasks()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION lapse.record_events(items json)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  insert into lapse.events (items)
  select items from lapse.event_recording where id = 1 and recorded_until > clock_timestamp()
$function$;

CREATE OR REPLACE FUNCTION lapse.record_new_tasks()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION lapse.record_queues()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION lapse.record_schedule_ended()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION lapse.request_hash(task tasks, on_conflict text, due text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select case when task.key is not null then
    translate(encode(sha256(convert_to('[[' || concat_ws(',',
      to_json(task.queue), to_json(task.key), to_json(on_conflict), to_json(task.url), to_json(task.method),
      task.timeout_ms, coalesce(task.misfire_grace_ms::text, 'null'), to_json(task.delivery), coalesce(task.max_reschedules::text, 'null'))
    || '],' || due || ',' || case
      when task.payload is not null then format('["payload",%s]', to_json(task.payload))
      when task.body is not null then format('["raw",%s,%s]', to_json(task.body), to_json(task.content_type))
      else '[]' end
    || ',[' || concat_ws(',', task.retry ->> 'maxAttempts', to_json(task.retry ->> 'backoff'), task.retry ->> 'minDelayMs',
      task.retry ->> 'maxDelayMs', task.retry ->> 'factor', task.retry ->> 'jitter')
    || '],' || lapse.sorted_entries(task.headers) || ',' || lapse.sorted_entries(task.labels) || ']', 'UTF8')), 'base64'),
    E'+/=\n', '-_')
  end
$function$;

CREATE OR REPLACE FUNCTION lapse.schedule_task(url text DEFAULT NULL::text, due_at timestamp with time zone DEFAULT NULL::timestamp with time zone, delay interval DEFAULT NULL::interval, queue text DEFAULT 'default'::text, key text DEFAULT NULL::text, on_conflict text DEFAULT 'reject'::text, method text DEFAULT 'POST'::text, headers jsonb DEFAULT '{}'::jsonb, payload jsonb DEFAULT NULL::jsonb, payload_text text DEFAULT NULL::text, body text DEFAULT NULL::text, content_type text DEFAULT NULL::text, timeout interval DEFAULT NULL::interval, retry jsonb DEFAULT NULL::jsonb, misfire_grace interval DEFAULT NULL::interval, delivery text DEFAULT 'at-least-once'::text, max_reschedules integer DEFAULT NULL::integer, labels jsonb DEFAULT '{}'::jsonb)
 RETURNS uuid
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  called_at constant timestamptz := clock_timestamp();
  -- Ten years with their leap days.
  latest constant timestamptz := called_at + interval '87672 hours';
  ten_years_ms constant bigint := 3653 * 86400000::bigint;
  payload_bytes_max constant int := 262144;
  faults text[] := '{}';
  defaults jsonb;
  due timestamptz := called_at;
  due_given text := '["delay",0]';
  months int;
  reading record;
  task lapse.tasks;
begin
  task.queue := coalesce(queue, 'default');
  task.key := key;
  task.url := url;
  task.method := coalesce(method, 'POST');
  task.headers := coalesce(headers, '{}');
  task.payload := coalesce(payload_text, payload::text);
  task.body := body;
  task.content_type := content_type;
  task.delivery := coalesce(delivery, 'at-least-once');
  task.max_reschedules := max_reschedules;
  task.labels := coalesce(labels, '{}');
  on_conflict := coalesce(on_conflict, 'reject');
  select q.defaults into defaults from lapse.queues q where q.name = task.queue;

  faults := array(
    select format('%s %s', field, fault) from (values
      ('url', lapse.url_fault(task.url)),
      ('queue', lapse.queue_fault(task.queue)),
      ('key', lapse.key_fault(task.key)),
      ('on_conflict', case when on_conflict not in ('reject', 'keep', 'replace') then 'must be reject, keep or replace' end),
      ('method', case when task.method not in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE') then 'must be GET, POST, PUT, PATCH or DELETE' end),
      ('payload_text', case when payload is not null and payload_text is not null then 'must not be given together with payload' end),
      ('body', case when task.payload is not null and body is not null then 'must not be given together with a payload' end),
      ('content_type', case when body is not null and content_type is null then 'is required with body'
        when body is null and content_type is not null then 'is allowed only with body' else lapse.content_type_fault(content_type) end),
      ('payload', case when octet_length(task.payload) > payload_bytes_max then 'must have at most 262144 bytes' end),
      ('body', case when octet_length(task.body) > payload_bytes_max then 'must have at most 262144 bytes' end),
      ('timeout', lapse.interval_fault(timeout, 100, 900000, 'from 100 ms to 15 minutes')),
      ('misfire_grace', lapse.interval_fault(misfire_grace, 1, ten_years_ms, 'from 1 ms to 3653 days')),
      ('delivery', case when task.delivery not in ('at-least-once', 'at-most-once') then 'must be at-least-once or at-most-once' end),
      ('max_reschedules', case when max_reschedules not between 0 and 1000000 then 'must be from 0 to 1000000' end),
      ('delay', case when delay is not null and due_at is not null then 'must not be given together with due_at' end)
    ) as checked (field, fault)
    where fault is not null);

  if due_at is not null then
    if due_at > latest then faults := array_append(faults, 'due_at must be at most 10 years ahead');
    elsif isfinite(due_at) then
      due := lapse.whole_ms(due_at);
      due_given := format('["at",%s]', (extract(epoch from due) * 1000)::bigint);
    else faults := array_append(faults, 'due_at must be a time, not -infinity');
    end if;
  elsif delay is not null then
    -- What no clock can hold is more than 10 years, too.
    if delay > interval '4000 days' then faults := array_append(faults, 'delay must be at most 10 years');
    elsif delay < interval '-4000 days' then faults := array_append(faults, 'delay must not be negative');
    else
      -- Months and days by the calendar in UTC, whatever the session's zone.
      due := ((called_at at time zone 'UTC') + delay) at time zone 'UTC';
      if due > latest then faults := array_append(faults, 'delay must be at most 10 years'); end if;
      if due < called_at then faults := array_append(faults, 'delay must not be negative'); end if;
      months := extract(year from delay) * 12 + extract(month from delay);
      due_given := format(case months when 0 then '["delay",%s]' else '["delay",%s,%s]' end,
        lapse.interval_ms(delay - make_interval(months => months)), months);
    end if;
  end if;

  -- NUL and lone surrogates, which jsonb refuses, no receiver could read.
  if payload_text is not null then
    begin
      perform payload_text::jsonb;
    exception when others then
      faults := array_append(faults, 'payload_text must be JSON, without NUL and lone surrogates');
    end;
  end if;
  if task.headers <> '{}' then
    faults := faults || array(select 'headers ' || fault from lapse.headers_faults(task.headers) as fault where fault is not null);
  end if;
  if task.labels <> '{}' then
    faults := faults || array(select 'labels ' || fault from lapse.labels_faults(task.labels) as fault where fault is not null);
  end if;
  if retry is null then
    task.retry := coalesce(defaults -> 'retry', lapse.default_retry());
  else
    reading := lapse.read_retry(retry);
    task.retry := reading.policy;
    faults := faults || array(select 'retry ' || fault from unnest(reading.faults) as fault);
  end if;
  if faults <> '{}' then perform lapse.raise_faults('schedule_task', faults); end if;

  task.timeout_ms := coalesce(lapse.interval_ms(timeout), (defaults ->> 'timeoutMs')::int, 30000);
  task.misfire_grace_ms := coalesce(lapse.interval_ms(misfire_grace), (defaults ->> 'misfireGraceMs')::bigint);
  task.created_at := lapse.whole_ms(called_at);
  task.due_at := greatest(lapse.whole_ms(due), task.created_at);
  task.id := lapse.uuid_v7(task.created_at);
  task.state := 'scheduled';
  task.request_hash := lapse.request_hash(task, on_conflict, due_given);
  return lapse.accept_task(task, on_conflict);
end
$function$;

CREATE OR REPLACE FUNCTION lapse.sorted_entries(map jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select '[' || coalesce(string_agg(format('[%s,%s]', to_json(key), to_json(value)), ',' order by key collate "C"), '') || ']'
  from jsonb_each_text(map)
$function$;

CREATE OR REPLACE FUNCTION lapse.url_fault(url text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select case
    when url is null or url = '' then 'is required'
    -- Counted as JavaScript counts: a character beyond the first plane is two.
    when length(url) + length(regexp_replace(url, '[^\U00010000-\U0010ffff]', '', 'g')) > 2048 then 'must be at most 2048 characters long'
    when url ~* '^https?://[^/?#\\]*@' then 'must not hold a user name or password; use a header'
    when url !~* '^https?://(\[[0-9a-f:.]+\]|[^][:space:]/?#\\@:<>^|[]+)(:[0-9]{0,5})?([/?#\\]|$)' then 'must be an absolute http or https URL'
  end
$function$;

CREATE OR REPLACE FUNCTION lapse.uuid_v7(at timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
AS $function$
  select encode(set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid()) placing substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) from 1 for 6),
    52, 1), 53, 1), 'hex')::uuid
$function$;

CREATE OR REPLACE FUNCTION lapse.whole_ms(at timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$
  select date_trunc('milliseconds', at + interval '999 microseconds')
$function$;

CREATE TRIGGER queues_inserted AFTER INSERT ON queues FOR EACH ROW WHEN (new.paused) EXECUTE FUNCTION record_queues();

CREATE TRIGGER queues_updated AFTER UPDATE ON queues FOR EACH ROW WHEN (new.paused <> old.paused) EXECUTE FUNCTION record_queues();

CREATE TRIGGER schedules_ended AFTER UPDATE OF state ON schedules FOR EACH ROW WHEN (new.state = 'ended'::text AND old.state <> 'ended'::text) EXECUTE FUNCTION record_schedule_ended();

CREATE TRIGGER tasks_inserted AFTER INSERT ON tasks REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION record_new_tasks();

CREATE TRIGGER tasks_updated AFTER UPDATE ON tasks REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION record_changed_tasks();

grant EXECUTE on function cancel_task(text,text,uuid,interval) to lapse_client;

grant EXECUTE on function schedule_task(text,timestamp with time zone,interval,text,text,text,text,jsonb,jsonb,text,text,text,interval,jsonb,interval,text,integer,jsonb) to lapse_client;

grant USAGE on schema lapse to lapse_client;

grant USAGE on schema lapse to lapse_report;

grant SELECT on table lapse.task_report to lapse_report;
