-- Say how far the index is filled, and begin to fill it further.
-- The mark is a member of the index itself, below all times, named after the server's run and replication ids: whatever loses entries
-- (a flush, a restart, an eviction, the promotion of a replica) loses the mark, or its name no longer fits.
-- KEYS[1] due index   ARGV[1] a token of this filling
-- Returns the time (ms) up to which it is filled, 0 where it is not. Needs Redis 6.2.
local due_index, token = KEYS[1], ARGV[1]
local server = string.match(redis.call("INFO", "server"), "run_id:(%w+)")
local replication = string.match(redis.call("INFO", "replication"), "master_replid:(%w+)")
local name = server .. ":" .. replication
local filled_until = 0
for _, mark in ipairs(redis.call("ZRANGE", due_index, "-inf", "(0", "BYSCORE", "LIMIT", 0, 100)) do
  if mark == "filled:" .. name then
    filled_until = -tonumber(redis.call("ZSCORE", due_index, mark))
  elseif string.sub(mark, 1, 7) == "filled:" then
    redis.call("ZREM", due_index, mark)
  end
end
redis.call("ZADD", due_index, -1, "filling:" .. name .. ":" .. token)
return string.format("%.0f", filled_until)
