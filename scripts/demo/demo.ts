// Owns the story of the demo: Lapse starts, a shop opens on it, customers come and go, and the books are compared.

import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { findFaults } from "./check.ts";
import { sendCustomers, sendForgery } from "./customers.ts";
import { type Door, openDoor } from "./door.ts";
import { collectEvidence } from "./evidence.ts";
import { createLapseClient } from "./lapse-client.ts";
import { type LapseProcess, startLapse } from "./lapse-process.ts";
import { Network } from "./network.ts";
import { OrderBook } from "./orders.ts";
import { startProgress } from "./progress.ts";
import { renderReport } from "./report.ts";
import { createShop } from "./shop.ts";

const payWithin = "3s";
const placingMs = 6_000;

export interface DemoOptions {
  readonly orderCount: number;
  readonly random: () => number;
  readonly out: NodeJS.WriteStream;
  /** Aborted from outside to end the demo, from within where it cannot go on. */
  readonly stopping: AbortController;
}

/** Runs the demo; true where nothing unexpected happened. Whatever it started has ended when it resolves or rejects. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { orderCount, out, stopping } = options;
  const { signal } = stopping;
  out.write(`A shop on Lapse: ${orderCount} orders, each of which lapses unless it is paid within ${payWithin}.\n\n`);

  await using lapseProcess = await startLapse({ signal, onDeath: (error) => stopping.abort(error) });
  await using door = await openDoor();
  out.write(`${describe(lapseProcess, door)}\n\n`);

  const lapse = createLapseClient(lapseProcess.url);
  const orders = new OrderBook();
  const network = new Network();
  const shop = createShop({
    lapse,
    orders,
    signingSecrets: await lapse.signingSecrets(),
    publicUrl: door.url,
    payWithin,
    onError: (error) => stopping.abort(error),
  });
  door.serve(express().use("/hooks", network.middleware).use(shop));

  using progress = startProgress({ out, orderCount, count: () => orders.count() });
  const [visits, forgeryStatus] = await Promise.all([
    sendCustomers({ shopUrl: door.url, count: orderCount, withinMs: placingMs, random: options.random, signal }),
    forgeOne({ shopUrl: door.url, orders, signal }),
  ]);
  const evidence = await collectEvidence({ lapse, orders, network, visits, forgeryStatus, signal });
  progress.end();

  const faults = [...findFaults(evidence), ...lapseProcess.errors.map((line) => `Lapse logged an error: ${line}`)];
  out.write(`\n${renderReport(evidence, faults, out)}\n`);
  return faults.length === 0;
}

function describe({ url, postgres, index }: LapseProcess, door: Door): string {
  const isWithoutRedis = !index.startsWith("Redis");
  return [
    `Lapse      ${url}`,
    `tasks      ${postgres}`,
    `due times  ${index}${isWithoutRedis ? ", since no Redis runs here ('npm run setup' says why); all works the same" : ""}`,
    `shop       ${door.url}`,
  ].join("\n");
}

/** In the midst of it all, somebody without the secret tries to have the newest order cancelled. */
async function forgeOne(parts: { shopUrl: string; orders: OrderBook; signal: AbortSignal }): Promise<number> {
  await sleep(placingMs / 2, undefined, { signal: parts.signal });
  return sendForgery(parts.shopUrl, parts.orders.all().at(-1)?.id ?? 0);
}
