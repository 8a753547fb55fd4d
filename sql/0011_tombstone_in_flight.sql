-- A tombstone that was asked for while an attempt was in flight cancels what comes from then on, as the API does, and not only once that
-- attempt has ended: until now what came meanwhile met the task in flight.

create or replace function lapse.accept_task(task lapse.tasks, on_conflict text) returns uuid language plpgsql volatile as $$
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
$$;
