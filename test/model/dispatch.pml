/*
 * Owns what time does: the dispatchers, as src/dispatch has them. A process of the model is one flow of one file; a step is one statement,
 * one message, or what happens in memory between two of them. A crash takes what a dispatcher remembers, and leaves what it had sent to
 * Postgres or to a receiver.
 *
 * Dispatchers are alike, so that the first claim of all may be given to dispatcher 0: every run is one of these, but for their names.
 */

/* lease.ts */
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
  :: atomic { !isDead[self(d)] && mayTake(t) && mayClaim(t) && (d == 0 || isBegun) ->
      d_step { beginAttempt(t, self(d)) }
      printf("task %d: attempt %d is claimed by dispatcher %d\n", t, task[t].attempts, d);
      if
      :: beginCall(t, self(d))
      :: printf("task %d: that answer is lost\n", t)
      fi
    }
  /* A claim that was sent in an earlier life commits now: its statement saw its owner alive. */
  :: atomic { life[d] > 0 && mayClaim(t) ->
      d_step { beginAttempt(t, self(d) - 1) }
      printf("task %d: attempt %d is claimed by an earlier life of dispatcher %d\n", t, task[t].attempts, d)
    }
  od
}

/* settler.ts: again as it is, until it is known what became of it. */
inline writeOutcome(t, n) {
  if
  :: isCurrent(t, n) ->
    assert(task[t].attempts == n); /* P5: an outcome of an older attempt changes nothing */
    d_step { settleAttempt(t, n) }
    printf("task %d: the outcome of attempt %d is written\n", t, n);
    if
    :: d_step { endCall(t, n); settled(t) }
    :: printf("task %d: that answer is lost\n", t)
    fi
  :: else ->
    printf("task %d: attempt %d is superseded\n", t, n);
    d_step { endCall(t, n) }
  fi
}

/* A crash, once; the next process follows at once. The old lease lapses by and by: it may as well have lapsed by now. */
proctype Crash(byte d) {
  byte i;
end:
  atomic {
    printf("dispatcher %d crashes\n", d);
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
      life[d] = life[d] + 1
    }
  }
}

/* healer.ts: takes a task over from the dead, or finds one of its own that it does not know. */
proctype Healer(byte d; byte t) {
end:
  do
  :: atomic { mayTakeOver(t, self(d)) ->
      if
      :: d_step { takeOverTask(t, self(d), true) }
        if
        :: task[t].state == running ->
          printf("task %d: taken over by dispatcher %d, which begins attempt %d\n", t, d, task[t].attempts);
          if
          :: beginCall(t, self(d))
          :: printf("task %d: that answer is lost\n", t)
          fi
        :: else -> printf("task %d: ended by a takeover\n", t)
        fi
      :: d_step { takeOverTask(t, self(d), false) }
        printf("task %d: taken over by dispatcher %d, without a slot\n", t, d)
      fi
    }
  :: atomic { task[t].state == running && task[t].owner == self(d) && !isDead[self(d)] && current(t).call == idle ->
      beginCall(t, self(d));
      printf("task %d: dispatcher %d finds attempt %d to be its own\n", t, d, task[t].attempts)
    }
  od
}
