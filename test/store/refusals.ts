// Owns rows that the schema refuses, but for those of tasks: each breaks one constraint.

import { v7 as uuidv7 } from "uuid";

export const refusals: readonly { readonly constraint: string; readonly what: string; readonly text: string }[] = [
  {
    constraint: "concurrency_is_positive",
    what: "a queue without slots",
    text: "insert into lapse.queues (name, concurrency) values ('q', 0)",
  },
  {
    constraint: "rate_limit_is_whole",
    what: "a rate without its window",
    text: "insert into lapse.queues (name, rate_limit_count) values ('q', 1)",
  },
  {
    constraint: "rate_limit_is_positive",
    what: "a rate of none",
    text: "insert into lapse.queues (name, rate_limit_count, rate_limit_per_ms) values ('q', 0, 1)",
  },
  {
    constraint: "rate_limit_is_positive",
    what: "a window without length",
    text: "insert into lapse.queues (name, rate_limit_count, rate_limit_per_ms) values ('q', 1, 0)",
  },
  {
    constraint: "defaults_are_named",
    what: "a default of another field",
    text: `insert into lapse.queues (name, defaults) values ('q', '{"url":"x"}')`,
  },
  {
    constraint: "fired_is_not_negative",
    what: "fewer than no attempts",
    text: `insert into lapse.queue_activity (queue, owner, fired) values ('q', '${uuidv7()}', -1)`,
  },
  {
    constraint: "count_is_positive",
    what: "no starts",
    text: "insert into lapse.rate_starts (queue, bucket, at, count) values ('q', 1, now(), 0)",
  },
  {
    constraint: "schedule_state_is_known",
    what: "another state of a schedule",
    text: schedule("state, look_at", "'done', null"),
  },
  {
    constraint: "looked_at_iff_active",
    what: "an active schedule that nobody looks at",
    text: schedule("look_at", "null"),
  },
  {
    constraint: "next_only_while_active",
    what: "a paused schedule with a next occurrence",
    text: schedule("state, look_at, next_occurrence_at", "'paused', null, now()"),
  },
  { constraint: "set_aside_has_ended", what: "an active schedule that was set aside", text: schedule("error", "'e'") },
  { constraint: "instances_are_positive", what: "a schedule of no instance", text: schedule("max_instances", "0") },
  { constraint: "jitter_is_not_negative", what: "a negative jitter", text: schedule("jitter_ms", "-1") },
  {
    constraint: "schedule_one_body",
    what: "a schedule's payload beside a body",
    text: schedule("payload, body, content_type", "'1', '1', 'text/plain'"),
  },
  { constraint: "schedule_body_has_a_type", what: "a schedule's body without a type", text: schedule("body", "'1'") },
  {
    constraint: "schedule_delivery_is_known",
    what: "another delivery of a schedule",
    text: schedule("delivery", "'exactly-once'"),
  },
  { constraint: "number_counts_from_one", what: "an attempt 0", text: attempt("0", "'succeeded'") },
  { constraint: "outcome_is_known", what: "another outcome", text: attempt("1", "'done'") },
  { constraint: "slots_are_not_negative", what: "a negative share", text: share(-1, 0) },
  { constraint: "slots_are_not_negative", what: "a negative wish", text: share(0, -1) },
  {
    constraint: "kind_is_known",
    what: "another kind of tally",
    text: `insert into lapse.tallies (id, queue, kind, count) values ('${uuidv7()}', 'q', 'lost', 1)`,
  },
  {
    constraint: "one_row",
    what: "a second heartbeat",
    text: "insert into lapse.heartbeat (id, beaten_at) values (2, now())",
  },
  {
    constraint: "one_recording",
    what: "a second word on what is recorded",
    text: "insert into lapse.event_recording (id) values (2)",
  },
  {
    constraint: "types_are_named",
    what: "a subscription to nothing",
    text: `insert into lapse.subscriptions (id, url, types, cursor_xid) values ('${uuidv7()}', 'http://a', '{}', '1')`,
  },
  { constraint: "scopes_are_known", what: "an API key of another scope", text: apiKey("'{tasks:read,root}'", "null") },
  { constraint: "scopes_are_known", what: "an API key without scopes", text: apiKey("'{}'", "null") },
  { constraint: "queues_are_named", what: "an API key confined to nothing", text: apiKey("'{tasks:read}'", "'{}'") },
  { constraint: "admin_is_not_confined", what: "a confined admin", text: apiKey("'{tasks:read,admin}'", "'{a}'") },
  {
    constraint: "digest_is_a_sha256",
    what: "an API key with another digest",
    text: apiKey("'{admin}'", "null", "'secret'"),
  },
];

function attempt(number: string, outcome: string): string {
  return `insert into lapse.attempts (task_id, number, started_at, finished_at, lateness_ms, duration_ms, outcome)
    values ('${uuidv7()}', ${number}, now(), now(), 0, 0, ${outcome})`;
}

function apiKey(scopes: string, queues: string, digest = "sha256('k')"): string {
  return `insert into lapse.api_keys (id, name, scopes, queues, digest, created_by)
    values ('${uuidv7()}', 'k', ${scopes}, ${queues}, ${digest}, 'root')`;
}

/** An active one, but for the columns. */
function schedule(columns: string, values: string): string {
  const times = columns.includes("look_at") ? "" : ", look_at";
  return `insert into lapse.schedules (id, name, trigger, queue, url, tz_version, created_at, updated_at${times}, ${columns})
    values ('${uuidv7()}', '${uuidv7()}', '{}', 'q', 'http://shop.example', '', now(), now()${times && ", now()"}, ${values})`;
}

function share(slots: number, wanted: number): string {
  return `insert into lapse.shares (queue, owner, slots, wanted) values ('q', '${uuidv7()}', ${slots}, ${wanted})`;
}
