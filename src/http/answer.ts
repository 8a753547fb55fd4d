// Owns an answer as a handler gives it, and writing it: handlers see neither Express nor the socket.

import type { ServerResponse } from "node:http";
import type { EventSink } from "../events/event-stream.ts";
import { securityHeaders } from "./security-headers.ts";

export interface Answer {
  readonly status: number;
  /** Lower-case names; `content-type` is `application/json` where it is left out. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** Where an answer that goes on is written to. */
export interface AnswerSink extends EventSink {
  /** What was written and still stands in this process: its client does not read as fast. */
  readonly waitingBytes: number;
}

/** An answer that goes on: what is written later is sent at once. */
export interface StreamAnswer {
  readonly status: 200;
  readonly headers: Readonly<Record<string, string>>;
  /** Begins it; the sink's close ends it. */
  open(sink: AnswerSink): void;
  /** The caller would not be let in any more. Where it is left out, the stream just ends. */
  refuse?(why: Error): void;
}

/** A 200 of JSON text. */
export function jsonAnswer(body: string): Answer {
  return { status: 200, body };
}

const noContent = 204;
/** A short body is sent in one piece with its head, as text; a longer one would be copied for that. In characters. */
const textMax = 16_384;

/** Answers carry callers' payloads: no cache may keep them, unless the answer says otherwise. */
const emptyHeaders = { ...securityHeaders, "cache-control": "no-store" };
const commonHeaders = { ...emptyHeaders, "content-type": "application/json" };

/** Begins a stream: its head is sent at once, so that the client knows that it is connected. */
export function sendStream(response: ServerResponse, answer: StreamAnswer): AnswerSink {
  response.writeHead(answer.status, { ...emptyHeaders, ...answer.headers });
  response.flushHeaders();
  const sink = createSink(response);
  answer.open(sink);
  return sink;
}

function createSink(response: ServerResponse): AnswerSink {
  let isClosed = response.destroyed;
  const actions: (() => void)[] = [];
  response.on("close", () => {
    isClosed = true;
    for (const action of actions.splice(0)) action();
  });
  return {
    write: (text) => isClosed || response.write(text),
    drained: () =>
      new Promise((resolve) => {
        if (isClosed || !response.writableNeedDrain) return resolve();
        response.once("drain", resolve);
        actions.push(resolve);
      }),
    get isClosed() {
      return isClosed;
    },
    get waitingBytes() {
      return isClosed ? 0 : response.writableLength;
    },
    end(now = false) {
      if (now) response.destroy();
      else response.end();
    },
    onClose(action) {
      if (isClosed) action();
      else actions.push(action);
    },
  };
}

/** Writes the whole answer in one go. Its length is stated, so that no chunked encoding is needed. */
export function send(response: ServerResponse, answer: Answer): void {
  if (answer.status === noContent) {
    // RFC 9110 section 8.6: it has no length, and so no type.
    response.writeHead(noContent, { ...emptyHeaders, ...answer.headers }).end();
    return;
  }
  const body = typeof answer.body === "string" && answer.body.length > textMax ? Buffer.from(answer.body) : answer.body;
  const length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  response.writeHead(answer.status, { ...commonHeaders, ...answer.headers, "content-length": length });
  response.end(body);
}
