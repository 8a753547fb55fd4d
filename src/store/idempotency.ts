// Owns the answers kept under Idempotency-Keys (draft-ietf-httpapi-idempotency-key-header-07), in the transaction of what they answer.

import { sql } from "kysely";
import { bind, type Connection, execute } from "./database.ts";

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

const named = "api_key_id = $1 and method = $2 and path = $3 and key = $4";

/** The answer kept under the name, or null. One older than 24 h counts no more. */
export async function readAnswer(connection: Connection, name: IdempotencyName): Promise<KeptAnswer | null> {
  const [kept] = await execute(connection, bind(readKept, place(name)));
  return (kept as KeptAnswer | undefined) ?? null;
}

const readKept = {
  name: "read_kept_answer",
  text: `select fingerprint, status, headers, body from lapse.idempotency_keys
    where ${named} and status is not null and created_at > clock_timestamp() - ${idempotencyKeptHours} * interval '1 hour'`,
};

/** Takes the name for a transaction under way, waiting for another that has it. False where an answer is kept under it. */
export async function reserveName(trx: Connection, name: IdempotencyName, fingerprint: string): Promise<boolean> {
  const reserved = await execute(trx, bind(reserve, [...place(name), fingerprint]));
  return reserved.length === 1;
}

const reserve = {
  name: "reserve_idempotency_key",
  text: `insert into lapse.idempotency_keys (api_key_id, method, path, key, fingerprint) values ($1, $2, $3, $4, $5)
    on conflict (api_key_id, method, path, key) do update
      set fingerprint = excluded.fingerprint, status = null, headers = null, body = null, created_at = clock_timestamp()
      where lapse.idempotency_keys.created_at <= clock_timestamp() - ${idempotencyKeptHours} * interval '1 hour'
    returning 1`,
};

export async function keepAnswer(
  trx: Connection,
  name: IdempotencyName,
  answer: Omit<KeptAnswer, "fingerprint">,
): Promise<void> {
  const { status, headers, body } = answer;
  await execute(trx, bind(keep, [...place(name), status, JSON.stringify(headers), body]));
}

const keep = {
  name: "keep_answer",
  text: `update lapse.idempotency_keys set status = $5, headers = $6::jsonb, body = $7 where ${named}`,
};

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

function place({ apiKeyId, method, path, key }: IdempotencyName): string[] {
  return [apiKeyId, method, path, key];
}
