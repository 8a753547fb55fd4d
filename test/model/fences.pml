/*
 * What must never happen to a task, whatever the index says: it may name the task at any time, so that whatever Redis loses, repeats or
 * makes up is among the runs without a model of it.
 *
 * 1 task, 2 dispatchers that crash once each and are declared dead alive once each, receivers that ask before they act, a canceller. Other
 * tasks change nothing here: a row shares with others only its dispatchers, whose faults may come at any step anyway, and the key's place
 * in the unique index. Two tasks beside each other are in progress.pml.
 */
#define TASKS 1
#include "world.pml"

#define isKeyFree(t) true
#define mayTake(t) true
#define forget(d) skip
#define settled(t) skip
#define ended(t) skip

#include "store.pml"
#include "memory.pml"
#include "dispatch.pml"
#include "canceller.pml"
#include "calls.pml"

init {
  byte d, n;
  atomic {
    insertTask(0);
    if
    :: task[0].isAtMostOnce = true
    :: skip
    fi;
    run Clock(0);
    run Canceller(0);
    for (n : 1 .. ATTEMPTS) { run Firing(0, n); run Receiver(0, n) }
    for (d : 0 .. DISPATCHERS - 1) {
      run Lane(d, 0);
      run Healer(d, 0);
      run LeaseThread(d);
      run Undertaker(d);
      run Crash(d)
    }
    d = 0; n = 0
  }
}
