/*
 * What must never happen to a task, whatever the index says: it may name the task at any time, so that whatever Redis loses, repeats or
 * makes up is among the runs without a model of it.
 *
 * One task, 2 dispatchers that crash once each and are declared dead alive once each, a receiver that asks before it acts, a canceller.
 * Other tasks change nothing here: rows share only their dispatchers, whose faults may come at any step anyway, and the key's place in the
 * unique index (progress.pml).
 */
#define TASKS 2
#define CONFIRMS
#include "macros.pml"
#include "world.pml"

#define isBegun (task[0].attempts + task[1].attempts > 0)
#define isKeyFree(t) (!isLive(1 - (t)))
#define mayTake(d, t) true
#define taken(d, t) skip
#define settled(t) skip
#define forget(d) skip

#include "store.pml"
#include "dispatch.pml"
#include "callers.pml"

/* acceptor.ts. A flush whose answer is lost is sent again as it is: its ids make that harmless. */
proctype Acceptor(byte t) {
end:
  atomic { mayInsert(t) && (t == 0 || task[0].state != absent) ->
    insertTask(t);
    if
    :: task[t].isAtMostOnce = true
    :: skip
    fi
  }
}

init {
  byte d, t, n;
  atomic {
    for (t : 0 .. TASKS - 1) {
      run Acceptor(t);
      run Clock(t);
      run Canceller(t);
      for (n : 1 .. ATTEMPTS) { run Firing(t, n); run Receiver(t, n) }
      for (d : 0 .. DISPATCHERS - 1) { run Lane(d, t); run Healer(d, t) }
    }
    for (d : 0 .. DISPATCHERS - 1) { run LeaseThread(d); run Undertaker(d); run Crash(d) }
    d = 0; t = 0; n = 0
  }
}
