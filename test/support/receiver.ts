// A receiver of webhooks for tests: a real HTTP server that records every request and answers as it is told.

import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How long `next` waits before it says what did arrive. */
const nextMsMax = 5_000;

export interface ReceivedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Name, value, name, value …, as they were sent. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** When its head had come, before its body: ms since the epoch by this host's clock, with fractions. */
  readonly arrivedAt: number;
}

/** What is left out: 200, no headers, no body, at once. */
export interface ReceiverAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  readonly delayMs?: number;
  /** Never answers; the connection stays open. */
  readonly hang?: boolean;
  /** Resets the connection instead of answering. */
  readonly reset?: boolean;
  /** Resets the connection after the head and half of the body. */
  readonly isCutShort?: boolean;
}

export type Answerer = (request: ReceivedRequest) => ReceiverAnswer | Promise<ReceiverAnswer>;

export interface Receiver {
  readonly url: string;
  /** All that came, each once its body was whole. */
  readonly requests: readonly ReceivedRequest[];
  /** Takes the first request that fits and was not taken yet, waiting for it if need be; rejects after 5 s with what did arrive. */
  readonly next: (predicate?: (request: ReceivedRequest) => boolean) => Promise<ReceivedRequest>;
  /** How requests are answered from now on. */
  readonly answer: (answer: ReceiverAnswer | Answerer) => void;
  /** Drops every connection. */
  readonly close: () => Promise<void>;
}

export interface ReceiverOptions {
  readonly answer?: ReceiverAnswer | Answerer;
  readonly host?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
}

interface Waiter {
  readonly fits: (request: ReceivedRequest) => boolean;
  readonly resolve: (request: ReceivedRequest) => void;
}

export async function startReceiver(options: ReceiverOptions = {}): Promise<Receiver> {
  const { host = "127.0.0.1", port = 0 } = options;
  const requests: ReceivedRequest[] = [];
  const untaken = new Set<ReceivedRequest>();
  const waiters = new Set<Waiter>();
  let answerer = toAnswerer(options.answer ?? {});

  const arrive = (request: ReceivedRequest): void => {
    requests.push(request);
    for (const waiter of waiters) {
      if (!waiter.fits(request)) continue;
      waiters.delete(waiter);
      return waiter.resolve(request);
    }
    untaken.add(request);
  };

  const serve = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const request = await receive(message);
      arrive(request);
      await respond(response, await answerer(request));
    } catch {
      // A sender that goes away while it sends or waits is what some tests are about.
      response.destroy();
    }
  };
  const server = createServer((message, response) => void serve(message, response));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, resolve);
  });

  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    requests,
    next: (fits = () => true) => {
      const standing = [...untaken].find(fits);
      if (standing !== undefined) {
        untaken.delete(standing);
        return Promise.resolve(standing);
      }
      return new Promise((resolve, reject) => {
        const waiter: Waiter = {
          fits,
          resolve: (request) => {
            clearTimeout(timeout);
            resolve(request);
          },
        };
        waiters.add(waiter);
        const timeout = setTimeout(() => {
          waiters.delete(waiter);
          reject(new Error(`No such request within ${nextMsMax} ms; ${describe(requests)}`));
        }, nextMsMax);
      });
    },
    answer: (next) => {
      answerer = toAnswerer(next);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function toAnswerer(answer: ReceiverAnswer | Answerer): Answerer {
  return typeof answer === "function" ? answer : () => answer;
}

async function receive(message: IncomingMessage): Promise<ReceivedRequest> {
  const arrivedAt = performance.timeOrigin + performance.now();
  const chunks: Buffer[] = [];
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
  const { method = "", url: path = "", headers, rawHeaders } = message;
  return { method, path, headers, rawHeaders, body: Buffer.concat(chunks), arrivedAt };
}

async function respond(response: ServerResponse, answer: ReceiverAnswer): Promise<void> {
  const {
    status = 200,
    headers = {},
    body = "",
    delayMs = 0,
    hang = false,
    reset = false,
    isCutShort = false,
  } = answer;
  if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
  if (hang) return;
  if (reset) {
    response.socket?.resetAndDestroy();
    return;
  }
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (!isCutShort) return void response.writeHead(status).end(body);
  response.writeHead(status, { "content-length": body.length });
  response.write(body.slice(0, body.length / 2), () => response.socket?.resetAndDestroy());
}

function describe(requests: readonly ReceivedRequest[]): string {
  if (requests.length === 0) return "nothing arrived";
  const lines = requests.map(
    ({ method, path, headers }) => `${method} ${path} (webhook-id ${String(headers["webhook-id"])})`,
  );
  return `${requests.length} arrived:\n${lines.slice(-20).join("\n")}`;
}
