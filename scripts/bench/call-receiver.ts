// Owns a receiver that keeps the order of its calls: a process of its own that answers 204 and tells, on request, what came when.

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** In ms since the epoch. */
export interface Call {
  readonly dueAt: number;
  readonly at: number;
}

let calls: Call[] = [];
let waiting: { readonly count: number; readonly response: ServerResponse } | null = null;

const server = createServer((request, response) => {
  request.resume();
  // GET /?count=N is answered once N calls were made, GET / at once.
  if (request.method === "GET") {
    waiting = { count: Number(new URL(request.url ?? "/", "http://localhost").searchParams.get("count")), response };
    return tell();
  }
  calls.push({
    dueAt: Date.parse(String(request.headers["lapse-due-at"])),
    at: performance.timeOrigin + performance.now(),
  });
  response.writeHead(204).end();
  tell();
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit(1));

/** Tells, and starts anew. */
function tell(): void {
  if (waiting === null || calls.length < waiting.count) return;
  waiting.response.end(JSON.stringify(calls));
  waiting = null;
  calls = [];
}
