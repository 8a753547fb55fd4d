-- Take a token from a bucket that holds ARGV[1] at most and gains as many a second (the same as token-bucket.ts).
-- KEYS[1] bucket   ARGV[1] tokens a second   ARGV[2] now (ms)
-- Returns 1 where a token was taken, else 0; then the tokens left, as text. A bucket that has filled up again is removed by its expiry.
local bucket, per_second, now = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local stored = redis.call("HMGET", bucket, "tokens", "at")
local tokens, at = tonumber(stored[1]), tonumber(stored[2])
-- What was reckoned a second ahead is full by then: the clock was set back since.
if tokens and at - now < 1000 then
  local latest = math.max(now, at)
  tokens = math.min(per_second, tokens + (latest - at) * per_second / 1000)
  at = latest
else
  tokens, at = per_second, now
end
local taken = 0
if tokens >= 1 then taken, tokens = 1, tokens - 1 end
local text = string.format("%.17g", tokens)
redis.call("HSET", bucket, "tokens", text, "at", string.format("%.17g", at))
redis.call("PEXPIRE", bucket, math.ceil((per_second - tokens) * 1000 / per_second) + math.ceil(at - now) + 1)
return { taken, text }
