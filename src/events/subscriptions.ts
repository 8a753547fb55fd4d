// Owns subscriptions as admins make and end them. What they are told is the publisher's.

import { v7 as uuidv7 } from "uuid";
import type { Log } from "../runtime/log.ts";
import type { Database } from "../store/database.ts";
import {
  deleteSubscription,
  findSubscription,
  insertSubscription,
  listSubscriptions,
  type Subscription,
} from "../store/subscriptions.ts";
import { beginListening } from "./recording.ts";

/** Subscriptions of an installation: their list is answered as a whole. */
export const subscriptionsMax = 100;

export interface SubscriptionsParts {
  readonly database: Database;
  readonly log: Log;
  /** Deliveries wait no more. */
  readonly onGone: (tasks: readonly { readonly queue: string; readonly id: string }[]) => void;
}

export class Subscriptions {
  readonly #parts: SubscriptionsParts;

  constructor(parts: SubscriptionsParts) {
    this.#parts = parts;
  }

  /** It is told of every change that is committed after this resolves. Null where there are `subscriptionsMax` already. */
  async make(fields: Pick<Subscription, "url" | "types" | "queue">): Promise<Subscription | null> {
    const { database, log } = this.#parts;
    const after = await beginListening(database);
    const id = uuidv7();
    const made = await database.transaction((trx) =>
      insertSubscription(trx, { ...fields, id }, { after, countMax: subscriptionsMax }),
    );
    if (made !== null) log.info({ subscriptionId: id }, "subscription.made");
    return made;
  }

  list(): Promise<Subscription[]> {
    return this.#parts.database.query(listSubscriptions);
  }

  read(id: string): Promise<Subscription | null> {
    return this.#parts.database.query((connection) => findSubscription(connection, id));
  }

  /** No event is delivered to it any more, but for calls in flight. False where there is none with the id. */
  async remove(id: string): Promise<boolean> {
    const { database, log, onGone } = this.#parts;
    const cancelled = await database.patient.transaction((trx) => deleteSubscription(trx, id));
    if (cancelled === null) return false;
    onGone(cancelled.filter((task) => task.state === "cancelled"));
    log.info({ subscriptionId: id }, "subscription.removed");
    return true;
  }
}
