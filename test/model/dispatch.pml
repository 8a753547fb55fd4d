/*
 * Owns what time does: the lanes and the healing of src/dispatch. A process of the model is one flow of one file; a step is one statement,
 * one message, or what happens in memory between two of them.
 *
 * Dispatchers are alike, so that the first claim of all may be given to dispatcher 0: every run is one of these, but for their names.
 */

/* lane.ts, claimer.ts: takes an id and claims it. The answer may be lost, and the task is then running without a call. */
proctype Lane(byte d; byte t) {
end:
  do
  :: atomic { !isDead[self(d)] && mayTake(t) && mayClaim(t) && (d == 0 || isBegun) ->
      d_step { beginAttempt(t, self(d)) }
      printf("task %d: attempt %d is claimed by dispatcher %d\n", t, task[t].attempts, d);
      if
      :: beginCall(t, task[t].attempts, self(d))
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
          :: beginCall(t, task[t].attempts, self(d))
          :: printf("task %d: that answer is lost\n", t)
          fi
        :: else -> printf("task %d: ended by a takeover\n", t)
        fi
      :: d_step { takeOverTask(t, self(d), false) }
        printf("task %d: taken over by dispatcher %d, without a slot\n", t, d)
      fi
    }
  :: atomic { task[t].state == running && task[t].owner == self(d) && !isDead[self(d)] && of(t, task[t].attempts).call == idle ->
      beginCall(t, task[t].attempts, self(d));
      printf("task %d: dispatcher %d finds attempt %d to be its own\n", t, d, task[t].attempts)
    }
  od
}
