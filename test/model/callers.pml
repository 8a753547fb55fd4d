/* Owns the others: those who call the API (src/intake), the receivers of webhooks, and the clock of Postgres. */

proctype Clock(byte t) {
end:
  do
  :: atomic { task[t].state == scheduled && !task[t].isDue -> task[t].isDue = true }
  od
}

/* canceller.ts. Whether it lives to hear the answer changes no row: what it is promised counts from the commit. */
proctype Canceller(byte t) {
end:
  do
  :: atomic { mayCancel(t) -> d_step { cancelTask(t) } }
  od
}

/* What a receiver does with the call of an attempt: it may ask for leave to act (canceller.ts, confirm), and answers whoever still waits. */
proctype Receiver(byte t; byte n) {
end:
  do
#ifdef CONFIRMS
  :: atomic { of(t, n).receiver == reached && mayConfirm(t, n) ->
      d_step { confirmAttempt(t) }
      if
      :: of(t, n).receiver = acting; REACH(confirmed)
      :: REACH(confirm_answer_lost)
      fi
    }
  :: atomic { of(t, n).receiver == reached && !mayConfirm(t, n) -> of(t, n).receiver = refusing }
  :: atomic { of(t, n).receiver == refusing ->
      if
      :: mayRefuseConfirm(t, n) -> task[t].confirmRefused = true; of(t, n).receiver = declined; REACH(confirm_refused)
      :: else -> of(t, n).receiver = away; REACH(confirm_too_late)
      fi
    }
  :: atomic { of(t, n).receiver == refusing -> of(t, n).receiver = reached } /* The API died between its two statements. */
#endif
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
