/* Owns the state of the world: what Postgres holds, what dispatchers remember of their calls, and what receivers know. */

/* retry.maxAttempts: 2, or 3 for the long run. */
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#define DISPATCHERS 2
#define LIVES 3 /* identities of a dispatcher: the first, one after its crash, one after it was declared dead alive */
#define NOBODY 0

mtype = { absent, scheduled, running, succeeded, failed, cancelled }; /* lapse.tasks.state; absent: no row yet */

typedef Row {
  mtype state = absent;
  unsigned attempts : 2;
  unsigned owner : 3;
  bool isDue; /* next_attempt_at <= clock_timestamp() */
  bool cancelRequested;
  unsigned confirmedAttempt : 2;
  bool confirmRefused;
  bool isAtMostOnce;
  unsigned recorded : 4; /* lapse.attempts: bit n is the row of attempt n */
  bool hasLeft /* no column: bytes of this at-most-once task were written */
}
Row task[TASKS];

#define isEnded(t) (task[t].state == succeeded || task[t].state == failed || task[t].state == cancelled)
#define isLive(t) (task[t].state == scheduled || task[t].state == running)
#define allRecorded(t) (task[t].recorded == (1 << (task[t].attempts + 1)) - 2)

mtype = { idle, connecting, cleared, sent, answered }; /* a call, as its dispatcher knows it (src/webhook/call.ts) */
mtype = { delivered, refusedByAnswer, timedOut, neverLeft }; /* what came of it (src/task/attempt-result.ts) */
mtype = { away, reached, refusing, acting, declined }; /* the same call, as its receiver knows it */

typedef Attempt {
  mtype call = idle;
  unsigned owner : 3; /* the identity that claimed it; while the call is not idle */
  mtype result = 0; /* while it is answered */
  mtype receiver = away
}
Attempt attempt[TASKS * ATTEMPTS];
#define of(t, n) attempt[(t) * ATTEMPTS + (n) - 1]
#define isActing(t) (of(t, 1).receiver == acting || of(t, 2).receiver == acting || of(t, ATTEMPTS).receiver == acting)
#define hasDeclined(t) (of(t, 1).receiver == declined || of(t, 2).receiver == declined || of(t, ATTEMPTS).receiver == declined)

/*
 * Identities: a dispatcher has a new one at each start, and after each death. lapse.dispatchers keeps the dead apart for good.
 * That a lease has lapsed is no state of its own: one that is renewed before anybody saw it lapse only made its owner wait.
 */
byte life[DISPATCHERS];
bool isDead[1 + DISPATCHERS * LIVES];
#define identity(d, l) (1 + (d) * LIVES + (l))
#define self(d) identity(d, life[d])
#define dispatcherOf(o) (((o) - 1) / LIVES)

/* A task was claimed: from then on the dispatchers can be told apart. */
bool isBegun;
