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
}

export type NewApiKey = Pick<ApiKey, "id" | "name" | "scopes" | "queues" | "createdBy"> & { readonly digest: Buffer };

/** What is asked of a key that was sent. */
export interface FoundApiKey {
  readonly id: string;
  readonly digest: Buffer;
  readonly scopes: readonly Scope[];
  readonly queues: readonly string[] | null;
  /** Its last use is not written, or longer ago than `usedEverySeconds`. */
  readonly isUseDue: boolean;
}

/** A use is written this often at most. */
export const usedEverySeconds = 60;

const isUseDue = `(last_used_at is null or last_used_at <= statement_timestamp() - interval '${usedEverySeconds} seconds')`;

const findKeys = {
  name: "find_api_keys",
  text: `select id, digest, scopes, queues, ${isUseDue} as "isUseDue" from lapse.api_keys where id = any($1::text[])`,
};

const noteUses = {
  name: "note_api_key_uses",
  text: `update lapse.api_keys set last_used_at = clock_timestamp() where id = any($1::text[]) and ${isUseDue}`,
};

/** Those of the ids that there are. */
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
    insert into lapse.api_keys (id, name, scopes, queues, digest, created_by)
    select ${key.id}, ${key.name}, ${[...key.scopes]}::text[], ${key.queues}::text[], ${key.digest}::bytea, ${key.createdBy}
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

const shown = sql`id, name, scopes, queues, created_by as "createdBy", created_at as "createdAt", last_used_at as "lastUsedAt"`;
