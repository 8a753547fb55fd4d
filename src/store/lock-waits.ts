// Owns how long a transaction waits for locks that others hold, where it is not as long as its connection's others.

import { sql } from "kysely";
import type { Connection } from "./database.ts";

/** From here on a statement of the transaction that waits for a lock for longer fails with `LockTimeoutError`. */
export async function limitLockWaits(trx: Connection, ms: number): Promise<void> {
  await sql`select set_config('lock_timeout', ${String(ms)}, true)`.execute(trx);
}
