/* Owns who cancels (src/intake/canceller.ts). Whether it lives to hear the answer changes no row: what it is promised counts from the commit. */
proctype Canceller(byte t) {
end:
  do
  :: atomic { mayCancel(t) ->
      d_step { cancelTask(t) }
      printf("task %d: a cancel; it is %e\n", t, task[t].state)
    }
  od
}
