// Owns the shop's API: placing an order, which sets its deadline in Lapse, and paying, which must win against that deadline.

/* oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands what a handler rejects with to the error handler. */

import express, { type ErrorRequestHandler, type Express } from "express";
import { deadlineHook } from "./deadline-hook.ts";
import type { LapseClient } from "./lapse-client.ts";
import type { OrderBook } from "./orders.ts";

/** How long a payment waits where the deadline's call is in flight; the receiver needs some ms. */
const raceWait = "5s";
const cancelTriesMax = 3;
const hookPath = "/hooks/cancel-order";

export interface ShopParts {
  readonly lapse: LapseClient;
  readonly orders: OrderBook;
  /** Those that Lapse signs its webhooks with. */
  readonly signingSecrets: readonly string[];
  /** Where Lapse reaches the shop. */
  readonly publicUrl: string;
  /** A duration, such as `30m`. */
  readonly payWithin: string;
  /** Hears of what went wrong inside the shop; whoever called is answered with a 500. */
  readonly onError: (error: unknown) => void;
}

export function createShop(parts: ShopParts): Express {
  const { lapse, orders, publicUrl, payWithin } = parts;
  const shop = express();

  shop.post("/orders", async (_request, response) => {
    const id = orders.nextId();
    // The task before the order: a crash in between leaves a webhook that finds no order, and nothing happens. The other way
    // round it would leave an order that never lapses.
    const task = await lapse.schedule({
      url: `${publicUrl}${hookPath}`,
      delay: payWithin,
      key: deadlineKey(id),
      payload: { orderId: id },
      timeout: "5s",
      retry: { maxAttempts: 10, backoff: "fixed", minDelay: "500ms" },
    });
    const payBefore = Date.parse(task.dueAt);
    await orders.insert({ id, taskId: task.id, payBefore });
    response.status(201).json({ id, payBefore });
  });

  shop.post("/orders/:id/payment", async (request, response) => {
    const order = await orders.find(Number(request.params.id));
    if (order === null) return void response.sendStatus(404);
    // The money is only reserved so far. Who wins, payment or deadline, is for Lapse to say, and the shop obeys.
    if (await cancelDeadline(order.id)) {
      await orders.markPaid(order.id);
      response.json({ result: "paid" });
    } else {
      await orders.markRefunded(order.id);
      response.status(409).json({ result: "refunded" });
    }
  });

  /** True: the webhook was called off, for good. False: it has been acted upon, or will be. */
  async function cancelDeadline(orderId: number): Promise<boolean> {
    for (let tries = 0; tries < cancelTriesMax; tries += 1) {
      const answer = await lapse.cancelByKey(deadlineKey(orderId), { wait: raceWait });
      if (answer !== "undecided") return answer === "cancelled";
    }
    throw new Error(`order ${orderId}: the deadline's call did not end`);
  }

  shop.use(hookPath, deadlineHook(parts));
  shop.use(errorHandler(parts.onError));
  return shop;
}

/** The shop's own name for the task: all it needs to remember. */
function deadlineKey(orderId: number): string {
  return `order-${orderId}:payment-timeout`;
}

function errorHandler(onError: (error: unknown) => void): ErrorRequestHandler {
  // oxlint-disable-next-line eslint/max-params -- Express knows error handlers by their four parameters.
  return (error, _request, response, next) => {
    onError(error);
    if (response.headersSent) return next(error);
    response.sendStatus(500);
  };
}
