// Owns telling the subscribers: their events become tasks, each in its subscription's own queue, and are then fired like any other.

import { v7 as uuidv7 } from "uuid";
import type { DueEntry } from "../due-index/due-index.ts";
import { type Clock, monotonicMs } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { RunLoop } from "../runtime/run-loop.ts";
import { insertArrivalsIn } from "../store/accept.ts";
import type { Arrival } from "../store/arrivals.ts";
import type { Connection, Database } from "../store/database.ts";
import { failureLevel } from "../store/errors.ts";
import { type EventPage, eventsKeptMs, keepRecording, type PlacedEvent, readEvents } from "../store/events.ts";
import {
  advanceSubscription,
  deliveryQueue,
  findBehind,
  type LockedSubscription,
  lockSubscription,
  type Subscription,
} from "../store/subscriptions.ts";
import { isWanted, renderEvent } from "../task/event.ts";
import { builtInDefaults } from "../task/queue.ts";
import { keepRecordingEveryMs } from "./recording.ts";

const pollMs = 250;
/** While nobody has subscribed. */
const idleMs = 1_000;
/** Deliveries of one subscription that are not over. Beyond, its events wait in the outbox, and are dropped when they are a day old. */
export const backlogMax = 1_000;
/** Statements read at once, each of 500 events at most. */
const rowsPerReadMax = 4;

export interface PublisherParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Deliveries wait, and are due. */
  readonly onDue: (entries: readonly DueEntry[]) => void;
}

interface Published {
  readonly entries: readonly DueEntry[];
  readonly dropped: number;
  readonly isFull: boolean;
}

const nothing: Published = { entries: [], dropped: 0, isFull: false };

export class Publisher {
  readonly #parts: PublisherParts;
  readonly #rounds: RunLoop;
  #keptAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
    const onError = (error: unknown): void => parts.log[failureLevel(error)]({ err: error }, "publisher.round_failed");
    this.#rounds = new RunLoop({ tick: () => this.#round(), onError, errorSleepMs: idleMs });
  }

  start(): void {
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  async #round(): Promise<number> {
    const { database } = this.#parts;
    const { isAny, behind } = await database.query(findBehind);
    if (!isAny) return idleMs;
    if (monotonicMs() - this.#keptAtMs > keepRecordingEveryMs) {
      await database.query(keepRecording);
      this.#keptAtMs = monotonicMs();
    }
    let isFull = false;
    for (const id of behind) isFull = (await this.#publish(id)) || isFull;
    return isFull ? 0 : pollMs;
  }

  /** Passes a page of events on to one subscription; true where there may be more. */
  async #publish(id: string): Promise<boolean> {
    const { database, log, metrics, onDue } = this.#parts;
    const { entries, dropped, isFull } = await database.transaction((trx) => this.#publishIn(trx, id));
    if (entries.length > 0) onDue(entries);
    metrics.event("events.dropped", dropped);
    if (dropped > 0) log.warn({ subscriptionId: id, events: dropped }, "events.dropped");
    return isFull;
  }

  /** The events of the page and the subscription's place move together, so that none is passed on twice or lost. */
  async #publishIn(trx: Connection, id: string): Promise<Published> {
    const subscription = await lockSubscription(trx, id, backlogMax);
    if (subscription === null) return nothing;
    const page = await readEvents(trx, subscription.after, rowsPerReadMax);
    this.#parts.metrics.setEventsHeld(page.heldMs);
    const oldestAt = this.#parts.clock.now() - eventsKeptMs;
    const isBlocked = subscription.backlog >= backlogMax;
    const taken = isBlocked ? untilFirst(page, (event) => event.at >= oldestAt) : page;
    if (taken === null) return nothing;
    const wanted = taken.events.filter((event) => isWanted(filterOf(subscription), event));
    const arrivals = wanted.filter((event) => event.at >= oldestAt).map((event) => this.#delivery(subscription, event));
    await insertArrivalsIn(trx, arrivals, "scheduled");
    const dropped = wanted.length - arrivals.length;
    await advanceSubscription(trx, id, { end: taken.end, dropped });
    const entries = arrivals.map((arrival) => ({ queue: arrival.task.queue, id: arrival.id, at: arrival.dueAt }));
    return { entries, dropped, isFull: page.isFull && !isBlocked };
  }

  #delivery({ id, url }: LockedSubscription, event: PlacedEvent): Arrival {
    const createdAt = this.#parts.clock.after(0);
    return {
      id: uuidv7({ msecs: createdAt }),
      createdAt,
      dueAt: createdAt,
      task: {
        ...builtInDefaults,
        queue: deliveryQueue(id),
        // An event is one delivery, and receivers see it as `lapse-key`.
        key: event.id,
        onConflict: "keep",
        due: { kind: "delay", delayMs: 0 },
        url,
        method: "POST",
        headers: {},
        body: { kind: "payload", json: renderEvent(event) },
        delivery: "at-least-once",
        maxReschedules: null,
        labels: {},
        traceparent: null,
        requestHash: event.id,
      },
    };
  }
}

function filterOf({ types, queue }: Subscription) {
  return { types, queues: queue === null ? null : [queue] };
}

/** The page's beginning, of whole rows; null where nothing is left of it. */
function untilFirst(page: EventPage, isFirst: (event: PlacedEvent) => boolean): EventPage | null {
  const first = page.events.find(isFirst);
  if (first === undefined) return page;
  const events = page.events.filter(
    ({ place }) => place.xid < first.place.xid || (place.xid === first.place.xid && place.id < first.place.id),
  );
  const last = events.at(-1);
  return last === undefined ? null : { ...page, events, end: last.place };
}
