-- Queues as executors: a rate limit, defaults for their tasks, and what they did over the last minute.
--
-- A rate limit must hold over all dispatchers, by Postgres's clock, whoever dies. Each claim in a queue with a limit therefore reads and
-- writes down its starts under the queue's row lock, in the claim's own transaction. Shares of a rate leased to each dispatcher were the
-- other way: a share can move only after a pause of `per`, so that a lone dispatcher, or one of more than the limit, would wait for
-- allowance that nobody uses. Queues without a limit pay nothing.

alter table lapse.queues
  -- How many attempts may start in any window of this length; null: as many as there are slots.
  add column rate_limit_count integer,
  add column rate_limit_per_ms bigint,
  -- For tasks that leave the field out: { "retry": as in tasks.retry, "timeoutMs": …, "misfireGraceMs": … }, each left out where unset.
  add column defaults jsonb not null default '{}',
  add constraint rate_limit_is_whole check ((rate_limit_count is null) = (rate_limit_per_ms is null)),
  add constraint rate_limit_is_positive check (rate_limit_count > 0 and rate_limit_per_ms > 0),
  add constraint defaults_are_named check (jsonb_typeof(defaults) = 'object' and defaults - '{retry,timeoutMs,misfireGraceMs}'::text[] = '{}');

-- Queues from which a claim may take nothing, or not as it takes from others: few of many, asked for by every claim.
create index queues_restricted on lapse.queues (name) where paused or rate_limit_count is not null;
-- Read by each process that accepts, once a second at most.
create index queues_with_defaults on lapse.queues (name) where defaults <> '{}';

create table lapse.rate_starts (
  queue text collate "C" not null,
  -- Starts of the same 250th of a window share a row, so that a long window costs no more to sum up than a short one.
  bucket bigint not null,
  -- No start of the row is later than this: all count as if they had been made then.
  at timestamptz not null,
  count integer not null,
  primary key (queue, bucket),
  constraint count_is_positive check (count > 0)
)
with (fillfactor = 50, autovacuum_vacuum_threshold = 200);
comment on table lapse.rate_starts is
  'The attempts started within the last window of each queue that has a rate limit, some 250 rows a queue at most.';

create table lapse.queue_activity (
  queue text collate "C" not null,
  -- The process that made the attempts.
  owner uuid not null,
  recorded_at timestamptz not null default clock_timestamp(),
  fired integer not null,
  -- How many first attempts were late by how much: { "<bucket>": count }. The buckets are those of src/task/lateness.ts.
  lateness jsonb not null default '{}',
  primary key (queue, recorded_at, owner),
  constraint fired_is_not_negative check (fired >= 0)
)
with (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
comment on table lapse.queue_activity is
  'What each process fired, queue by queue, written about once a second beside the attempts and kept for some minutes: the figures of a queue''s last minute without a scan of its attempts.';
create index queue_activity_recorded on lapse.queue_activity (recorded_at);
