/*
 * What a dispatcher may take for its own: a running task that it owns and does not know (healer.ts, adoptStrays), although claims,
 * takeovers and looks are answered some time after Postgres did them.
 *
 * 1 task, 2 dispatchers that crash once each. An attempt must be one call, whatever the order of answers.
 */
#define TASKS 1
#include "world.pml"

/* What is under way, and what the last look left behind: attempts, 0 for none. */
typedef Mind {
  unsigned claimed : 2; /* claimer.ts: committed, and not heard yet */
  unsigned taken : 2; /* a takeover, the same */
  unsigned looked : 2; /* what a look has read, and not judged yet */
  unsigned stray : 2; /* unknown at the last look */
  bool hasLooked /* in this round */
}
Mind mind[DISPATCHERS];

#define isKeyFree(t) true
#define settled(t) skip
#define ended(t) skip
#define forget(d) mind[d].claimed = 0; mind[d].taken = 0; mind[d].looked = 0; mind[d].stray = 0; mind[d].hasLooked = false

#include "store.pml"
#include "memory.pml"

#define isCalledBy(d, n) (of(0, n).call != idle && dispatcherOf(of(0, n).owner) == d)
#define isInFlight(d) (mind[d].claimed > 0 || isCalledBy(d, 1) || isCalledBy(d, ATTEMPTS))

/* dispatcher.ts, reclaim: a look comes after the takeovers, when their answers have been heard. */
#define mayLook(d) (mind[d].taken == 0)

/* lane.ts, claimer.ts */
proctype Lane(byte d) {
end:
  do
  :: atomic { mayClaim(0) && mind[d].claimed == 0 && (d == 0 || isBegun) ->
      d_step { beginAttempt(0, self(d)) }
      printf("task 0: attempt %d is claimed by dispatcher %d\n", task[0].attempts, d);
      if
      :: mind[d].claimed = task[0].attempts
      :: printf("task 0: that answer is lost\n")
      fi
    }
  :: atomic { mind[d].claimed > 0 ->
      beginCall(0, mind[d].claimed, self(d));
      mind[d].claimed = 0
    }
  od
}

/* dispatcher.ts, healer.ts: rounds, each of a takeover and a look; the next begins when both are done. */
proctype Rounds(byte d) {
end:
  do
  :: atomic { mayTakeOver(0, self(d)) && mind[d].taken == 0 ->
      d_step { takeOverTask(0, self(d), true) }
      printf("task 0: taken over by dispatcher %d\n", d);
      if
      :: task[0].state == running -> mind[d].taken = task[0].attempts
      :: task[0].state == running -> printf("task 0: that answer is lost\n")
      :: else
      fi
    }
  :: atomic { mind[d].taken > 0 ->
      beginCall(0, mind[d].taken, self(d));
      printf("task 0: dispatcher %d begins attempt %d\n", d, mind[d].taken);
      mind[d].taken = 0
    }
  :: atomic { !mind[d].hasLooked && mind[d].looked == 0 && mayLook(d) ->
      if
      :: task[0].state == running && task[0].owner == self(d) -> mind[d].looked = task[0].attempts
      :: else ->
        mind[d].stray = 0;
        mind[d].hasLooked = true
      fi
    }
  :: atomic { mind[d].looked > 0 ->
      if
      :: isInFlight(d) -> mind[d].stray = 0
      :: !isInFlight(d) && mind[d].stray == mind[d].looked ->
        printf("task 0: dispatcher %d finds attempt %d to be its own\n", d, mind[d].looked);
        beginCall(0, mind[d].looked, self(d));
        mind[d].stray = 0
      :: else -> mind[d].stray = mind[d].looked
      fi;
      mind[d].looked = 0;
      mind[d].hasLooked = true
    }
  :: atomic { mind[d].hasLooked && mind[d].taken == 0 -> mind[d].hasLooked = false }
  od
}

/* firing.ts, call.ts: a call may be withheld while its owner's lease is in doubt. */
proctype Firing(byte n) {
end:
  do
  :: atomic { of(0, n).call == connecting ->
      printf("task 0: the call of attempt %d is withheld\n", n);
      d_step { endCall(0, n) }
    }
  :: atomic { of(0, n).call == connecting ->
      assert(task[0].state == running && task[0].attempts == n); /* P5: no call for an attempt that is over */
      assert(of(0, n).receiver == away); /* P5, P6: an attempt is one call */
      of(0, n).call = sent;
      of(0, n).receiver = reached
    }
  :: atomic { of(0, n).call == sent ->
      of(0, n).call = answered;
      if
      :: of(0, n).result = delivered
      :: of(0, n).result = timedOut
      fi
    }
  :: atomic { of(0, n).call == answered -> writeOutcome(0, n) }
  od
}

init {
  byte d, n;
  atomic {
    insertTask(0);
    run Clock(0);
    for (n : 1 .. ATTEMPTS) { run Firing(n) }
    for (d : 0 .. DISPATCHERS - 1) { run Lane(d); run Rounds(d); run Crash(d) }
    d = 0; n = 0
  }
}
