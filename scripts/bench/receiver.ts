// Owns the benchmarks' receiver: a process of its own that answers 204 and reports, on request, what arrived and how late.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

interface Arrivals {
  readonly count: number;
  /** Arrival minus due time in ms, sorted. */
  readonly latenessMs: readonly number[];
  /** Of the first and the last arrival, in ms since the epoch. */
  readonly firstAt: number;
  readonly lastAt: number;
}

let latenessMs: number[] = [];
let firstAt = 0;
let lastAt = 0;

const server = createServer((request, response) => {
  request.resume();
  if (request.method === "GET") return void response.end(JSON.stringify(report()));
  const now = performance.timeOrigin + performance.now();
  if (firstAt === 0) firstAt = now;
  lastAt = now;
  latenessMs.push(now - Date.parse(String(request.headers["lapse-due-at"])));
  response.writeHead(204).end();
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));

/** Reports and starts anew. */
function report(): Arrivals {
  const arrivals = { count: latenessMs.length, latenessMs: latenessMs.toSorted((a, b) => a - b), firstAt, lastAt };
  if (arrivals.count > 0) {
    latenessMs = [];
    firstAt = 0;
    lastAt = 0;
  }
  return arrivals;
}
