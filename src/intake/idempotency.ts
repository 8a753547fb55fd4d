// Owns what an Idempotency-Key is kept under, and the answer that it replays.

/** One key of one caller, for one call; the fingerprint tells whether the body is the same. */
export interface IdempotencyScope {
  readonly apiKeyId: string;
  readonly method: string;
  readonly path: string;
  readonly key: string;
  /** SHA-256 (base64url) of the validated fields. */
  readonly fingerprint: string;
}

/** An answer as it was first given; kept for 24 h where its status is 2xx or 409. */
export interface StoredAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}
