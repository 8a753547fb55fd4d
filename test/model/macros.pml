/* Owns what is not of the protocol: probes, and mutations that need a word of their own. */

/* Says once that a run came by here. Spin's own simulation, which replays a counterexample, knows no C. */
#ifdef PROBES
#define REACH(name) c_code { static int isReached; if (!isReached) { isReached = 1; printf("reached: " #name "\n"); } }
#else
#define REACH(name) skip
#endif

#ifdef NO_LEASE_CHECK
#define CHECKED_LEASE(holds) true
#else
#define CHECKED_LEASE(holds) (holds)
#endif
