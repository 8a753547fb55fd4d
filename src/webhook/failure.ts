// Owns what a failed call is called: undici's, Node's and OpenSSL's errors as results, in words that tell neither the address that a name
// resolved to nor anything else of the network that Lapse runs in.

import { errors } from "undici";
import type { AttemptResult } from "../task/attempt-result.ts";
import { blockedCode } from "./connector.ts";

const connectWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was closed before anything was sent",
  ENOTFOUND: "the host name does not exist",
  EAI_AGAIN: "the host name could not be looked up",
  ETIMEDOUT: "the host does not answer",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  ERR_TLS_CERT_ALTNAME_INVALID: "the TLS certificate is for another host name",
  CERT_HAS_EXPIRED: "the TLS certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the TLS certificate is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "the TLS certificate comes from an unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the TLS certificate comes from an unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the TLS certificate comes from an unknown authority",
};

/** Of a call whose request had not begun to be written. */
export function failedToConnect(error: unknown, host: string): AttemptResult {
  // With several addresses tried, the first one's fault stands for all.
  const cause: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const code = codeOf(cause);
  if (code === blockedCode) return blockedAddress(host);
  if (cause instanceof errors.InvalidArgumentError) {
    return { kind: "blocked", error: `The request cannot be sent as it is: ${cause.message}` };
  }
  const words = connectWords[code];
  return {
    kind: "refused",
    error: words === undefined ? `No connection (${code})` : `No connection: ${words} (${code})`,
  };
}

/** Of a call whose request was sent, at least in part. */
export function failedToAnswer(error: unknown): AttemptResult {
  const code = codeOf(error);
  if (error instanceof errors.HTTPParserError)
    return { kind: "reset", error: `What came back is not HTTP/1.1 (${code})` };
  if (error instanceof errors.HeadersOverflowError)
    return { kind: "reset", error: "The answer's headers are too large" };
  if (error instanceof errors.ResponseContentLengthMismatchError) {
    return { kind: "reset", error: "The answer's body is not as long as its content-length" };
  }
  return { kind: "reset", error: `The connection broke before a whole answer came (${code})` };
}

/** The same for a port that is open and one that is not: nothing was tried. */
export function blockedAddress(host: string): AttemptResult {
  return { kind: "blocked", error: `egress_blocked: ${host} is not an address that webhooks may go to` };
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "unknown";
}
