-- Enter tasks into a queue's due index; an entry that is there only ever moves to an earlier time.
-- KEYS[1] due index   ARGV[1] channel for wake-ups   ARGV[2] queue   ARGV[3..] time (ms), id, time, id, …
-- Returns the number of entries that are new. Tells the channel where one of them is earlier than all that stood. Needs Redis 6.2.
local due_index, channel, queue = KEYS[1], ARGV[1], ARGV[2]
local head = redis.call("ZRANGE", due_index, 0, "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
local earliest = nil
local added = 0
for i = 3, #ARGV, 2 do
  local at = tonumber(ARGV[i])
  added = added + redis.call("ZADD", due_index, "LT", ARGV[i], ARGV[i + 1])
  if earliest == nil or at < earliest then earliest = at end
end
if earliest ~= nil and (head[2] == nil or earliest < tonumber(head[2])) then
  redis.call("PUBLISH", channel, string.format("%.0f", earliest) .. " " .. queue)
end
return added
