// Owns the reads of single tasks and their attempts.

import type { Attempt, Task } from "../task/task.ts";
import type { Connection, Database } from "./database.ts";
import { type Reach, type TaskId, withinReach } from "./reach.ts";
import { runningAttempt, type TaskRow, toAttempt, toOneTask } from "./task-rows.ts";

export async function findRow(connection: Connection, id: string, reach: Reach = null): Promise<TaskRow | null> {
  const row = await connection
    .selectFrom("lapse.tasks")
    .selectAll()
    .where("id", "=", id)
    .where("state", "<>", "tombstone")
    .where(withinReach(reach))
    .executeTakeFirst();
  return row ?? null;
}

export async function findLiveRow(connection: Connection, queue: string, key: string): Promise<TaskRow | null> {
  const live = await named(connection, queue, key)
    .where("state", "in", ["scheduled", "paused", "running"])
    .executeTakeFirst();
  return live ?? null;
}

/** The live task with the key, else the newest that ended. */
export async function findRowByKey(connection: Connection, queue: string, key: string): Promise<TaskRow | null> {
  const live = await findLiveRow(connection, queue, key);
  if (live !== null) return live;
  const ended = await named(connection, queue, key)
    .where("finished_at", "is not", null)
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  // It may have been retried between the two reads.
  return ended ?? findLiveRow(connection, queue, key);
}

function named(connection: Connection, queue: string, key: string) {
  return connection.selectFrom("lapse.tasks").selectAll().where("queue", "=", queue).where("key", "=", key);
}

export class TaskReader {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The task, or null where there is none with the id. */
  read({ id, reach }: TaskId): Promise<Task | null> {
    return this.#database.query(async (connection) => one(connection, await findRow(connection, id, reach)));
  }

  /** The live task with the key, else the newest with it; null where there never was one (or retention removed it). */
  readByKey(queue: string, key: string): Promise<Task | null> {
    return this.#database.query(async (connection) => one(connection, await findRowByKey(connection, queue, key)));
  }

  /** A task's attempts, oldest first, the one in flight included; null where there is no such task. */
  attempts({ id, reach }: TaskId): Promise<Attempt[] | null> {
    return this.#database.query(async (connection) => {
      const row = await findRow(connection, id, reach);
      if (row === null) return null;
      const ended = await connection
        .selectFrom("lapse.attempts")
        .selectAll()
        .where("task_id", "=", id)
        .orderBy("number")
        .execute();
      const running = row.state === "running" ? runningAttempt(row) : null;
      const attempts = ended.map(toAttempt);
      return running === null || attempts.some((attempt) => attempt.number === running.number)
        ? attempts
        : [...attempts, running];
    });
  }
}

async function one(connection: Connection, row: TaskRow | null): Promise<Task | null> {
  return row === null ? null : toOneTask(connection, row);
}
