// Owns how the parts of events belong together: streams and subscriptions for callers, and the publisher where tasks are fired.

import type { DueEntry } from "../due-index/due-index.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Database } from "../store/database.ts";
import { EventFeed } from "./event-feed.ts";
import { Publisher } from "./publisher.ts";
import { Subscriptions } from "./subscriptions.ts";

export interface EventsParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** What becomes of deliveries, for the index. */
  readonly signals: {
    due(entries: readonly DueEntry[]): void;
    gone(entries: readonly Omit<DueEntry, "at">[]): void;
  };
  /** Whether this process fires tasks: such a one publishes, too. */
  readonly isDispatching: boolean;
}

export class Events {
  readonly feed: EventFeed;
  readonly subscriptions: Subscriptions;
  readonly #publisher: Publisher | null;

  constructor({ signals, isDispatching, ...parts }: EventsParts) {
    this.feed = new EventFeed(parts);
    this.subscriptions = new Subscriptions({ ...parts, onGone: (tasks) => signals.gone(tasks) });
    this.#publisher = isDispatching ? new Publisher({ ...parts, onDue: (entries) => signals.due(entries) }) : null;
  }

  start(): void {
    this.#publisher?.start();
  }

  /** Ends the streams, which have no end of their own. What was published and not fired is fired by others. */
  async stop(): Promise<void> {
    await Promise.all([this.feed.stop(), this.#publisher?.stop()]);
  }
}
