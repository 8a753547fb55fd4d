// Owns how the receiver's `Retry-After` is read (RFC 9110, section 10.2.3).

import { DateTime } from "luxon";
import { receiverDelayMaxMs } from "./limits.ts";

const retryAfterMsMin = 1_000;

/** Milliseconds from `now` that the receiver asks for, between 1 s and ten years; null where the header is missing or is neither form. */
export function readRetryAfter(header: string | null, now: number): number | null {
  const text = header?.trim() ?? "";
  const askedMs = /^\d+$/.test(text) ? Number(text) * 1_000 : httpDate(text) - now;
  return Number.isNaN(askedMs) ? null : Math.min(Math.max(askedMs, retryAfterMsMin), receiverDelayMaxMs);
}

/** An HTTP-date in any of its three forms as an instant, NaN for anything else. */
function httpDate(text: string): number {
  const date = DateTime.fromHTTP(text);
  return date.isValid ? date.toMillis() : Number.NaN;
}
