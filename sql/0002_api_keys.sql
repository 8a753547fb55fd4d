-- API keys: who may call the API, what for, and which queues they see.
--
-- A key is read once every few seconds by each process that is called with it, and written when it is made, revoked, or used (once a
-- minute at most). Its row goes when it is revoked: its id is drawn at random and does not come back.

create table lapse.api_keys (
  -- Stands in the key's own text, so that it is found without its secret.
  id text collate "C" primary key,
  name text not null,
  scopes text[] not null,
  -- Null: all queues.
  queues text[],
  -- SHA-256 of the key's text, whose secret has 256 random bits: too many to be guessed from it. The text itself is stored nowhere.
  digest bytea not null,
  -- Id of the key that made it; `root` is the one of LAPSE_API_KEY.
  created_by text not null,
  created_at timestamptz not null default clock_timestamp(),
  last_used_at timestamptz,
  constraint scopes_are_known check (
    cardinality(scopes) > 0 and scopes <@ array['tasks:read', 'tasks:write', 'queues:write', 'admin']
  ),
  constraint queues_are_named check (queues is null or cardinality(queues) > 0),
  -- It could make itself another key.
  constraint admin_is_not_confined check (queues is null or not scopes @> array['admin']),
  constraint digest_is_a_sha256 check (octet_length(digest) = 32)
)
with (
  -- last_used_at is written in place.
  fillfactor = 70
);
comment on table lapse.api_keys is 'The keys that the API made. The one of LAPSE_API_KEY is not among them.';
