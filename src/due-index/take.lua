-- Take up to ARGV[3] ids due at ARGV[1] and move them to ARGV[2], so that each is handed out once until its lease ends.
-- KEYS[1] due index   ARGV[1] now (ms)   ARGV[2] lease end (ms)   ARGV[3] limit
-- Returns the time of the next entry ("" where there is none), then the ids, oldest first. Needs Redis 6.2.
local due_index, now_ms, lease_end_ms, limit = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local ids = redis.call("ZRANGE", due_index, 0, now_ms, "BYSCORE", "LIMIT", 0, limit)
for _, id in ipairs(ids) do redis.call("ZADD", due_index, "XX", lease_end_ms, id) end
local head = redis.call("ZRANGE", due_index, 0, "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
return { head[2] or "", ids }
