// Owns the HTTP calls that a contender other than Lapse makes when a task is due, by the same client as Lapse's.

import { Pool } from "undici";
import { concurrency } from "./contender.ts";

export interface DueCall {
  readonly id: string;
  readonly dueAt: number;
  readonly url: string;
  /** A string is JSON already. */
  readonly payload: unknown;
}

export interface Caller {
  /** Rejects unless it was answered 2xx. */
  call(due: DueCall): Promise<void>;
  close(): Promise<void>;
}

export function openCaller(): Caller {
  const pools = new Map<string, Pool>();
  return {
    async call({ id, dueAt, url, payload }) {
      const { origin, pathname } = new URL(url);
      let pool = pools.get(origin);
      if (pool === undefined) pools.set(origin, (pool = new Pool(origin, { connections: concurrency })));
      const { statusCode, body } = await pool.request({
        path: pathname,
        method: "POST",
        headers: {
          "content-type": "application/json",
          "webhook-id": id,
          "lapse-due-at": new Date(dueAt).toISOString(),
        },
        body: typeof payload === "string" ? payload : JSON.stringify(payload),
      });
      await body.dump();
      if (statusCode >= 300) throw new Error(`POST ${url}: ${statusCode}`);
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
    },
  };
}
