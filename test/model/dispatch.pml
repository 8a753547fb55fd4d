/*
 * Owns what time does: the dispatchers, as src/dispatch has them. A process of the model is one flow of one file; a step is one statement,
 * one message, or what happens in memory between two of them. A crash takes what a dispatcher remembers, and leaves what it had sent to
 * Postgres or to a receiver.
 *
 * Dispatchers are alike, so that the first claim of all may be given to dispatcher 0: every run is one of these, but for their names.
 */

#define maySend(o) (!isDead[o])

inline beginCall(t, o) {
  assert(current(t).call == idle); /* P5: an attempt is one call */
  current(t).call = connecting;
  current(t).owner = o
}

inline endCall(t, n) {
  of(t, n).call = idle;
  of(t, n).owner = NOBODY;
  of(t, n).result = 0
}

/* lane.ts, claimer.ts: takes an id and claims it. The answer may be lost, and the task is then running without a call. */
proctype Lane(byte d; byte t) {
end:
  do
  :: atomic { !isDead[self(d)] && mayTake(d, t) && mayClaim(t) && (d == 0 || isBegun) ->
      d_step { beginAttempt(t, self(d)); taken(d, t) }
      if
      :: beginCall(t, self(d))
      :: REACH(claim_answer_lost)
      fi
    }
  /* A claim that was sent in an earlier life commits now: its statement saw its owner alive. */
  :: atomic { life[d] > 0 && mayClaim(t) -> d_step { beginAttempt(t, self(d) - 1) } REACH(claimed_by_the_dead) }
  od
}

/* firing.ts, call.ts, settler.ts: one attempt's call, from connecting to a written outcome. */
proctype Firing(byte t; byte n) {
end:
  do
  :: atomic { of(t, n).call == connecting && CHECKED_LEASE(maySend(of(t, n).owner)) ->
      /* The last look before the bytes. What is left is a stop between it and the write. */
      assert(task[t].state == running && task[t].attempts == n); /* P5: no call for an attempt that is over; P4 */
      of(t, n).call = cleared
    }
  :: atomic { of(t, n).call == connecting && !maySend(of(t, n).owner) ->
      REACH(withheld);
      d_step { endCall(t, n) }
    }
  :: atomic { of(t, n).call == connecting -> of(t, n).call = answered; of(t, n).result = neverLeft }
  :: atomic { of(t, n).call == cleared ->
      assert(!task[t].hasLeft); /* P6: at most once */
      task[t].hasLeft = task[t].isAtMostOnce;
      if
      :: task[t].state == running && task[t].attempts == n
      :: else -> REACH(sent_after_a_stop)
      fi;
      if
      :: n > 1 && of(t, 1).receiver != away -> REACH(called_twice_at_once)
      :: else
      fi;
      of(t, n).call = sent;
      of(t, n).receiver = reached
    }
  :: atomic { of(t, n).call == sent -> of(t, n).call = answered; of(t, n).result = timedOut }
  :: atomic { of(t, n).call == answered ->
      if
      :: isCurrent(t, n) -> REACH(settled)
      :: else -> REACH(superseded)
      fi;
      d_step { settleAttempt(t, n) }
      if
      :: d_step { endCall(t, n); settled(t) }
      :: REACH(settle_answer_lost) /* It is sent again as it is. */
      fi
    }
  od
}

/* lease-thread.ts: one that was declared dead cannot renew, and goes on under a new identity. */
proctype LeaseThread(byte d) {
end:
  do
#ifdef NO_RENEWAL_GUARD
  :: atomic { isDead[self(d)] -> isDead[self(d)] = false }
#else
  :: atomic { isDead[self(d)] -> life[d] = life[d] + 1 }
#endif
  od
}

/* healer.ts, owners.ts: somebody alive finds the lease of `d` lapsed and declares it dead, although its process lives: once. */
proctype Undertaker(byte d) {
end:
  atomic { !isDead[self(d)] && !hasDiedAlive(d) && !isDead[self(1 - d)] -> isDead[self(d)] = true; REACH(declared_dead) }
}

/* A crash, once; the next process follows at once. The old lease lapses by and by: it may as well have lapsed by now. */
proctype Crash(byte d) {
  byte i;
end:
  atomic {
    REACH(crashed);
    d_step {
      for (i : 0 .. TASKS * ATTEMPTS - 1) {
        if
        :: attempt[i].call != idle && dispatcherOf(attempt[i].owner) == d ->
          attempt[i].call = idle;
          attempt[i].owner = NOBODY;
          attempt[i].result = 0
        :: else
        fi
      }
      i = 0;
      isDead[self(d)] = true;
      life[d] = life[d] + 1;
      hasCrashed[d] = true;
      forget(d)
    }
  }
}

/* healer.ts: takes a task over from the dead, or finds one of its own that it does not know. */
proctype Healer(byte d; byte t) {
end:
  do
#ifndef NO_TAKEOVER
  :: atomic { mayTakeOver(t, self(d)) ->
      if
      :: d_step { takeOverTask(t, self(d), true) }
        if
        :: task[t].state == running ->
          if
          :: beginCall(t, self(d)); REACH(taken_over)
          :: REACH(takeover_answer_lost)
          fi
        :: else -> REACH(ended_by_takeover)
        fi
      :: d_step { takeOverTask(t, self(d), false) }
      fi
    }
#endif
#ifndef NO_ADOPTION
  :: atomic { task[t].state == running && task[t].owner == self(d) && !isDead[self(d)] && current(t).call == idle ->
      beginCall(t, self(d));
      REACH(adopted)
    }
#endif
  od
}
