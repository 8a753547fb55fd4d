// Owns an answer as a handler gives it, and writing it: handlers see neither Express nor the socket.

import type { ServerResponse } from "node:http";

export interface Answer {
  readonly status: number;
  /** Lower-case names; `content-type` is `application/json` where it is left out. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** A 200 of JSON text. */
export function jsonAnswer(body: string): Answer {
  return { status: 200, body };
}

const noContent = 204;

/** Answers carry callers' payloads: no cache may keep them, unless the answer says otherwise. */
const commonHeaders = { "content-type": "application/json", "cache-control": "no-store" };

/** Writes the whole answer in one go. Its length is stated, so that no chunked encoding is needed. */
export function send(response: ServerResponse, answer: Answer): void {
  if (answer.status === noContent) {
    // RFC 9110 section 8.6: it has no length, and so no type.
    response.writeHead(noContent, { "cache-control": "no-store", ...answer.headers }).end();
    return;
  }
  const length = typeof answer.body === "string" ? Buffer.byteLength(answer.body) : answer.body.length;
  response.writeHead(answer.status, { ...commonHeaders, ...answer.headers, "content-length": length });
  response.end(answer.body);
}
