// Owns the shop's webhook receiver: an order whose deadline has passed lapses, once, and only if no payment came first.

/* oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 hands what a handler rejects with to the error handler. */

import express, { type Request, Router } from "express";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import type { LapseClient } from "./lapse-client.ts";
import type { OrderBook } from "./orders.ts";

export interface DeadlineHookParts {
  readonly lapse: LapseClient;
  readonly orders: OrderBook;
  readonly signingSecrets: readonly string[];
}

/** Answers 200 where it acted and 204 where there was nothing to do. Anything else says that it did not act: Lapse tries again. */
export function deadlineHook({ lapse, orders, signingSecrets }: DeadlineHookParts): Router {
  const verifiers = signingSecrets.map((secret) => new Webhook(secret));
  const router = Router();

  // Raw, since the signature is that of the bytes as they came.
  router.post("/", express.raw({ type: "application/json" }), async (request, response) => {
    const webhook = verify(request, verifiers);
    if (webhook === null) return void response.sendStatus(401);

    const order = await orders.find(webhook.orderId);
    if (order === null) return void response.sendStatus(410); // No further attempts: it will not come to be.

    // Ask, then act. Once confirmed, a cancel is refused; once a cancel came first, the confirm is: so payment and deadline
    // never both win.
    const mayAct = await lapse.confirm({
      taskId: webhook.id,
      attempt: Number(request.get("lapse-attempt")),
      confirmToken: request.get("lapse-confirm-token") ?? "",
    });
    if (!mayAct) return void response.sendStatus(204);

    // A lost answer makes Lapse call again, with the same webhook-id: the shop drops such a repeat.
    const isFirst = await orders.markLapsed(order.id, webhook.id);
    response.sendStatus(isFirst ? 200 : 204);
  });

  return router;
}

interface DeadlineWebhook {
  /** The task's id. */
  readonly id: string;
  readonly orderId: number;
}

/** What the webhook says; null where none of the secrets signed it. Two secrets stand side by side while one is replaced. */
function verify(request: Request, verifiers: readonly Webhook[]): DeadlineWebhook | null {
  const id = request.get("webhook-id") ?? "";
  const headers = {
    "webhook-id": id,
    "webhook-timestamp": request.get("webhook-timestamp") ?? "",
    "webhook-signature": request.get("webhook-signature") ?? "",
  };
  const body: unknown = request.body;
  if (!Buffer.isBuffer(body)) return null;
  for (const verifier of verifiers) {
    try {
      const { orderId } = verifier.verify(body, headers) as { orderId: number };
      return { id, orderId };
    } catch (error) {
      if (!(error instanceof WebhookVerificationError)) throw error;
    }
  }
  return null;
}
