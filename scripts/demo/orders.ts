// Owns the shop's orders, in the stead of its database. It records what happens and forbids nothing: an order both paid and lapsed
// would stand here for all to see.

import { setTimeout as sleep } from "node:timers/promises";

/** What a statement would take on a real one. */
const statementMs = 3;

export interface Order {
  readonly id: number;
  /** The task that will make it lapse. */
  readonly taskId: string;
  /** The payment deadline, in ms since the epoch. */
  readonly payBefore: number;
  readonly paidAt: number | null;
  readonly lapsedAt: number | null;
  /** How often its goods were put back on the shelf: more than once where a repeated webhook is acted upon again. */
  readonly restockCount: number;
  /** When a payment was turned down, since it came too late. */
  readonly refundedAt: number | null;
}

export interface OrderCounts {
  readonly placed: number;
  readonly paid: number;
  readonly lapsed: number;
  readonly waiting: number;
}

/** Times are those of this host's clock. */
export class OrderBook {
  readonly #orders = new Map<number, Order>();
  readonly #handledWebhooks = new Set<string>();
  #idLast = 1_000;

  /** A number for an order that is yet to be placed. */
  nextId(): number {
    this.#idLast += 1;
    return this.#idLast;
  }

  async insert(order: Pick<Order, "id" | "taskId" | "payBefore">): Promise<void> {
    await sleep(statementMs);
    this.#orders.set(order.id, { ...order, paidAt: null, lapsedAt: null, restockCount: 0, refundedAt: null });
  }

  async find(id: number): Promise<Order | null> {
    await sleep(statementMs);
    return this.#orders.get(id) ?? null;
  }

  async markPaid(id: number): Promise<void> {
    await sleep(statementMs);
    this.#change(id, () => ({ paidAt: Date.now() }));
  }

  async markRefunded(id: number): Promise<void> {
    await sleep(statementMs);
    this.#change(id, () => ({ refundedAt: Date.now() }));
  }

  /**
   * The order lapses, its goods go back on the shelf, and the webhook counts as handled: one transaction, with the webhook's id
   * unique. False, and nothing changes, where that webhook was handled before.
   */
  async markLapsed(id: number, webhookId: string): Promise<boolean> {
    await sleep(statementMs);
    if (this.#handledWebhooks.has(webhookId)) return false;
    this.#handledWebhooks.add(webhookId);
    this.#change(id, ({ restockCount }) => ({ lapsedAt: Date.now(), restockCount: restockCount + 1 }));
    return true;
  }

  all(): Order[] {
    return [...this.#orders.values()];
  }

  count(): OrderCounts {
    const orders = this.all();
    return {
      placed: orders.length,
      paid: orders.filter(({ paidAt }) => paidAt !== null).length,
      lapsed: orders.filter(({ lapsedAt }) => lapsedAt !== null).length,
      waiting: orders.filter(({ paidAt, lapsedAt }) => paidAt === null && lapsedAt === null).length,
    };
  }

  #change(id: number, change: (order: Order) => Partial<Order>): void {
    const order = this.#orders.get(id);
    if (order === undefined) throw new Error(`order ${id} was never placed`);
    this.#orders.set(id, { ...order, ...change(order) });
  }
}
