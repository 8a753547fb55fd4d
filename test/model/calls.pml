/* Owns a call in all its steps, at both of its ends, and the death of an owner that lives. */

/* firing.ts, call.ts, settler.ts: one attempt's call, from connecting to a written outcome. */
proctype Firing(byte t; byte n) {
end:
  do
  :: atomic { of(t, n).call == connecting && !maySend(of(t, n).owner) ->
      printf("task %d: the call of attempt %d is withheld\n", t, n);
      d_step { endCall(t, n) }
    }
  :: atomic { of(t, n).call == connecting && maySend(of(t, n).owner) ->
      /* The last look before the bytes. What is left is a stop between it and the write. */
      assert(task[t].state == running && task[t].attempts == n); /* P5: no call for an attempt that is over; P4 */
      of(t, n).call = cleared
    }
  :: atomic { of(t, n).call == connecting -> of(t, n).call = answered; of(t, n).result = neverLeft }
  :: atomic { of(t, n).call == cleared ->
      assert(of(t, n).receiver == away); /* P5: an attempt is one call */
      assert(!task[t].hasLeft); /* P6: at most once */
      task[t].hasLeft = task[t].isAtMostOnce;
      if
      :: task[t].state == running && task[t].attempts == n
      :: else -> printf("task %d: the bytes of attempt %d leave too late, after a stop\n", t, n)
      fi;
      if
      :: n > 1 && of(t, 1).receiver != away -> printf("task %d: its receiver has two calls\n", t)
      :: else
      fi;
      of(t, n).call = sent;
      of(t, n).receiver = reached
    }
  :: atomic { of(t, n).call == sent -> of(t, n).call = answered; of(t, n).result = timedOut }
  :: atomic { of(t, n).call == answered -> writeOutcome(t, n) }
  od
}

/* What a receiver does with the call of an attempt: it may ask for leave to act (canceller.ts, confirm), and answers whoever still waits. */
proctype Receiver(byte t; byte n) {
end:
  do
  :: atomic { of(t, n).receiver == reached && mayConfirm(t, n) ->
      d_step { confirmAttempt(t) }
      if
      :: of(t, n).receiver = acting;
        printf("task %d: attempt %d is confirmed\n", t, n)
      :: printf("task %d: attempt %d is confirmed, and that answer is lost\n", t, n)
      fi
    }
  :: atomic { of(t, n).receiver == reached && !mayConfirm(t, n) -> of(t, n).receiver = refusing }
  :: atomic { of(t, n).receiver == refusing ->
      if
      :: mayRefuseConfirm(t, n) ->
        task[t].confirmRefused = true;
        of(t, n).receiver = declined;
        printf("task %d: the confirm of attempt %d is refused\n", t, n)
      :: else ->
        of(t, n).receiver = away;
        printf("task %d: the confirm of attempt %d comes too late\n", t, n)
      fi
    }
  :: atomic { of(t, n).receiver == refusing -> of(t, n).receiver = reached } /* The API died between its two statements. */
  :: atomic { of(t, n).call == sent && of(t, n).receiver != refusing ->
      of(t, n).call = answered;
      if
      :: of(t, n).result = delivered /* One that acts has acted; one that was told not to may say so with a 2xx too. */
      :: of(t, n).result = refusedByAnswer ->
        if
        :: of(t, n).receiver == acting -> of(t, n).receiver = away /* It says that it did not. */
        :: else
        fi
      fi;
      if
      :: of(t, n).receiver == reached -> of(t, n).receiver = away
      :: else
      fi
    }
  od
}

/* healer.ts, owners.ts: somebody alive finds the lease of `d` lapsed and declares it dead, although its process lives: once. */
proctype Undertaker(byte d) {
end:
  atomic { !isDead[self(d)] && !isDead[self(1 - d)] ->
    isDead[self(d)] = true;
    printf("dispatcher %d is declared dead, and lives\n", d)
  }
}

/* lease-thread.ts: one that was declared dead cannot renew, and goes on under a new identity. */
proctype LeaseThread(byte d) {
end:
  do
  :: atomic { isDead[self(d)] -> life[d] = life[d] + 1 }
  od
}
