// Owns the API keys: making, showing and revoking them, and knowing the one that a caller sent. What was read of a key is kept for a few
// seconds, so that a call costs no statement; a key that was revoked elsewhere is good until then, one revoked here, or expired, no longer.

import { timingSafeEqual } from "node:crypto";
import { monotonicMs } from "../runtime/clock.ts";
import { GroupCommit } from "../runtime/group-commit.ts";
import type { Log } from "../runtime/log.ts";
import {
  type ApiKey,
  deleteApiKey,
  type FoundApiKey,
  findApiKeys,
  insertApiKey,
  listApiKeys,
  type NewApiKey,
  noteApiKeyUse,
} from "../store/api-keys.ts";
import type { Database } from "../store/database.ts";
import { isKeyId, keyDigest, keyId, makeKey } from "./api-key-text.ts";

/** Keys of an installation: their list is answered as a whole. */
export const apiKeysMax = 1_000;
/** A revoked key is refused by every process within this, and within the 5 s that security asks for. */
export const keyKeptMs = 4_000;
const keysPerLookMax = 500;

/** What a known key lets its caller do. */
export type KeyHolder = Pick<FoundApiKey, "id" | "scopes" | "queues">;

interface Kept {
  readonly key: FoundApiKey;
  readonly untilMs: number;
  isUseDue: boolean;
}

/** Compared with where there is no such key, so that this costs the same. */
const noDigest = keyDigest("");

export class ApiKeys {
  readonly #database: Database;
  readonly #log: Log;
  readonly #kept = new Map<string, Kept>();
  /** Looks that wait together are one statement, one at a time: whoever sends made-up keys gets no more of Postgres than that. */
  readonly #looks: GroupCommit<string, FoundApiKey | null>;
  /** Grows with each revocation here: what was read before one is not kept. */
  #revocations = 0;

  constructor(database: Database, log: Log) {
    this.#database = database;
    this.#log = log;
    this.#looks = new GroupCommit({
      write: async (ids) => {
        const found = new Map((await findApiKeys(database, ids)).map((key) => [key.id, key]));
        return ids.map((id) => found.get(id) ?? null);
      },
      batchMax: keysPerLookMax,
      writersMax: 1,
    });
  }

  /** Makes a key; `text` is all of it, and cannot be had again. Null where there are `apiKeysMax` already. */
  async make(fields: Omit<NewApiKey, "id" | "digest">): Promise<{ key: ApiKey; text: string } | null> {
    const { id, text } = makeKey();
    const row = { ...fields, id, digest: keyDigest(text) };
    const key = await this.#database.query((connection) => insertApiKey(connection, row, apiKeysMax));
    if (key === null) return null;
    this.#log.info({ apiKeyId: id, createdBy: key.createdBy }, "api_key.made");
    return { key, text };
  }

  list(): Promise<ApiKey[]> {
    return this.#database.query(listApiKeys);
  }

  /** From now on this process refuses the key, and within `keyKeptMs` every other. False where there is none with the id. */
  async revoke(id: string): Promise<boolean> {
    if (!isKeyId(id)) return false;
    const isRevoked = await this.#database.query((connection) => deleteApiKey(connection, id));
    this.#revocations += 1;
    this.#kept.delete(id);
    if (isRevoked) this.#log.info({ apiKeyId: id }, "api_key.revoked");
    return isRevoked;
  }

  /** Who holds the key of this text, or null. Rejects where that cannot be known because Postgres is away. */
  async holder(text: string): Promise<KeyHolder | null> {
    const id = keyId(text);
    if (id === null) return null;
    const kept = this.#keptNow(id) ?? (await this.#look(id));
    const isRight = timingSafeEqual(keyDigest(text), kept?.key.digest ?? noDigest);
    if (kept === null || !isRight) return null;
    if (kept.isUseDue) this.#noteUse(kept);
    return kept.key;
  }

  #keptNow(id: string): Kept | null {
    const kept = this.#kept.get(id);
    return kept !== undefined && monotonicMs() < kept.untilMs ? kept : null;
  }

  async #look(id: string): Promise<Kept | null> {
    const askedAtMs = monotonicMs();
    const revocations = this.#revocations;
    const key = await this.#looks.add(id);
    if (key === null) {
      this.#kept.delete(id);
      return null;
    }
    const untilMs = askedAtMs + Math.min(keyKeptMs, key.leftMs ?? keyKeptMs);
    const kept = { key, untilMs, isUseDue: key.isUseDue };
    if (this.#kept.size >= apiKeysMax) this.#kept.clear(); // Some of them were revoked elsewhere.
    if (revocations === this.#revocations) this.#kept.set(id, kept);
    return kept;
  }

  /** Beside the call, which does not depend on it. */
  #noteUse(kept: Kept): void {
    kept.isUseDue = false;
    noteApiKeyUse(this.#database, kept.key.id).catch((error: unknown) =>
      this.#log.warn({ err: error, apiKeyId: kept.key.id }, "api_key.use_unwritten"),
    );
  }
}
