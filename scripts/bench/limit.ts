// Owns the limit: what this machine does with the same HTTP and the same rows when nothing stands between. It keeps no promise but
// durability: no routes, keys, checks, retries, owners or queues.

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { migrate } from "../../src/store/migrate.ts";
import { Batcher } from "./batcher.ts";
import { openCaller } from "./caller.ts";
import type { Contender } from "./contender.ts";
import { openHttpProducer } from "./http-producer.ts";
import { cancelRows, countSql, createTables, insertRows, type LimitRow, startLoop } from "./limit-store.ts";
import { openPool } from "./pg-pool.ts";

interface Asked {
  readonly url: string;
  readonly dueAt: string;
  readonly payload: unknown;
}

type Call = (row: LimitRow) => Promise<void>;

const connections = 4;
/** A single task that is due this soon is held by a timer alone: the limit of lateness has no store. */
const heldMs = 10_000;
const jsonHeaders = { "content-type": "application/json" };

export const limit: Contender = {
  async startWorker({ databaseUrl }) {
    await migrate(databaseUrl);
    const pool = openPool(databaseUrl, connections);
    await createTables(pool);
    const caller = openCaller();
    const call: Call = (row) => caller.call(row);
    const loop = startLoop(pool, call);
    const server = serve(pool, call).listen(0, "127.0.0.1");
    await once(server, "listening");
    return {
      address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      async stop() {
        server.close().closeAllConnections();
        await loop.stop();
        await caller.close();
        await pool.end();
      },
    };
  },
  openProducer(servers, address) {
    if (address === null) throw new Error("the limit is reached over HTTP");
    return Promise.resolve(openHttpProducer(servers, address, countSql));
  },
};

/** Knows three requests by their method and the length of their path. */
function serve(pool: pg.Pool, call: Call): Server {
  const inserts = new Batcher((rows: readonly LimitRow[]) => insertRows(pool, rows));
  const cancels = new Batcher((ids: readonly string[]) => cancelRows(pool, ids));
  const add = async (text: string, response: ServerResponse): Promise<void> => {
    const asked = JSON.parse(text) as Asked;
    const row = rowOf(asked);
    const leadMs = row.dueAt - Date.now();
    if (leadMs < heldMs) setTimeout(() => void call(row), leadMs);
    else await inserts.add(row);
    answer(response, 201, { ...asked, id: row.id, state: "scheduled" });
  };
  const addMany = async (text: string, response: ServerResponse): Promise<void> => {
    const { tasks } = JSON.parse(text) as { readonly tasks: readonly Asked[] };
    const rows = tasks.map(rowOf);
    await insertRows(pool, rows);
    answer(response, 200, { items: rows.map(({ id }, i) => ({ status: 201, task: { ...tasks[i], id } })) });
  };
  const cancel = async (id: string, response: ServerResponse): Promise<void> => {
    await cancels.add(id);
    answer(response, 200, { id, state: "cancelled" });
  };
  return createServer((request, response) => {
    const { method, url = "" } = request;
    const done =
      method === "DELETE"
        ? cancel(url.slice(url.lastIndexOf("/") + 1), response)
        : readBody(request).then((text) => (url === "/v1/tasks" ? add(text, response) : addMany(text, response)));
    done.catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
}

function answer(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { ...jsonHeaders, "content-length": Buffer.byteLength(text) }).end(text);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(request, "end");
  return Buffer.concat(chunks).toString();
}

function rowOf({ url, dueAt, payload }: Asked): LimitRow {
  return { id: uuidv7(), dueAt: Date.parse(dueAt), url, payload: JSON.stringify(payload) };
}
