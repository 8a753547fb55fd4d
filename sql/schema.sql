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
  at timestamp with time zone not null,
  first_at timestamp with time zone not null,
  count integer not null,
  constraint rate_starts_pkey PRIMARY KEY (queue, at),
  constraint count_is_positive CHECK (count > 0),
  constraint first_is_first CHECK (first_at <= at)
)
with (
  fillfactor=50,
  autovacuum_vacuum_threshold=200
);
comment on table lapse.rate_starts is 'The attempts started within the last window of each queue that has a rate limit: a few hundred rows a queue at most.';

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
  autovacuum_vacuum_scale_factor=0.01,
  autovacuum_vacuum_threshold=10000,
  autovacuum_vacuum_insert_scale_factor=0.05,
  autovacuum_analyze_scale_factor=0.02,
  autovacuum_vacuum_cost_delay=0
);
CREATE INDEX tasks_due ON lapse.tasks USING btree (queue, next_attempt_at, id) WHERE (state = 'scheduled'::text);
CREATE INDEX tasks_ended_key ON lapse.tasks USING btree (queue, key, id) WHERE ((key IS NOT NULL) AND (finished_at IS NOT NULL));
CREATE INDEX tasks_finished ON lapse.tasks USING btree (finished_at, id) WHERE (finished_at IS NOT NULL);
CREATE INDEX tasks_held ON lapse.tasks USING btree (id) WHERE held;
CREATE INDEX tasks_labels ON lapse.tasks USING gin (labels jsonb_path_ops) WHERE (labels <> '{}'::jsonb);
CREATE INDEX tasks_list ON lapse.tasks USING btree (queue, state, due_at, id);
CREATE UNIQUE INDEX tasks_live_key ON lapse.tasks USING btree (queue, key) WHERE ((key IS NOT NULL) AND (state = ANY (ARRAY['scheduled'::text, 'paused'::text, 'running'::text, 'tombstone'::text])));
CREATE INDEX tasks_running ON lapse.tasks USING btree (owner, queue, id) WHERE (state = 'running'::text);
CREATE INDEX tasks_schedule ON lapse.tasks USING btree (schedule_id, id) WHERE (schedule_id IS NOT NULL);
CREATE INDEX tasks_tombstones ON lapse.tasks USING btree (due_at, id) WHERE (state = 'tombstone'::text);
comment on table lapse.tasks is 'One row a task: one webhook call to be made once, at its due time.';
