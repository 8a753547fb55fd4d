// Owns the listening socket: its limits, what it says to requests that cannot be read, and closing it without cutting an answer off.

import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { startTimer } from "../runtime/clock.ts";
import { send } from "./answer.ts";
import { isStreaming } from "./body-stream.ts";
import { headersCountMax } from "./limits.ts";
import { ApiProblem, problemAnswer } from "./problem.ts";

export interface ServerLimits {
  /** A client that sends its head, or its whole request, slower than this is cut off (slow loris). */
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** How often those two are looked at. */
  readonly checkMs: number;
  /** A connection on which nothing moves in either direction is closed: also one whose client does not read its answer. */
  readonly idleMs: number;
  /** Connections beyond are closed at once. */
  readonly connectionsMax: number;
}

export const serverLimits: ServerLimits = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  checkMs: 1_000,
  idleMs: 120_000,
  connectionsMax: 4_096,
};

const headerBytesMax = 16_384;
/** Longer than the usual 60 s of load balancers, so that it is not this side which closes a connection that is being reused. */
const keepAliveTimeoutMs = 65_000;
/** Answers under way at a stop have this long: more than Postgres has for a statement, so that an import can say where it stopped. */
const closeMsMax = 8_000;

export interface HttpServer {
  readonly url: string;
  /** Takes no new connection; resolves once those that stand are done, or after 8 s. */
  close(): Promise<void>;
}

/** Listens; rejects with the system's error where the address is taken. */
export async function listen(
  app: RequestListener,
  { host, port }: { host: string; port: number },
  limits = serverLimits,
): Promise<HttpServer> {
  const server = makeServer(app, limits);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => resolve());
  });
  const address = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = startTimer(closeMsMax, () => server.closeAllConnections());
      await closed;
      timer.cancel();
    },
  };
}

/** Node's parser stays strict (no `insecureHTTPParser`): what it cannot frame beyond doubt is refused, and its connection closed. */
function makeServer(app: RequestListener, limits: ServerLimits): Server {
  const { headersTimeoutMs, requestTimeoutMs, checkMs, idleMs, connectionsMax } = limits;
  /** What follows on such a connection has been parsed by then, and is not carried out. */
  const refused = new WeakSet<object>();
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    if (refused.has(request.socket)) return;
    const fault = headFault(request);
    if (fault === null) return app(request, response);
    refused.add(request.socket);
    response.shouldKeepAlive = false;
    send(response, problemAnswer(fault));
  };
  const server = createServer(
    {
      maxHeaderSize: headerBytesMax,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: checkMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      // Both are said here, in the form of every other problem.
      requireHostHeader: false,
    },
    serve,
  );
  server.maxHeadersCount = 0; // Node would drop those beyond in silence.
  server.maxConnections = connectionsMax;
  server.setTimeout(idleMs);
  // RFC 9110, section 10.1.1: an expectation that is not known may be ignored; Node would answer it without a body.
  server.on("checkExpectation", serve);
  server.on("clientError", refuse);
  return server;
}

function headFault({ httpVersion, headers, rawHeaders }: IncomingMessage): ApiProblem | null {
  if (rawHeaders.length > 2 * headersCountMax)
    return new ApiProblem("headers-too-large", `A request may have at most ${headersCountMax} headers.`);
  if (httpVersion !== "1.1" && httpVersion !== "1.0")
    return new ApiProblem("malformed-request", "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
  // RFC 9112, section 3.2.
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === "host");
  if (hosts.length > 1 || (hosts.length === 0 && httpVersion === "1.1"))
    return new ApiProblem("malformed-request", "A request must name its host, once.");
  // RFC 9112, section 6.1: its framing is faulty.
  if (httpVersion === "1.0" && headers["transfer-encoding"] !== undefined)
    return new ApiProblem("malformed-request", "Only HTTP/1.1 has transfer codings.");
  return null;
}

/**
 * Answers what the parser refused, where nothing was answered yet, and closes: nobody knows where a next request would begin. One whose
 * body is read as it comes goes on past the limit on a request's whole time; its answer has begun, so nothing can be said but by closing.
 */
function refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (isStreaming(socket) && error.code === "ERR_HTTP_REQUEST_TIMEOUT") return;
  if (!socket.writable || isStreaming(socket) || error.code === "ECONNRESET") return void socket.destroy();
  const { status, headers, body } = problemAnswer(problemOf(error.code ?? ""));
  const lines = Object.entries({ ...headers, "content-length": Buffer.byteLength(body), connection: "close" });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  socket.end(`HTTP/1.1 ${status} Refused\r\n${head}\r\n${body.toString()}`, () => socket.destroy());
}

function problemOf(code: string): ApiProblem {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return new ApiProblem("headers-too-large", `The head of a request may have at most ${headerBytesMax} bytes.`);
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new ApiProblem("request-timeout", "The request did not come whole in time.");
    default:
      return new ApiProblem("malformed-request", "This is not HTTP as RFC 9112 has it.");
  }
}
