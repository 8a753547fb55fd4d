// Owns the other writes that a caller makes to one task. Each names the state it expects; null means that it did not win.

import { sql, type UpdateObject } from "kysely";
import type { TaskChanges } from "../task/new-task.ts";
import { retryableStates, type TaskState } from "../task/task.ts";
import type { Connection } from "./database.ts";
import { isUniqueViolation } from "./errors.ts";
import { type Reach, withinReach } from "./reach.ts";
import type { Tables } from "./tables.ts";
import { removeSpentTombstone } from "./tombstones.ts";
import { bodyColumns, instant, type TaskRow } from "./task-rows.ts";

const touched = { updated_at: sql<string>`clock_timestamp()`, version: sql<number>`version + 1` };
/**
 * Due now, for the clock of Postgres; in whole ms, so that the time which goes out is not before the one that counts. The same wherever a
 * statement names it.
 */
const now = sql<string>`date_trunc('milliseconds', statement_timestamp())`;

export async function pauseTask(connection: Connection, id: string, reach: Reach = null): Promise<TaskRow | null> {
  return update(connection, { id, reach, from: ["scheduled"], set: { state: "paused", ...touched } });
}

/** Lets a paused task wait again; one that is overdue is due now, or is found missed when it is claimed. */
export async function resumeTask(connection: Connection, id: string, reach: Reach = null): Promise<TaskRow | null> {
  const nextAttemptAt = sql<string>`greatest(next_attempt_at, ${now})`;
  return update(connection, {
    id,
    reach,
    from: ["paused"],
    set: { state: "scheduled", held: false, next_attempt_at: nextAttemptAt, ...touched },
  });
}

export async function runTask(connection: Connection, id: string, reach: Reach = null): Promise<TaskRow | null> {
  const set = {
    state: "scheduled" as const,
    due_at: now,
    next_attempt_at: now,
    attempts_at_due: sql<number>`attempts`,
    held: false,
    ...touched,
  };
  return update(connection, { id, reach, from: ["scheduled", "paused"], set });
}

/**
 * Schedules a failed or missed task anew, due now, with a fresh budget. Rejects with a unique violation where its key is live on another,
 * or was cancelled for a time that is not over. Not within a transaction, which that would end.
 */
export async function retryTask(connection: Connection, id: string, reach: Reach = null): Promise<TaskRow | null> {
  const set = {
    state: "scheduled" as const,
    due_at: now,
    next_attempt_at: now,
    finished_at: null,
    attempts_before: sql<number>`attempts`,
    attempts_at_due: sql<number>`attempts`,
    reschedules: 0,
    cancel_requested: false,
    confirm_refused: false,
    ...touched,
  };
  const retry = (): Promise<TaskRow | null> => update(connection, { id, reach, from: retryableStates, set });
  try {
    return await retry();
  } catch (error) {
    if (!isUniqueViolation(error) || !(await removeSpentTombstone(connection, id))) throw error;
    return retry();
  }
}

export interface TaskChange {
  readonly id: string;
  readonly reach?: Reach;
  readonly changes: TaskChanges;
  /** Null: as it is. */
  readonly dueAt: number | null;
  /** Null: whatever its version. */
  readonly expectedVersion: number | null;
}

/** Changes fields of a task that waits. */
export async function changeTask(
  connection: Connection,
  { id, reach = null, changes, dueAt, expectedVersion }: TaskChange,
): Promise<TaskRow | null> {
  const set = {
    ...(dueAt === null
      ? {}
      : { due_at: instant(dueAt), next_attempt_at: instant(dueAt), attempts_at_due: sql<number>`attempts` }),
    ...(changes.url === undefined ? {} : { url: changes.url }),
    ...(changes.headers === undefined ? {} : { headers: JSON.stringify(changes.headers) }),
    ...(changes.body === undefined ? {} : bodyColumns(changes.body)),
    ...(changes.retry === undefined ? {} : { retry: JSON.stringify(changes.retry) }),
    ...(changes.timeoutMs === undefined ? {} : { timeout_ms: changes.timeoutMs }),
    ...(changes.labels === undefined ? {} : { labels: JSON.stringify(changes.labels) }),
    ...touched,
  };
  return update(connection, { id, reach, from: ["scheduled", "paused"], set, expectedVersion });
}

export interface AttemptId {
  readonly id: string;
  readonly reach?: Reach;
  readonly attempt: number;
}

/** Lets the receiver of the current attempt act: from now on a cancel is refused. */
export async function confirmAttempt(
  connection: Connection,
  { id, reach = null, attempt }: AttemptId,
): Promise<TaskRow | null> {
  const confirmed = await connection
    .updateTable("lapse.tasks")
    .set({ confirmed_attempt: sql<number>`coalesce(confirmed_attempt, attempts)`, ...touched })
    .where("id", "=", id)
    .where("state", "=", "running")
    .where("attempts", "=", attempt)
    .where(withinReach(reach))
    .where("cancel_requested", "=", false)
    .returningAll()
    .executeTakeFirst();
  return confirmed ?? null;
}

/** Records that the receiver of the current attempt was told not to act: its task ends cancelled, whatever it answers. */
export async function refuseConfirm(connection: Connection, { id, reach = null, attempt }: AttemptId): Promise<void> {
  await connection
    .updateTable("lapse.tasks")
    .set({ confirm_refused: true, ...touched })
    .where("id", "=", id)
    .where("state", "=", "running")
    .where("attempts", "=", attempt)
    .where(withinReach(reach))
    .where("cancel_requested", "=", true)
    .execute();
}

interface GuardedUpdate {
  readonly id: string;
  readonly reach: Reach;
  readonly from: readonly TaskState[];
  readonly set: UpdateObject<Tables, "lapse.tasks">;
  readonly expectedVersion?: number | null;
}

async function update(
  connection: Connection,
  { id, reach, from, set, expectedVersion }: GuardedUpdate,
): Promise<TaskRow | null> {
  let statement = connection
    .updateTable("lapse.tasks")
    .set(set)
    .where("id", "=", id)
    .where("state", "in", from)
    .where(withinReach(reach));
  if (expectedVersion !== null && expectedVersion !== undefined)
    statement = statement.where("version", "=", expectedVersion);
  return (await statement.returningAll().executeTakeFirst()) ?? null;
}
