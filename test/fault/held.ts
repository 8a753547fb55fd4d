// Owns the reads of what Postgres holds, at the end of a fault test.

import { Client, type QueryResultRow } from "pg";
import type { HeldAttempt, HeldTask } from "./history.ts";
import { until } from "./until.ts";

/** Instants as ms since the epoch with fractions; counts of bigint type as numbers. */
const tasksText = `select id, queue, key, state, extract(epoch from due_at)::float8 * 1000 as "dueAt",
    extract(epoch from finished_at)::float8 * 1000 as "finishedAt", attempts, attempts_before as "attemptsBefore",
    coalesce((retry ->> 'maxAttempts')::int, 1) as "maxAttempts", delivery, version, labels ->> 'call' as label,
    schedule_id || ' ' || occurrence_at as occurrence,
    case when retry ->> 'backoff' = 'fixed' and (retry ->> 'jitter')::float8 = 0 then (retry ->> 'minDelayMs')::float8 end as "retryDelayMs"
  from lapse.tasks where state <> 'tombstone'`;
const attemptsText = `select task_id as "taskId", number, outcome, status, extract(epoch from started_at)::float8 * 1000 as "startedAt",
    extract(epoch from finished_at)::float8 * 1000 as "finishedAt"
  from lapse.attempts`;

export interface Held {
  readonly tasks: readonly HeldTask[];
  readonly attempts: readonly HeldAttempt[];
}

export async function readHeld(databaseUrl: string): Promise<Held> {
  return {
    tasks: await rowsOf<HeldTask & QueryResultRow>(databaseUrl, tasksText),
    attempts: await rowsOf<HeldAttempt & QueryResultRow>(databaseUrl, attemptsText),
  };
}

/** Waits until no task is scheduled or running any more; fails after `msMax` with how many are. */
export async function untilSettled(databaseUrl: string, msMax: number): Promise<void> {
  const text = "select count(*)::int as live from lapse.tasks where state in ('scheduled', 'running')";
  await until(async () => (await rowsOf<{ live: number }>(databaseUrl, text))[0]?.live === 0, msMax, text);
}

/** Runs one statement on a connection of its own. */
export async function rowsOf<Row extends QueryResultRow>(
  databaseUrl: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const client = new Client({ connectionString: databaseUrl });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(text, [...values])).rows;
  } finally {
    await client.end();
  }
}

/** Runs `work` in a transaction on a connection of its own. */
export async function inTransaction(
  databaseUrl: string,
  work: (query: (text: string, values: readonly unknown[]) => Promise<unknown>) => Promise<void>,
): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query("begin");
    await work((text, values) => client.query(text, [...values]));
    await client.query("commit");
  } finally {
    await client.end();
  }
}
