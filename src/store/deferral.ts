// Owns putting due tasks off before they are claimed: their origin does not answer, and no attempt is counted.

import { sql } from "kysely";
import type { Connection } from "./database.ts";
import { instant } from "./task-rows.ts";

export interface Target {
  readonly id: string;
  readonly url: string | null;
}

export interface Deferral {
  readonly id: string;
  /** The earliest instant of its next look. */
  readonly at: number;
}

/** Where the tasks would be sent to. Ended ones and unknown ids are left out. */
export async function readTargets(connection: Connection, ids: readonly string[]): Promise<Target[]> {
  const found = await sql<Target>`
    select id, url from lapse.tasks where id = any(${ids}::uuid[]) and state = 'scheduled'`.execute(connection);
  return found.rows;
}

/**
 * Moves the next attempt of those that are due still to a later time. Their version stays: it is no change of the task. A row that a
 * transaction of somebody else holds is passed over.
 */
export async function deferTasks(connection: Connection, deferrals: readonly Deferral[]): Promise<void> {
  await sql`
    with waiting as (
      select t.id, d.at from lapse.tasks t
      join unnest(${deferrals.map(({ id }) => id)}::uuid[], ${deferrals.map(({ at }) => instant(at))}::timestamptz[]) as d (id, at)
        on d.id = t.id
      where t.state = 'scheduled' and t.next_attempt_at <= clock_timestamp()
      order by t.id
      for update of t skip locked
    )
    update lapse.tasks t set next_attempt_at = waiting.at, updated_at = clock_timestamp()
    from waiting
    where t.id = waiting.id and t.state = 'scheduled' and t.next_attempt_at <= clock_timestamp()`.execute(connection);
}
