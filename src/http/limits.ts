// Owns every limit of the API, each named with its unit; the schemas, the body reader and the OpenAPI document take them from here.

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const dayMs = 24 * 60 * minuteMs;

/** With their leap days: no span of ten calendar years is longer. */
const tenYearsMs = 3_653 * dayMs;
export const dueAheadMaxMs = tenYearsMs;

export const urlCharsMax = 2_048;
export const queueCharsMax = 128;
/** Characters are Unicode code points. */
export const keyCharsMax = 512;

/** Of `payload` as the caller wrote it, and of `body`, in UTF-8. */
export const payloadBytesMax = 256 * 1024;
export const contentTypeCharsMax = 256;

export const labelsCountMax = 16;
export const labelNameCharsMax = 128;
export const labelValueCharsMax = 256;

export { timeoutMaxMs, timeoutMinMs } from "../task/limits.ts";
export const misfireGraceMinMs = 1;
export const misfireGraceMaxMs = tenYearsMs;
export const reschedulesMax = 1_000_000;

export {
  attemptsMax,
  attemptsMin,
  retryDelayMaxMs,
  retryFactorMax,
  retryFactorMin,
  retryJitterMax,
} from "../task/limits.ts";

/** Of a cron expression, and of each of `fields`. */
export const cronTextCharsMax = 1_024;
export const intervalMinMs = secondMs;
export const intervalMaxMs = tenYearsMs;
/** A trigger has an occurrence within this, or is refused. */
export const occurrenceAheadMaxMs = tenYearsMs;

export const tombstoneMinMs = 1;
export const tombstoneMaxMs = 365 * dayMs;
/** How long a DELETE may wait for an attempt in flight. */
export const cancelWaitMaxMs = 30 * secondMs;

/** Tasks that one bulk call takes, and so the most ids or keys that one can name. */
export const bulkCountMax = 10_000;
export const batchCountMax = 1_000;

export const scheduleNameCharsMax = 256;
/** An occurrence's key ends in `:2026-11-21T02:30:00.000Z`. */
export const scheduleKeyCharsMax = keyCharsMax - 25;
export const instancesMax = 1_000_000;
export const jitterMaxMs = 365 * dayMs;
export const previewCountMax = 1_000;
export const previewCountDefault = 5;
export const previewBytesMax = 64 * 1024;

export const pageCountDefault = 50;
export const pageCountMax = 500;
export const cursorCharsMax = 512;
/** A name of 256 characters, each of four bytes that JSON may escape, in base64. */
export const nameCursorCharsMax = 4_096;

/** A task's body, or an import's line without its end: 256 KiB of `body` may be written as six times as many bytes of escapes, and the rest needs less than 512 KiB. */
export const taskBytesMax = 2 * 1024 * 1024;
export const batchBytesMax = 16 * 1024 * 1024;
/** 10,000 keys of 512 ASCII characters fit. */
export const bulkBytesMax = 8 * 1024 * 1024;
export const confirmBytesMax = 16 * 1024;

/** Of a queue: calls in flight at once. */
export const concurrencyMax = 10_000;
/** Of a queue: starts a window, and its length. */
export const rateLimitMax = 1_000_000;
export const ratePerMinMs = 100;
export const ratePerMaxMs = 31 * dayMs;
/** Of a queue's forecast. */
export const forecastBucketsMax = 1_000;
export const forecastBucketMinMs = 100;
export const queueBytesMax = 16 * 1024;

export const apiKeyNameCharsMax = 128;
export const apiKeyQueuesMax = 64;
export const apiKeyLifeMinMs = secondMs;
export const apiKeyLifeMaxMs = tenYearsMs;
/** 64 names of 128 characters fit. */
export const apiKeyBytesMax = 64 * 1024;

/** Imports that a process takes at once: each may hold some 10 MiB. */
export const importsMax = 16;
/** Without a whole line for so long an import is cut off; the time that Lapse itself takes is not counted. */
export const importLineMsMax = minuteMs;
/** Lines of an import that are written together, as many as a flush has, and their bytes; one line more may come on top. */
export const importTogetherMax = 500;
export const importTogetherBytesMax = 1024 * 1024;
/** So many of these are being written at once, while the next is read. */
export const importWritesMax = 3;
/** Lines that are read before other requests have a turn: some 2 ms. */
export const importTurnLines = 100;
/** Each so many lines the answer says how far it is. */
export const importProgressLines = 1_000;
/**
 * What an import has to say is kept for a client that does not read yet, up to this; then nothing more is taken in, and after so long the
 * import stops. A client that reads only after it has sent all so gets its answer rather than a deadlock.
 */
export const importUnreadBytesMax = 4 * 1024 * 1024;
export const importUnreadMsMax = minuteMs;
/** How long the rest of a request is read and dropped once its import has stopped, so that its client gets to see why. */
export const importDiscardMsMax = minuteMs;

export const subscriptionBytesMax = 16 * 1024;
/** Streams beyond the most are told to come back after this. */
export const streamsRetryAfterSeconds = 5;

/** Of one request. */
export const headersCountMax = 100;

/** Versions and attempt numbers are a Postgres `integer`. */
export const integerMax = 2_147_483_647;
export const idempotencyKeyCharsMax = 255;

/** What Retry-After says: a store that was lost is usually back within seconds, a lock within one. */
export const unavailableRetryAfterSeconds = 2;
export const lockedRetryAfterSeconds = 1;
export const inProgressRetryAfterSeconds = 1;
/** At one request a second, the least limit there is, the next may come after a second. */
export const rateLimitedRetryAfterSeconds = 1;

/** Faults that one answer lists: a caller that made more has made the same one over and over. */
export const faultsMax = 1_000;
