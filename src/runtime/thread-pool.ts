// Owns the size of libuv's thread pool, on which names are looked up. Imported first: the pool starts with its first use, and stays so.

/** Of the four that are the default, four names whose resolver hangs would hold up the lookup of every other; a thread costs some 8 KB. */
const threads = 64;

// oxlint-disable-next-line eslint/no-restricted-properties -- No setting of ours: libuv reads it.
process.env["UV_THREADPOOL_SIZE"] ??= String(threads);
