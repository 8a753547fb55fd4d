-- Move the fill mark on, unless entries may have been lost since the filling began.
-- KEYS[1] due index   ARGV[1] the token of this filling   ARGV[2] filled until (ms); 0: leave the mark as it is
-- Returns 1, or 0 where the filling must start anew: its own mark is gone, or another server answers. Needs Redis 6.2.
local due_index, token, filled_until = KEYS[1], ARGV[1], ARGV[2]
local server = string.match(redis.call("INFO", "server"), "run_id:(%w+)")
local replication = string.match(redis.call("INFO", "replication"), "master_replid:(%w+)")
local name = server .. ":" .. replication
if redis.call("ZREM", due_index, "filling:" .. name .. ":" .. token) == 0 then return 0 end
if tonumber(filled_until) > 0 then redis.call("ZADD", due_index, "LT", "-" .. filled_until, "filled:" .. name) end
return 1
