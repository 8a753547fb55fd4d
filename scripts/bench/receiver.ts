// Owns the benchmarks' receiver: a process of its own that answers 204 and reports, on request, what arrived and how late.

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Arrivals {
  /** Different tasks. */
  readonly count: number;
  /** Calls of a task that had been called before. */
  readonly repeats: number;
  /** Arrival minus due time in ms, sorted. */
  readonly latenessMs: readonly number[];
  /** Of the first and the last arrival, in ms since the epoch. */
  readonly firstAt: number;
  readonly lastAt: number;
}

interface Waiting {
  readonly count: number;
  readonly response: ServerResponse;
}

let latenessMs: number[] = [];
let seen = new Set<string>();
let repeats = 0;
let firstAt = 0;
let lastAt = 0;
let waiting: Waiting | null = null;

const server = createServer((request, response) => {
  request.resume();
  // GET /?count=N is answered once N tasks were called, GET / at once.
  if (request.method === "GET") {
    waiting = { count: Number(new URL(request.url ?? "/", "http://localhost").searchParams.get("count")), response };
    return answerWaiting();
  }
  receive(String(request.headers["webhook-id"]), Date.parse(String(request.headers["lapse-due-at"])));
  response.writeHead(204).end();
  answerWaiting();
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit(1));

function receive(id: string, dueAt: number): void {
  const now = performance.timeOrigin + performance.now();
  if (firstAt === 0) firstAt = now;
  lastAt = now;
  if (seen.has(id)) repeats += 1;
  else latenessMs.push(now - dueAt);
  seen.add(id);
}

/** Reports and starts anew. */
function answerWaiting(): void {
  if (waiting === null || latenessMs.length < waiting.count) return;
  const sorted = latenessMs.toSorted((a, b) => a - b);
  const arrivals: Arrivals = { count: sorted.length, repeats, latenessMs: sorted, firstAt, lastAt };
  waiting.response.end(JSON.stringify(arrivals));
  waiting = null;
  latenessMs = [];
  seen = new Set();
  repeats = 0;
  firstAt = 0;
  lastAt = 0;
}
