// Owns the rows of the API keys.

import { sql } from "kysely";
import type { Scope } from "../task/scope.ts";
import { bind, type Connection, type Database } from "./database.ts";

/** A key as it may be shown: without anything of its secret. */
export interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Null: all queues. */
  readonly queues: readonly string[] | null;
  readonly createdBy: string;
  readonly createdAt: number;
  readonly lastUsedAt: number | null;
  /** Null: never. */
  readonly expiresAt: number | null;
}

export type NewApiKey = Pick<ApiKey, "id" | "name" | "scopes" | "queues" | "createdBy"> & {
  readonly digest: Buffer;
  /** Null: it never expires. */
  readonly expiresInMs: number | null;
};

/** What is asked of a key that was sent. */
export interface FoundApiKey {
  readonly id: string;
  readonly digest: Buffer;
  readonly scopes: readonly Scope[];
  readonly queues: readonly string[] | null;
  /** Its last use is not written, or longer ago than `usedEverySeconds`. */
  readonly isUseDue: boolean;
  /** Until it expires; null where it never does. */
  readonly leftMs: number | null;
}

/** A use is written this often at most. */
export const usedEverySeconds = 60;

const isUseDue = `(last_used_at is null or last_used_at <= statement_timestamp() - interval '${usedEverySeconds} seconds')`;

const leftMs = `(extract(epoch from expires_at - statement_timestamp()) * 1000)::float8`;

const findKeys = {
  name: "find_api_keys",
  text: `select id, digest, scopes, queues, ${isUseDue} as "isUseDue", ${leftMs} as "leftMs" from lapse.api_keys
    where id = any($1::text[]) and (expires_at is null or expires_at > statement_timestamp())`,
};

const noteUses = {
  name: "note_api_key_uses",
  text: `update lapse.api_keys set last_used_at = clock_timestamp() where id = any($1::text[]) and ${isUseDue}`,
};

/** Those of the ids that there are and that have not expired. */
export async function findApiKeys(database: Database, ids: readonly string[]): Promise<FoundApiKey[]> {
  return (await database.run(bind(findKeys, [ids]))) as unknown as FoundApiKey[];
}

/** Writes that a key was used, unless another process has just done so. */
export async function noteApiKeyUse(database: Database, id: string): Promise<void> {
  await database.run(bind(noteUses, [[id]]));
}

/** Null where there are `countMax` already (a few more may come of calls made at the same instant). */
export async function insertApiKey(connection: Connection, key: NewApiKey, countMax: number): Promise<ApiKey | null> {
  const inserted = await sql<ApiKey>`
    insert into lapse.api_keys (id, name, scopes, queues, digest, created_by, expires_at)
    select ${key.id}, ${key.name}, ${[...key.scopes]}::text[], ${key.queues}::text[], ${key.digest}::bytea, ${key.createdBy},
      clock_timestamp() + ${key.expiresInMs}::float8 * interval '1 ms'
    where (select count(*) from lapse.api_keys) < ${countMax}
    returning ${shown}`.execute(connection);
  return inserted.rows[0] ?? null;
}

/** All of them, oldest first. */
export async function listApiKeys(connection: Connection): Promise<ApiKey[]> {
  const found = await sql<ApiKey>`select ${shown} from lapse.api_keys order by created_at, id`.execute(connection);
  return found.rows;
}

/** False where there is none with the id. */
export async function deleteApiKey(connection: Connection, id: string): Promise<boolean> {
  const deleted = await sql`delete from lapse.api_keys where id = ${id}`.execute(connection);
  return deleted.numAffectedRows === 1n;
}

/** Removes those that have expired; nobody is let in by them any more. */
export async function removeExpiredApiKeys(connection: Connection): Promise<void> {
  await sql`delete from lapse.api_keys where expires_at <= statement_timestamp()`.execute(connection);
}

const shown = sql`id, name, scopes, queues, created_by as "createdBy", created_at as "createdAt", last_used_at as "lastUsedAt",
  expires_at as "expiresAt"`;
