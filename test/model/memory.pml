/* Owns what a dispatcher remembers of its calls. A crash takes that, and leaves what it had sent to Postgres or to a receiver. */

/* lease.ts */
#define maySend(o) (!isDead[o])

inline beginCall(t, n, o) {
  assert(of(t, n).call == idle); /* P5: an attempt is one call */
  of(t, n).call = connecting;
  of(t, n).owner = o
}

inline endCall(t, n) {
  of(t, n).call = idle;
  of(t, n).owner = NOBODY;
  of(t, n).result = 0
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
      forget(d);
      isDead[self(d)] = true;
      life[d] = life[d] + 1
    }
  }
}
