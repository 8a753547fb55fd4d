// Owns reading a request's body: its content type, its size, its encoding, and JSON as both text and value.

import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { pointer, unstorableStrings } from "./json-spans.ts";
import { faultsMax } from "./limits.ts";
import { ApiProblem, type Fault } from "./problem.ts";

export interface JsonBody {
  /** As it was written: the payload's own text is cut out of it. */
  readonly text: string;
  readonly value: unknown;
  /** Strings that cannot be stored. */
  readonly faults: readonly Fault[];
}

/** Reads the whole body as JSON. Throws a 400, 413 or 415 problem; a body over the limit is not held in memory. */
export async function readJson(request: IncomingMessage, bytesMax: number): Promise<JsonBody> {
  checkContentType(request, "application/json");
  const bytes = await readBytes(request, bytesMax);
  if (!isUtf8(bytes)) throw new ApiProblem("malformed-json", "The body is not valid UTF-8.");
  const text = bytes.toString("utf8");
  return { text, value: parseJson(text), faults: unstorableFaults(text) };
}

/** Strings that JSON can write and Postgres cannot hold. */
export function unstorableFaults(text: string): Fault[] {
  return unstorableStrings(text, faultsMax).map((path) => ({ path, message: "must not hold NUL or a lone surrogate" }));
}

export type BodyType = "application/json" | "application/x-ndjson";

/** RFC 8259: JSON is UTF-8; a charset that says otherwise is refused, as is a body that is compressed. */
const contentTypes: Readonly<Record<BodyType, RegExp>> = {
  "application/json": /^application\/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i,
  "application/x-ndjson": /^application\/x-ndjson[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i,
};

/** Throws a 415 problem for a body of another type, or one that is compressed. */
export function checkContentType(request: IncomingMessage, type: BodyType): void {
  const contentType = request.headers["content-type"];
  if (contentType === undefined || !contentTypes[type].test(contentType)) {
    throw new ApiProblem("unsupported-media-type", `Send the body as ${type}, in UTF-8.`);
  }
  const encoding = request.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new ApiProblem("unsupported-media-type", "Send the body uncompressed, without content-encoding.");
  }
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const detail =
      text.trim() === "" ? "The body is empty." : `${error instanceof Error ? plainMessage(error) : "Not JSON"}.`;
    throw new ApiProblem("malformed-json", detail);
  }
}

/** V8 quotes a piece of the text, which may be secret: only what is wrong and where is kept. */
function plainMessage(error: Error): string {
  const position = /at position \d+(?: \(line \d+ column \d+\))?/.exec(error.message);
  return position === null ? "The body ends too soon, or is no JSON" : `Unexpected text ${position[0]}`;
}

function readBytes(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const stated = Number(request.headers["content-length"] ?? 0);
  if (stated > bytesMax) throw tooLarge(bytesMax);
  // It may have ended while its key was looked up: then none of the events below comes any more.
  if (request.destroyed && !request.readableEnded) throw endedEarly();
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      // Past the limit the rest is read and dropped, so that the client gets to see the answer.
      if (length <= bytesMax) chunks.push(chunk);
      else {
        chunks.length = 0;
        reject(tooLarge(bytesMax));
      }
    });
    request.on("end", () =>
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)),
    );
    // An error is dear to make, and every request closes.
    request.on("close", () => {
      if (!request.readableEnded) reject(endedEarly());
    });
    request.on("error", () => undefined); // The client is gone; its close follows.
  });
}

function endedEarly(): ApiProblem {
  return new ApiProblem("malformed-request", "The request ended before its body did.");
}

function tooLarge(bytesMax: number): ApiProblem {
  return new ApiProblem("too-large", `The body may have at most ${bytesMax} bytes.`);
}

/** A fault's path is inside the value at `path`. */
export function isWithin(fault: Fault, path: readonly PropertyKey[]): boolean {
  const prefix = pointer(path);
  return fault.path === prefix || fault.path.startsWith(`${prefix}/`);
}
