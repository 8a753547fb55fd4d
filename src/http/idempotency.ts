// Owns the Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): reading it, and the answers it leads to.

import { hash } from "node:crypto";
import type { IdempotencyScope } from "../intake/idempotency.ts";
import type { OnceOutcome } from "../intake/once.ts";
import type { Answer } from "./answer.ts";
import { idempotencyKeyCharsMax, inProgressRetryAfterSeconds } from "./limits.ts";
import { ApiProblem } from "./problem.ts";
import type { Call } from "./route.ts";
import { unreachable } from "../task/unreachable.ts";

const headerName = "idempotency-key";
/** Visible ASCII: bare, or as a structured-field string (RFC 8941) with its two escapes. */
const bareKey = /^[\x21\x23-\x7e][\x21-\x7e]*$/;
const quotedKey = /^"((?:[\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;

/** The key of a call, or null where it has none. Throws a 400 problem for one that is malformed or given twice. */
export function readIdempotencyKey(rawHeaders: readonly string[]): string | null {
  const lines = rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === headerName);
  const [line] = lines;
  if (line === undefined) return null;
  if (lines.length > 1) throw new ApiProblem("malformed-request", "Idempotency-Key must be given once only.");
  const key = unquote(line.trim());
  if (key !== null && key.length >= 1 && key.length <= idempotencyKeyCharsMax) return key;
  throw new ApiProblem(
    "malformed-request",
    `Idempotency-Key must be 1 to ${idempotencyKeyCharsMax} visible ASCII characters.`,
  );
}

function unquote(line: string): string | null {
  const quoted = quotedKey.exec(line)?.[1];
  if (quoted !== undefined) return quoted.replaceAll(/\\(.)/g, "$1");
  return bareKey.test(line) ? line : null;
}

/** What the key of a call is kept under, or null where the call has none. `fields` tells the validated ones, in a canonical form. */
export function idempotencyScope(call: Call, path: string, fields: () => string): IdempotencyScope | null {
  // The joined headers are asked first: nearly no call has the header, and the raw ones must be walked.
  const key = call.headers[headerName] === undefined ? null : readIdempotencyKey(call.rawHeaders);
  if (key === null) return null;
  return {
    apiKeyId: call.caller.apiKeyId,
    method: "POST",
    path,
    key,
    fingerprint: hash("sha256", fields(), "base64url"),
  };
}

/** The answer of a call under a key: the first one again where it is a repeat. */
export function onceAnswer(outcome: OnceOutcome): Answer {
  switch (outcome.kind) {
    case "answered":
      return outcome.replayed
        ? { ...outcome.answer, headers: { ...outcome.answer.headers, "idempotency-replayed": "true" } }
        : outcome.answer;
    case "mismatch":
      throw new ApiProblem("idempotency-key-reused", "The first request with this key had other fields.");
    case "in-progress":
      throw new ApiProblem("idempotency-in-progress", {
        detail: "Repeat it: the answer of the first request will then be given again.",
        headers: { "retry-after": String(inProgressRetryAfterSeconds) },
      });
    default:
      return unreachable(outcome);
  }
}
