/*
 * What must happen: every task that was accepted comes to an end, although Redis is wiped at any moment and as often as it likes, and every
 * dispatcher may crash. Each step here changes something for good, so that no run goes in circles: a run ends, and what it left undone then
 * would stay so. No fairness is assumed.
 *
 * 2 tasks, of one key or of two, 2 dispatchers that crash once each, a canceller. Taking from Postgres where Redis fails, filling the index
 * anew, and entering what is due soon are left out: they only help, so that what holds without them holds with them.
 */
#define TASKS 2
#include "world.pml"

bool isSameKey;
#define isKeyFree(t) (!isSameKey || !isLive(1 - (t)))

/* The due index: an entry is looked at when its time has come, and again a lease after each take, until it is removed. */
bool entry[TASKS];
/* healer.ts, healDue: hands to a lane what Postgres says is due. The hand-over is in memory: as good as its claim. */
#define isHealed(t) (task[t].state == scheduled && task[t].isDue)
#define mayTake(t) (entry[t] || isHealed(t))
/* settler.ts, reindex: the entry follows the row. */
#define ended(t) entry[t] = false /* or stale, and refused by the claim: fences.pml */
#define forget(d) skip
#define settled(t) entry[t] = (task[t].state == scheduled)

#include "store.pml"
#include "memory.pml"
#include "dispatch.pml"
#include "canceller.pml"

/* acceptor.ts, entry-feed.ts. A flush whose answer is lost is sent again as it is: its ids make that harmless. */
proctype Acceptor(byte t) {
end:
  atomic { mayInsert(t) ->
    insertTask(t);
    if
    :: entry[t] = true;
      printf("task %d: accepted\n", t)
    :: printf("task %d: accepted, and not entered\n", t) /* The API died after its commit, or Redis did not answer. */
    fi
  }
}

/* firing.ts: what a call comes to, without its way there (calls.pml). */
proctype Firing(byte t; byte n) {
end:
  do
  :: atomic { of(t, n).call == connecting && maySend(of(t, n).owner) ->
      of(t, n).call = answered;
      if
      :: of(t, n).result = delivered
      :: of(t, n).result = timedOut
      fi
    }
  :: atomic { of(t, n).call == answered -> writeOutcome(t, n) }
  od
}

/* FLUSHALL, a restart without its data, an eviction: whatever was there is not. */
proctype Redis() {
end:
  do
  :: atomic { entry[0] || entry[1] -> entry[0] = false; entry[1] = false; printf("Redis is wiped\n") }
  od
}

init {
  byte d, t, n;
  atomic {
    if
    :: isSameKey = true
    :: skip
    fi;
    for (t : 0 .. TASKS - 1) {
      run Acceptor(t);
      run Clock(t);
      for (n : 1 .. ATTEMPTS) { run Firing(t, n) }
      for (d : 0 .. DISPATCHERS - 1) { run Lane(d, t); run Healer(d, t) }
    }
    run Redis();
    /* What may happen need not: no task may wait for a crash or a cancel to end it. */
    for (d : 0 .. DISPATCHERS - 1) {
      if
      :: run Crash(d)
      :: skip
      fi
    }
    if
    :: run Canceller(0)
    :: run Canceller(1)
    :: skip
    fi;
    d = 0; t = 0; n = 0
  }
}

/* P3: always fires, unless it ends otherwise; P10: the index is disposable. Of task 0, and so of task 1: they are alike. */
ltl p3_p10 { [] (isLive(0) -> <> isEnded(0)) }
