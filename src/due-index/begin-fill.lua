-- Say how far the index is filled, and begin to fill it further.
-- The mark is a member of the index itself, below all times, named after the server's run and replication ids: whatever loses entries
-- (a flush, a restart, an eviction, the promotion of a replica) loses the mark, or its name no longer fits.
-- KEYS[1] due index   ARGV[1] a token of this filling
-- Returns the time (ms) up to which it is filled, 0 where it is not. Needs Redis 6.2.
local due_index, token = KEYS[1], ARGV[1]
local server = string.match(redis.call("INFO", "server"), "run_id:(%w+)")
local replication = string.match(redis.call("INFO", "replication"), "master_replid:(%w+)")
local name = server .. ":" .. replication
-- The score of a filling is the seconds of the server's clock, negative, which stay far above the ms of the marks.
local now_s = tonumber(redis.call("TIME")[1])
-- First of all writes: a server that is full refuses only a script's first one, and must not pass for one that works.
redis.call("ZADD", due_index, string.format("%.0f", -now_s), "filling:" .. name .. ":" .. token)
-- Fillings that began ten minutes ago and never ended were given up.
redis.call("ZREMRANGEBYSCORE", due_index, "(" .. string.format("%.0f", 600 - now_s), "(0")
local filled_until = 0
for _, mark in ipairs(redis.call("ZRANGE", due_index, "-inf", "(0", "BYSCORE", "LIMIT", 0, 100)) do
  if mark == "filled:" .. name then
    filled_until = -tonumber(redis.call("ZSCORE", due_index, mark))
  elseif string.sub(mark, 1, 7) == "filled:" then
    redis.call("ZREM", due_index, mark)
  end
end
return string.format("%.0f", filled_until)
