// Owns what a start after a gap holds back: an old backup restored, or a long stop, must not fire a week of orders at once.

import { sql } from "kysely";
import type { Connection, Database } from "./database.ts";

/** Tasks a transaction holds back at most. */
const heldPerBatchMax = 5_000;

/** Notes that a dispatcher lives on this database. */
export async function beat(connection: Connection): Promise<void> {
  await sql`
    insert into lapse.heartbeat (beaten_at) values (clock_timestamp())
    on conflict (id) do update set beaten_at = excluded.beaten_at`.execute(connection);
}

/**
 * Where no dispatcher lived for longer than `catchUpMs`: pauses the tasks that are overdue by more, until a resume. Resolves to how many.
 * To be called before anything is claimed.
 */
export async function holdOverdue(database: Database, catchUpMs: number): Promise<number> {
  const before = sql`statement_timestamp() - ${catchUpMs} * interval '1 millisecond'`;
  const gap = await database.query((connection) =>
    sql`select from lapse.heartbeat where beaten_at < ${before}`.execute(connection),
  );
  if (gap.rows.length === 0) return 0;
  for (let held = 0; ; ) {
    const batch = await database.query((connection) =>
      sql`
        update lapse.tasks set state = 'paused', held = true, updated_at = clock_timestamp(), version = version + 1
        where state = 'scheduled' and id in (
          select id from lapse.tasks where state = 'scheduled' and next_attempt_at < ${before}
          order by id limit ${heldPerBatchMax} for update skip locked
        )`.execute(connection),
    );
    const count = Number(batch.numAffectedRows ?? 0);
    held += count;
    if (count < heldPerBatchMax) return held;
  }
}

/** How many tasks are held back still. */
export async function countHeld(connection: Connection): Promise<number> {
  const counted = await sql<{ count: number }>`select count(*) as count from lapse.tasks where held`.execute(
    connection,
  );
  return counted.rows[0]?.count ?? 0;
}
