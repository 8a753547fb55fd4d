/*
 * Owns the statements on the rows, as src/store has them. One inline is one statement or transaction, and one step of the model: Postgres
 * locks the row, looks at it as it stands then, and commits all or nothing. A statement over many rows is many steps here, one a row:
 * no row's outcome depends on another's, so every run of the service is among the model's.
 *
 * Guards are written as the SQL has them (test/model/mutations.ts takes out one at a time). Each promise of design.md, section 2, is an
 * assertion of its own, next to the change that could break it, and never made of the guard that it checks.
 */

/* ---- accept.ts: `on conflict do nothing` on the unique index of the live keys ---- */

#define mayInsert(t) (task[t].state == absent && isKeyFree(t))

inline insertTask(t) {
  assert(isKeyFree(t)); /* P9: one live task a key */
  task[t].state = scheduled
}

/* ---- claims.ts ---- */

#define mayClaim(t) (task[t].state == scheduled && task[t].isDue)

/* What a claim and a takeover have in common. The attempt starts when this commits. */
inline beginAttempt(t, newOwner) {
  assert(task[t].isDue); /* P2: never early */
  assert(!isEnded(t)); /* P8: ended states never change; P4: once cancelled, no attempt starts */
  assert(!task[t].cancelRequested); /* P4: told that no further attempt follows, none does */
  assert(allRecorded(t)); /* P5: one current attempt; P7: the one before has a row that says how it ended */
  assert(task[t].attempts < ATTEMPTS); /* P6: never more than maxAttempts */
  task[t].state = running;
  task[t].attempts = task[t].attempts + 1;
  task[t].owner = newOwner;
  task[t].confirmRefused = false;
  isBegun = true
}

/* ---- settle.ts ---- */

#define isCurrent(t, n) (task[t].state == running && task[t].attempts == n && task[t].owner == of(t, n).owner)

/* src/task/settle.ts: retryWithin, tryAgain. */
#define mayTryAgain(t, outcome) (task[t].attempts < ATTEMPTS && !(task[t].isAtMostOnce && outcome != neverLeft))

/* The attempt's row and the task's; without effect where the attempt is not the current one. */
inline settleAttempt(t, n) {
  if
  :: isCurrent(t, n) ->
    recordAttempt(t);
    if
    :: of(t, n).result == refusedByAnswer && task[t].confirmedAttempt == n -> task[t].confirmedAttempt = 0
    :: else
    fi;
    if
    :: task[t].confirmRefused || (task[t].cancelRequested && of(t, n).result != delivered) -> endTask(t, cancelled)
    :: else ->
      if
      :: of(t, n).result == delivered -> endTask(t, succeeded)
      :: of(t, n).result != delivered && mayTryAgain(t, of(t, n).result) -> waitAgain(t, false)
      :: else -> endTask(t, failed)
      fi
    fi
  :: else
  fi
}

inline recordAttempt(t) {
  assert(!(task[t].recorded & (1 << task[t].attempts))); /* P5: an attempt has one outcome */
  task[t].recorded = task[t].recorded | (1 << task[t].attempts)
}

inline endTask(t, endedAs) {
  assert(!isEnded(t)); /* P8: ended states never change */
  assert(allRecorded(t)); /* P7: every attempt has a row */
  assert(endedAs != cancelled || !isActing(t)); /* P4: of a cancel and a confirm one wins */
  assert(endedAs == cancelled || !hasDeclined(t)); /* P4: where a receiver was told not to act, the task ends cancelled */
  task[t].state = endedAs;
  /* What an ended row still says matters to nobody here: alike, so that fewer states are told apart. */
  task[t].attempts = 0;
  task[t].owner = NOBODY;
  task[t].isDue = true;
  task[t].cancelRequested = false;
  task[t].confirmedAttempt = 0;
  task[t].confirmRefused = false;
  task[t].recorded = 0;
  ended(t)
}

inline waitAgain(t, due) {
  task[t].state = scheduled;
  task[t].owner = NOBODY;
  task[t].isDue = due
}

/* ---- cancel.ts ---- */

#define mayHit(t) (task[t].confirmedAttempt == 0 && !(task[t].state == running && task[t].cancelRequested))
#define mayCancel(t) (isLive(t) && mayHit(t))

/* A task that waits is cancelled; one in flight is told that no further attempt may follow. */
inline cancelTask(t) {
  assert(!isEnded(t)); /* P8: ended states never change */
  task[t].cancelRequested = true;
  if
  :: task[t].state == running
  :: else -> endTask(t, cancelled)
  fi
}

/* ---- changes.ts ---- */

#define mayConfirm(t, n) (task[t].state == running && task[t].attempts == n && !task[t].cancelRequested)
#define mayRefuseConfirm(t, n) (task[t].state == running && task[t].attempts == n && task[t].cancelRequested)

inline confirmAttempt(t) {
  if
  :: task[t].confirmedAttempt == 0 -> task[t].confirmedAttempt = task[t].attempts
  :: else
  fi
}

/* ---- owners.ts: only while the taker's own row says that it is alive ---- */

#define mayTakeOver(t, taker) (task[t].state == running && isDead[task[t].owner] && !isDead[taker])

/* Records the attempt lost; its task goes on as the new owner's next attempt, unless it must not, or has no slot to bring along. */
inline takeOverTask(t, newOwner, hasSlot) {
  recordAttempt(t);
  if
  :: task[t].cancelRequested -> endTask(t, cancelled)
  :: !task[t].cancelRequested && !mayTryAgain(t, timedOut) -> endTask(t, failed)
  :: else ->
    if
    :: hasSlot -> beginAttempt(t, newOwner)
    :: else -> waitAgain(t, true)
    fi
  fi
}

/* ---- the clock of Postgres ---- */

proctype Clock(byte t) {
end:
  do
  :: atomic { task[t].state == scheduled && !task[t].isDue ->
      task[t].isDue = true;
      printf("task %d: is due\n", t)
    }
  od
}
