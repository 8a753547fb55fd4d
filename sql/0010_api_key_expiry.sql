-- A key may end by itself, so that nobody has to remember one that was made for a while. Its row then goes, as if it had been revoked: a
-- version before this one, which asks for no time, goes by it until then.
alter table lapse.api_keys
  -- Null: it is good until it is revoked.
  add column expires_at timestamptz;
