// Owns the benchmarks' receiver: a process of its own that answers 204 and tells, on request, what came when.

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** The first of a task, in ms since the epoch. */
export interface Call {
  readonly dueAt: number;
  readonly at: number;
}

export interface Taken {
  /** One a task, in the order in which they came. */
  readonly calls: readonly Call[];
  /** Calls of a task that had been called before. */
  readonly repeats: number;
}

let calls: Call[] = [];
let seen = new Set<string>();
let repeats = 0;
let waiting: { readonly count: number; readonly response: ServerResponse } | null = null;

const server = createServer((request, response) => {
  request.resume();
  // GET /?count=N is answered once N tasks were called, GET / at once.
  if (request.method === "GET") {
    waiting = { count: Number(new URL(request.url ?? "/", "http://localhost").searchParams.get("count")), response };
    return tell();
  }
  receive(String(request.headers["webhook-id"]), Date.parse(String(request.headers["lapse-due-at"])));
  response.writeHead(204).end();
  tell();
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit(1));

function receive(id: string, dueAt: number): void {
  if (seen.has(id)) repeats += 1;
  else calls.push({ dueAt, at: performance.timeOrigin + performance.now() });
  seen.add(id);
}

/** Tells, and starts anew. */
function tell(): void {
  if (waiting === null || calls.length < waiting.count) return;
  const taken: Taken = { calls, repeats };
  waiting.response.end(JSON.stringify(taken));
  waiting = null;
  calls = [];
  seen = new Set();
  repeats = 0;
}
