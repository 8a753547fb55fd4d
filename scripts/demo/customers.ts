// Owns the shop's customers: three of five pay in time, one at the very last moment, one never. And a stranger who pays nothing.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

/** Who pays in time does so after this share of the time allowed. */
const promptShare = { min: 0.05, max: 0.8 };
/** When a last-moment payment is sent, seen from the deadline: some arrive before it, some while the webhook is in flight, some after. */
const lastMomentMs = { min: -20, max: 30 };

const plans = ["in-time", "in-time", "last-moment", "in-time", "never"] as const;
export type Plan = (typeof plans)[number];

export interface Visit {
  readonly plan: Plan;
  readonly orderId: number;
  /** What the shop said to the payment. */
  readonly payment: "paid" | "refunded" | "none";
}

export interface CustomerOptions {
  readonly shopUrl: string;
  readonly count: number;
  /** They come evenly spread over this time. */
  readonly withinMs: number;
  readonly random: () => number;
  readonly signal: AbortSignal;
}

/** Resolves once every customer has left. Rejects where the shop answers anything that it should not, or the signal aborts. */
export async function sendCustomers(options: CustomerOptions): Promise<Visit[]> {
  const { count, withinMs, signal } = options;
  const visits = Array.from({ length: count }, async (_, index) => {
    await sleep((index * withinMs) / count, undefined, { signal });
    return visit(plans[index % plans.length] ?? "never", options);
  });
  return Promise.all(visits);
}

async function visit(plan: Plan, { shopUrl, random, signal }: CustomerOptions): Promise<Visit> {
  const placed = await post(`${shopUrl}/orders`, {});
  if (placed.status !== 201) throw new Error(`the shop answered an order with ${placed.status}`);
  const { id: orderId, payBefore } = (await placed.json()) as { id: number; payBefore: number };
  if (plan === "never") return { plan, orderId, payment: "none" };

  const leftMs = payBefore - Date.now();
  const pick = ({ min, max }: { min: number; max: number }): number => min + (max - min) * random();
  const pauseMs = plan === "in-time" ? leftMs * pick(promptShare) : leftMs + pick(lastMomentMs);
  await sleep(Math.max(0, pauseMs), undefined, { signal });

  const paid = await post(`${shopUrl}/orders/${orderId}/payment`, {});
  if (paid.status !== 200 && paid.status !== 409) throw new Error(`the shop answered a payment with ${paid.status}`);
  const { result } = (await paid.json()) as { result: "paid" | "refunded" };
  return { plan, orderId, payment: result };
}

/** Calls the shop's webhook receiver for somebody else's order, without the secret; answers the status. */
export async function sendForgery(shopUrl: string, orderId: number): Promise<number> {
  const { status } = await post(`${shopUrl}/hooks/cancel-order`, {
    headers: {
      "content-type": "application/json",
      "webhook-id": randomUUID(),
      "webhook-timestamp": String(Math.floor(Date.now() / 1_000)),
      "webhook-signature": `v1,${Buffer.from(randomUUID()).toString("base64")}`,
    },
    body: JSON.stringify({ orderId }),
  });
  return status;
}

function post(url: string, init: RequestInit): Promise<Response> {
  return fetch(url, { method: "POST", ...init });
}
