// Owns the limit: what this machine does with the same HTTP and the same rows when nothing stands between. It keeps no promise but
// durability: no keys, no checks, no retries, no owners, no queues.

import type { AddressInfo } from "node:net";
import express, { type Express } from "express";
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

const connections = 4;
const bodyBytesMax = "16mb";
/** A single task that is due this soon is held by a timer alone: the limit of lateness has no store. */
const heldMs = 10_000;

export const limit: Contender = {
  async startWorker({ databaseUrl }) {
    await migrate(databaseUrl);
    const pool = openPool(databaseUrl, connections);
    await createTables(pool);
    const caller = openCaller();
    const loop = startLoop(pool, (row) => caller.call({ ...row, payload: JSON.parse(row.payload) }));
    const server = routesOf(pool, (row) => caller.call({ ...row, payload: JSON.parse(row.payload) })).listen(
      0,
      "127.0.0.1",
    );
    await new Promise((resolve) => server.once("listening", resolve));
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

function routesOf(pool: pg.Pool, call: (row: LimitRow) => Promise<void>): Express {
  const inserts = new Batcher((rows: readonly LimitRow[]) => insertRows(pool, rows));
  const cancels = new Batcher((ids: readonly string[]) => cancelRows(pool, ids));
  const app = express()
    .disable("x-powered-by")
    .disable("etag")
    .use(express.json({ limit: bodyBytesMax }));
  app.post("/v1/tasks", async (request, response) => {
    const row = rowOf(request.body as Asked);
    const leadMs = row.dueAt - Date.now();
    if (leadMs < heldMs) setTimeout(() => void call(row), leadMs);
    else await inserts.add(row);
    response.status(201).json({ ...(request.body as Asked), id: row.id, state: "scheduled" });
  });
  app.post("/v1/tasks/batch", async (request, response) => {
    const { tasks } = request.body as { readonly tasks: readonly Asked[] };
    const rows = tasks.map(rowOf);
    await insertRows(pool, rows);
    response.json({ items: rows.map((row, i) => ({ status: 201, task: { ...tasks[i], id: row.id } })) });
  });
  app.delete("/v1/tasks/:id", async (request, response) => {
    await cancels.add(request.params.id);
    response.json({ id: request.params.id, state: "cancelled" });
  });
  return app;
}

function rowOf({ url, dueAt, payload }: Asked): LimitRow {
  return { id: uuidv7(), dueAt: Date.parse(dueAt), url, payload: JSON.stringify(payload) };
}
