// Owns the answers kept under Idempotency-Keys (draft-ietf-httpapi-idempotency-key-header-07), in the transaction of what they answer.

import { sql } from "kysely";
import type { Connection } from "./database.ts";

/** How long an answer is replayed. */
export const idempotencyKeptHours = 24;

export interface IdempotencyName {
  readonly apiKeyId: string;
  readonly method: string;
  readonly path: string;
  readonly key: string;
}

export interface KeptAnswer {
  readonly fingerprint: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The answer kept under the name, or null. One older than 24 h counts no more. */
export async function readAnswer(connection: Connection, name: IdempotencyName): Promise<KeptAnswer | null> {
  const found = await sql<KeptAnswer>`
    select fingerprint, status, headers, body from lapse.idempotency_keys
    where ${named(name)} and status is not null and created_at > clock_timestamp() - ${idempotencyKeptHours} * interval '1 hour'`.execute(
    connection,
  );
  return found.rows[0] ?? null;
}

/** Takes the name for a transaction under way, waiting for another that has it. False where an answer is kept under it. */
export async function reserveName(trx: Connection, name: IdempotencyName, fingerprint: string): Promise<boolean> {
  const reserved = await sql`
    insert into lapse.idempotency_keys (api_key_id, method, path, key, fingerprint)
    values (${name.apiKeyId}, ${name.method}, ${name.path}, ${name.key}, ${fingerprint})
    on conflict (api_key_id, method, path, key) do update
      set fingerprint = excluded.fingerprint, status = null, headers = null, body = null, created_at = clock_timestamp()
      where lapse.idempotency_keys.created_at <= clock_timestamp() - ${idempotencyKeptHours} * interval '1 hour'
    returning 1`.execute(trx);
  return reserved.rows.length === 1;
}

export async function keepAnswer(
  trx: Connection,
  name: IdempotencyName,
  answer: Omit<KeptAnswer, "fingerprint">,
): Promise<void> {
  await sql`
    update lapse.idempotency_keys set status = ${answer.status}, headers = ${JSON.stringify(answer.headers)}::jsonb, body = ${answer.body}
    where ${named(name)}`.execute(trx);
}

/** Removes answers older than 24 h, at most `limit`. */
export async function removeOldAnswers(connection: Connection, limit: number): Promise<number> {
  const removed = await sql`
    delete from lapse.idempotency_keys where ctid = any(array(
      select ctid from lapse.idempotency_keys
      where created_at <= statement_timestamp() - ${idempotencyKeptHours} * interval '1 hour'
      order by created_at limit ${limit} for update skip locked
    ))`.execute(connection);
  return Number(removed.numAffectedRows ?? 0);
}

function named(name: IdempotencyName) {
  return sql`api_key_id = ${name.apiKeyId} and method = ${name.method} and path = ${name.path} and key = ${name.key}`;
}
