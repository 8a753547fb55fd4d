-- Forget how far a queue's index is filled, and any filling under way: it may lack tasks, and is to be filled anew. Tells the channel, so
-- that the queue is looked at now.
-- KEYS[1] due index   ARGV[1] channel for wake-ups   ARGV[2] queue
-- The time 0 in the message, before all due times, means just this.
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", "(0")
redis.call("PUBLISH", ARGV[1], "0 " .. ARGV[2])
return 0
