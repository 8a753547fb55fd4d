// Owns the headers of a webhook (contract, section 3).

import type { ClaimedTask } from "../task/claimed-task.ts";
import { isFieldValue } from "./header-rules.ts";

/** W3C Trace Context; a row made by SQL may hold anything. */
const traceparentForm = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** What only the sender knows of an attempt. */
export interface AttemptHeaders {
  readonly timestampSeconds: number;
  readonly signature: string;
  readonly confirmToken: string;
  /** `Lapse/<version>`. */
  readonly userAgent: string;
}

/** Every header of the request, names in lower case, as undici takes them: name, value, name, value … The caller's were checked. */
export function buildHeaders(task: ClaimedTask, attempt: AttemptHeaders): string[] {
  const headers: string[] = [];
  let contentType = contentTypeOf(task);
  let { userAgent } = attempt;
  for (const [name, value] of Object.entries(task.headers)) {
    const lowerName = name.toLowerCase();
    if (lowerName === "content-type") contentType = value;
    else if (lowerName === "user-agent") userAgent = `${attempt.userAgent} ${value.trim()}`.trim();
    else headers.push(lowerName, value);
  }
  if (contentType !== null) headers.push("content-type", contentType);
  headers.push("user-agent", userAgent);
  headers.push("webhook-id", task.id, "webhook-timestamp", String(attempt.timestampSeconds));
  headers.push("webhook-signature", attempt.signature);
  headers.push("lapse-attempt", String(task.attempt), "lapse-due-at", new Date(task.dueAt).toISOString());
  headers.push("lapse-queue", percentEncode(task.queue));
  if (task.key !== null) headers.push("lapse-key", percentEncode(task.key));
  headers.push("lapse-confirm-token", attempt.confirmToken);
  if (task.traceparent !== null && traceparentForm.test(task.traceparent))
    headers.push("traceparent", task.traceparent);
  return headers;
}

/** What is wrong with a raw body's type, or null: callers name it in a field of its own, beside `headers`. */
export function checkContentType(contentType: string): string | null {
  return isFieldValue(contentType) && contentType.trim() !== "" ? null : "must be a media type that a header can carry";
}

/** Every UTF-8 byte outside 0x21-0x7E, and `%`, as `%XX`; nothing else, so that most keys read as they were given. */
export function percentEncode(name: string): string {
  if (/^[\x21-\x24\x26-\x7e]*$/.test(name)) return name;
  let encoded = "";
  for (const byte of Buffer.from(name)) {
    const isPlain = byte >= 0x21 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

function contentTypeOf(task: ClaimedTask): string | null {
  if (task.body.kind === "none") return null;
  return task.body.kind === "payload" ? "application/json" : task.body.contentType;
}
