// Owns what the store's failures mean: which the server's own words tell apart, and which a caller may try again.

import pg from "pg";

/** Postgres cannot be reached, did not answer in time, or no connection came free. A write may have happened all the same. */
export class StoreUnavailableError extends Error {
  readonly code = "store_unavailable";
  /** Every connection of a pool was in use for longer than the wait: nothing was sent, and Postgres may be well. */
  readonly isBusy: boolean;

  constructor(cause: unknown) {
    const isBusy = cause instanceof Error && cause.message === poolExhausted;
    super(isBusy ? "No connection to Postgres came free in time" : "Postgres cannot be reached", { cause });
    this.isBusy = isBusy;
  }
}

/** What pg-pool says to one who waited for a connection in vain; where the server did not answer it says otherwise. */
const poolExhausted = "timeout exceeded when trying to connect";

/** A row or a key is locked by another transaction for longer than the wait. Nothing was written. */
export class LockTimeoutError extends Error {
  readonly code = "lock_timeout";

  constructor(cause: unknown) {
    super("A row is locked by another transaction", { cause });
  }
}

/** Condition names of https://www.postgresql.org/docs/current/errcodes-appendix.html. */
const lockNotAvailable = "55P03";
const transient = new Set(["40001", "40P01"]);
/** Shutting down, starting up, sessions ended by a timeout, a read-only standby, cancelled by statement_timeout, an internal error. */
const unavailable = new Set(["57P01", "57P02", "57P03", "57P05", "57014", "25006", "25P03", "25P04", "XX000"]);
/** Connection exceptions, no resources (disk full, out of memory, too many connections), errors of the server's system. */
const unavailableClass = /^(08|53|58)/;
const uniqueViolation = "23505";
/** "cached plan must not change result type": a newer version has added a column. */
const stalePlan = "0A000";
const dataFault = /^(22|23)/;
/** Wrong credentials, no such role, none that may come from there; no such database. */
const refused = /^(28...|3D000)$/;
/** pg's own words: the server asks for a password, and the URL has none. */
const passwordMissing = /^SASL: .* client password must be /;

/** The server's own code; null for what the driver or a socket says (EPIPE has five letters, too). */
function sqlState(error: unknown): string | null {
  return error instanceof pg.DatabaseError ? (error.code ?? null) : null;
}

/** A deadlock or a serialization failure: the same statements may be sent again at once. */
export function isTransient(error: unknown): boolean {
  return transient.has(sqlState(error) ?? "");
}

/** A statement that was prepared before the schema changed: it goes through on another connection. */
export function isStalePlan(error: unknown): boolean {
  return sqlState(error) === stalePlan;
}

/** The server refused a value: sending it again cannot help. */
export function isDataFault(error: unknown): boolean {
  return dataFault.test(sqlState(error) ?? "");
}

/** A unique index refused the row: its key is live on another task. */
export function isUniqueViolation(error: unknown): boolean {
  return sqlState(error) === uniqueViolation;
}

/** Why the server lets nobody in who comes by this URL, which trying again cannot help; or null. */
export function refusalOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  if (passwordMissing.test(error.message)) return "a password is asked for, and none was given";
  return refused.test(sqlState(error) ?? "") ? error.message : null;
}

/** Says what a driver's error means: a lock timeout, a lost server, or (as it is) something else. */
export function storeError(error: unknown): unknown {
  const state = sqlState(error);
  if (state === lockNotAvailable) return new LockTimeoutError(error);
  if (state === null) return isConnectionFault(error) ? new StoreUnavailableError(error) : error;
  // A transient one comes here once it was sent again in vain.
  const isUnavailable = unavailable.has(state) || unavailableClass.test(state) || transient.has(state);
  return isUnavailable ? new StoreUnavailableError(error) : error;
}

/** A socket's error has a code such as ECONNREFUSED or EAI_AGAIN; pg's own have only a text. */
function isConnectionFault(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof StoreUnavailableError || error instanceof LockTimeoutError)
    return false;
  if ("code" in error && typeof error.code === "string" && /^E[A-Z_]+$/.test(error.code)) return true;
  return /connection|timeout|terminated|not queryable|closed/i.test(error.message);
}

/** How a failed round is to be logged: that Postgres is away was told once, and every round fails by it. */
export function failureLevel(error: unknown): "debug" | "warn" {
  return error instanceof StoreUnavailableError && !error.isBusy ? "debug" : "warn";
}
