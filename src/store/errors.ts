// Owns what the store's failures mean: which the server's own words tell apart, and which a caller may try again.

/** Postgres cannot be reached, did not answer in time, or no connection came free. A write may have happened all the same. */
export class StoreUnavailableError extends Error {
  readonly code = "store_unavailable";

  constructor(cause: unknown) {
    super("Postgres cannot be reached", { cause });
  }
}

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
/** Shutting down, starting up, too many connections, read-only standby, cancelled by statement_timeout. */
const unavailable = new Set(["57P01", "57P02", "57P03", "53300", "25006", "57014", "25P03"]);
const uniqueViolation = "23505";
const dataFault = /^(22|23)/;

function sqlState(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}

/** A deadlock or a serialization failure: the same statements may be sent again at once. */
export function isTransient(error: unknown): boolean {
  return transient.has(sqlState(error) ?? "");
}

/** The server refused a value: sending it again cannot help. */
export function isDataFault(error: unknown): boolean {
  return dataFault.test(sqlState(error) ?? "");
}

/** A unique index refused the row: its key is live on another task. */
export function isUniqueViolation(error: unknown): boolean {
  return sqlState(error) === uniqueViolation;
}

/** Says what a driver's error means: a lock timeout, a lost server, or (as it is) something else. */
export function storeError(error: unknown): unknown {
  if (error instanceof StoreUnavailableError || error instanceof LockTimeoutError) return error;
  const state = sqlState(error);
  if (state === lockNotAvailable) return new LockTimeoutError(error);
  if (state === null || !/^[0-9A-Z]{5}$/.test(state) || unavailable.has(state) || state.startsWith("08")) {
    return isDriverError(error) ? new StoreUnavailableError(error) : error;
  }
  return error;
}

/** A socket's error has a code such as ECONNREFUSED; pg's own have only a text. */
function isDriverError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (sqlState(error) !== null) return true;
  return /connection|timeout|terminated|not queryable|closed/i.test(error.message);
}
