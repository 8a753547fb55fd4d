/* Owns what comes from outside: who cancels, and the clock of Postgres. */

proctype Clock(byte t) {
end:
  do
  :: atomic { task[t].state == scheduled && !task[t].isDue ->
      task[t].isDue = true;
      printf("task %d: is due\n", t)
    }
  od
}

/* canceller.ts. Whether it lives to hear the answer changes no row: what it is promised counts from the commit. */
proctype Canceller(byte t) {
end:
  do
  :: atomic { mayCancel(t) ->
      d_step { cancelTask(t) }
      printf("task %d: a cancel; it is %e\n", t, task[t].state)
    }
  od
}
