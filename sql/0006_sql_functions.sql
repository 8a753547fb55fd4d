-- Tasks made and cancelled from SQL, inside the user's own transaction: lapse.schedule_task, lapse.cancel_task, and a view for reports.
--
-- The functions check what the API checks (src/http/schemas, src/http/limits.ts, src/webhook/header-rules.ts) and store what it stores, down
-- to the hash by which the very same request is known again; test/sql holds the two against each other. They run as their owner, with a
-- search_path that nobody else can write to, so that a client needs no right on any table. A user's transaction may stay open for minutes:
-- they take no lock but on the task, the key and rows of their own, and nothing else in Lapse waits for those for long.

-- A queue that SQL is the first to name. Inserting its row in lapse.queues would make every other first use wait for the user's commit;
-- here each transaction writes a row of its own, and the dispatchers' look, once a second, makes queues of those that were committed.
create table lapse.new_queues (
  name text collate "C" not null,
  -- Of the task that brought it, so that two transactions never meet.
  task_id uuid not null,
  primary key (name, task_id)
);
comment on table lapse.new_queues is 'Queues named from SQL that have no row yet.';

/* How parameters are read. A fault follows its field's name; null is none. */

-- UUIDv7 of an instant: the random bits of a v4, its time put before them.
create function lapse.uuid_v7(at timestamptz) returns uuid language sql volatile as $$
  select encode(set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid()) placing substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) from 1 for 6),
    52, 1), 53, 1), 'hex')::uuid
$$;

-- The first whole millisecond that is not before it.
create function lapse.whole_ms(at timestamptz) returns timestamptz language sql stable as $$
  select date_trunc('milliseconds', at + interval '999 microseconds')
$$;

create function lapse.interval_fault(span interval, min_ms bigint, max_ms bigint, range_words text) returns text language sql immutable as $$
  select case
    when extract(year from span) <> 0 or extract(month from span) <> 0 then 'must not hold years or months, whose length varies; use days'
    when ceil(extract(epoch from span) * 1000) not between min_ms and max_ms then 'must be ' || range_words
  end
$$;

create function lapse.interval_ms(span interval) returns bigint language sql immutable as $$
  select ceil(extract(epoch from span) * 1000)::bigint
$$;

-- A duration as the API writes it (PT30M, 1h30m), in ms rounded up; null where the text is none.
create function lapse.read_duration(written text) returns numeric language plpgsql immutable as $$
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
$$;

create function lapse.url_fault(url text) returns text language sql immutable as $$
  select case
    when url is null or url = '' then 'is required'
    -- Counted as JavaScript counts: a character beyond the first plane is two.
    when length(url) + length(regexp_replace(url, '[^\U00010000-\U0010ffff]', '', 'g')) > 2048 then 'must be at most 2048 characters long'
    when url ~* '^https?://[^/?#\\]*@' then 'must not hold a user name or password; use a header'
    when url !~* '^https?://(\[[0-9a-f:.]+\]|[^][:space:]/?#\\@:<>^|[]+)(:[0-9]{0,5})?([/?#\\]|$)' then 'must be an absolute http or https URL'
  end
$$;

create function lapse.key_fault(key text) returns text language sql immutable as $$
  select case
    when key = '' then 'must have at least 1 character'
    when length(key) > 512 then 'must have at most 512 characters'
    when key ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]' then 'may have only printable characters'
  end
$$;

create function lapse.queue_fault(queue text) returns text language sql immutable as $$
  select case
    when length(queue) not between 1 and 128 then 'must have 1 to 128 characters'
    when queue !~ '^[A-Za-z0-9._:-]+$' then 'may have only letters, digits and . _ : -'
    when starts_with(queue, 'lapse:') then 'must not begin with "lapse:", which is kept for Lapse itself'
  end
$$;

create function lapse.content_type_fault(content_type text) returns text language sql immutable as $$
  select case
    when length(content_type) > 256 then 'must have at most 256 characters'
    when content_type !~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]+/[!#$%&''*+.^_`|~0-9A-Za-z-]+([ \t]*;[\t\u0020-\u007e]*)?$'
      then 'must be a media type, such as text/plain; charset=utf-8'
  end
$$;

-- By RFC 9110 section 5.6.2 and what belongs to the connection or to Lapse: src/webhook/header-rules.ts.
create function lapse.headers_faults(headers jsonb) returns setof text language plpgsql immutable as $$
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
$$;

create function lapse.labels_faults(labels jsonb) returns setof text language plpgsql immutable as $$
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
$$;

create function lapse.default_retry() returns jsonb language sql immutable as $$
  select '{"maxAttempts": 10, "backoff": "exponential", "minDelayMs": 5000, "maxDelayMs": 21600000, "factor": 3, "jitter": 0.2}'::jsonb
$$;

-- Reads a policy in the API's shape; members left out are as the API has them.
create function lapse.read_retry(retry jsonb, out policy jsonb, out faults text[]) language plpgsql immutable as $$
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
$$;

-- An object's members as JavaScript writes a sorted list of pairs.
create function lapse.sorted_entries(map jsonb) returns text language sql immutable as $$
  select '[' || coalesce(string_agg(format('[%s,%s]', to_json(key), to_json(value)), ',' order by key collate "C"), '') || ']'
  from jsonb_each_text(map)
$$;

-- The hash by which the very same request is known again, the same as src/http/task-input.ts makes. `due` says when, as it was given.
create function lapse.request_hash(task lapse.tasks, on_conflict text, due text) returns text language sql immutable as $$
  select translate(encode(sha256(convert_to('[[' || concat_ws(',',
      to_json(task.queue), coalesce(to_json(task.key)::text, 'null'), to_json(on_conflict), to_json(task.url), to_json(task.method),
      task.timeout_ms, coalesce(task.misfire_grace_ms::text, 'null'), to_json(task.delivery), coalesce(task.max_reschedules::text, 'null'))
    || '],' || due || ',' || case
      when task.payload is not null then format('["payload",%s]', to_json(task.payload))
      when task.body is not null then format('["raw",%s,%s]', to_json(task.body), to_json(task.content_type))
      else '[]' end
    || ',[' || concat_ws(',', task.retry ->> 'maxAttempts', to_json(task.retry ->> 'backoff'), task.retry ->> 'minDelayMs',
      task.retry ->> 'maxDelayMs', task.retry ->> 'factor', task.retry ->> 'jitter')
    || '],' || lapse.sorted_entries(task.headers) || ',' || lapse.sorted_entries(task.labels) || ']', 'UTF8')), 'base64'),
    E'+/=\n', '-_')
$$;

/* How a checked task becomes a row, and what a taken key means: src/intake/acceptor.ts. */

create function lapse.accept_task(task lapse.tasks, on_conflict text) returns uuid language plpgsql volatile as $$
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
    if standing.state = 'tombstone' then
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
$$;

create function lapse.raise_faults(function_name text, faults text[]) returns void language plpgsql as $$
begin
  raise exception using
    errcode = 'invalid_parameter_value',
    message = format('lapse.%s: %s', function_name, array_to_string(faults, '; ')),
    hint = 'Parameters are given by name; their limits are those of the API, POST /v1/tasks.';
end
$$;

create function lapse.schedule_task(
  url text default null,
  due_at timestamptz default null,
  delay interval default null,
  queue text default 'default',
  key text default null,
  on_conflict text default 'reject',
  method text default 'POST',
  headers jsonb default '{}',
  payload jsonb default null,
  payload_text text default null,
  body text default null,
  content_type text default null,
  timeout interval default null,
  retry jsonb default null,
  misfire_grace interval default null,
  delivery text default 'at-least-once',
  max_reschedules integer default null,
  labels jsonb default '{}'
) returns uuid language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
-- A plan made while a table is nearly empty stays with the session.
set enable_seqscan = off
as $$
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
$$;

-- Cancels by key or by id. With `tombstone` (and a key), whatever arrives with the key within that time is cancelled, too.
create function lapse.cancel_task(
  key text default null,
  queue text default 'default',
  id uuid default null,
  tombstone interval default null
) returns text language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
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
$$;

-- For reports: what became of tasks, without what was sent or answered, which may hold secrets.
create view lapse.task_report as
  select t.id, t.queue, t.key, t.state, t.due_at, t.next_attempt_at, t.created_at, t.updated_at, t.finished_at, t.method, t.delivery,
    t.labels, t.schedule_id, t.attempts, t.cancel_requested,
    coalesce(t.attempt_started_at, a.started_at) as last_started_at, coalesce(t.lateness_ms, a.lateness_ms) as last_lateness_ms,
    a.duration_ms as last_duration_ms, a.outcome as last_outcome, a.status as last_status
  from lapse.tasks t
  left join lapse.attempts a on a.task_id = t.id and a.number = t.attempts and t.state <> 'running'
  where t.state <> 'tombstone';
comment on view lapse.task_report is 'One row a task, with how its last attempt ended; for the role lapse_report.';

-- New functions are open to everybody unless it is said otherwise; what may use the schema must not call the others of it.
revoke all on all functions in schema lapse from public;

-- Roles belong to the whole server. Where the migrating user may not make them, an administrator does (README, "From SQL").
do $$
declare
  role_name text;
begin
  foreach role_name in array array['lapse_client', 'lapse_report'] loop
    begin
      if not exists (select from pg_catalog.pg_roles where rolname = role_name) then execute format('create role %I nologin', role_name); end if;
    exception
      when duplicate_object or unique_violation then null; -- Another database's migration made it meanwhile.
      when insufficient_privilege then raise warning 'role % cannot be made by %: see "From SQL" in the README', role_name, current_user;
    end;
    continue when not exists (select from pg_catalog.pg_roles where rolname = role_name);
    execute format('grant usage on schema lapse to %I', role_name);
  end loop;
  if exists (select from pg_catalog.pg_roles where rolname = 'lapse_client') then
    grant execute on function lapse.schedule_task, lapse.cancel_task to lapse_client;
  end if;
  if exists (select from pg_catalog.pg_roles where rolname = 'lapse_report') then
    grant select on lapse.task_report to lapse_report;
  end if;
end
$$;
