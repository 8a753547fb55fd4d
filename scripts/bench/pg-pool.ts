// Owns how the benchmark connects to Postgres: at a turn's end its database is dropped, and with it whatever is still connected.

import pg from "pg";

export function openPool(connectionString: string, max: number, options = ""): pg.Pool {
  const pool = new pg.Pool({ connectionString, max, options });
  // A statement that breaks off rejects by itself.
  pool.on("connect", (client) => client.on("error", () => undefined));
  pool.on("error", () => undefined);
  return pool;
}
