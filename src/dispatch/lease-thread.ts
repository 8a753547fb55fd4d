// Owns the renewal of a dispatcher's lease: a thread that does nothing else, so that a busy event loop cannot starve it.

import { parentPort, workerData } from "node:worker_threads";
import pg from "pg";
import { monotonicMs, sleep } from "../runtime/clock.ts";
import { LeaseCell, type LeaseThreadData } from "./lease-cell.ts";

const renewMs = 3_000;
const retryMs = 250;
const callTimeoutMs = 2_000;
/** Renewals further apart than this mean that the connection, or the process, was away. */
const steadyGapMsMax = 6_000;

const { databaseUrl, id, leaseMs, buffer } = workerData as LeaseThreadData;
const cell = new LeaseCell(buffer);
const stopped = new AbortController();
parentPort?.on("message", () => stopped.abort());

/** Null: not connected. A call that hangs is given up, and its connection with it. */
let client: pg.Client | null = null;
let registered = false;
let lastRenewedMs = Number.NEGATIVE_INFINITY;
let steadySinceMs = 0;

while (!stopped.signal.aborted) {
  const sentMs = monotonicMs();
  const renewed = await renew().catch(() => "unreachable" as const);
  if (renewed === "dead") {
    cell.die();
    parentPort?.postMessage("dead");
    break;
  }
  if (renewed === "renewed") {
    const wasAway = sentMs - lastRenewedMs > steadyGapMsMax;
    if (wasAway) steadySinceMs = monotonicMs();
    lastRenewedMs = sentMs;
    // The lease counts from before the call was sent: Postgres's own reckoning ends no earlier.
    cell.renew(sentMs + leaseMs, steadySinceMs);
    if (wasAway) parentPort?.postMessage("held");
    registered = true;
  }
  await sleep(renewed === "renewed" ? renewMs : retryMs, stopped.signal);
}
await disconnect();
// Ends this thread, also where its connection is half-open and would keep it.
process.exit();

async function renew(): Promise<"renewed" | "dead" | "unreachable"> {
  try {
    client ??= await connect();
    const lease = `clock_timestamp() + ${leaseMs} * interval '1 millisecond'`;
    const text = registered
      ? `update lapse.dispatchers set lease_until = ${lease} where id = $1 and dead_at is null`
      : `insert into lapse.dispatchers (id, lease_until) values ($1, ${lease}) on conflict (id) do update set lease_until = excluded.lease_until`;
    const result = await client.query(text, [id]);
    return result.rowCount === 1 ? "renewed" : "dead";
  } catch {
    await disconnect();
    return "unreachable";
  }
}

async function connect(): Promise<pg.Client> {
  const fresh = new pg.Client({
    connectionString: databaseUrl,
    application_name: "lapse-lease",
    connectionTimeoutMillis: callTimeoutMs,
    query_timeout: callTimeoutMs,
    keepAlive: true,
  });
  fresh.on("error", () => {
    if (client === fresh) client = null;
  });
  await fresh.connect();
  return fresh;
}

async function disconnect(): Promise<void> {
  const old = client;
  client = null;
  // A half-open connection never answers a polite goodbye.
  if (old !== null) await Promise.race([old.end().catch(() => undefined), sleep(retryMs)]);
}
