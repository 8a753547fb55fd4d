// Owns the streams of a process: one reader for all of them, which asks nothing while there are none.

import { monotonicMs } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { RunLoop } from "../runtime/run-loop.ts";
import type { Database } from "../store/database.ts";
import { failureLevel } from "../store/errors.ts";
import {
  type EventPage,
  type EventPosition,
  isBefore,
  isKept,
  keepRecording,
  parsePosition,
  readEvents,
} from "../store/events.ts";
import type { EventFilter } from "../task/event.ts";
import { type EventSink, EventStream } from "./event-stream.ts";
import { beginListening, keepRecordingEveryMs } from "./recording.ts";

/** Open streams of one process. */
export const eventStreamsMax = 100;
const pollMs = 200;
const heartbeatMs = 15_000;
const idleMs = 60_000;
/** Statements read at once, each of 500 events at most. */
const rowsPerReadMax = 50;
/** Events held back by a transaction that is open for longer are told of in the log. */
const heldLogMs = 10_000;

export interface EventFeedParts {
  readonly database: Database;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** A stream that may begin. */
export interface OpenedStream {
  run(sink: EventSink): void;
}

export class EventFeed {
  readonly #parts: EventFeedParts;
  readonly #streams = new Set<EventStream>();
  readonly #polls: RunLoop;
  readonly #beats: RunLoop;
  /** Streams that are being opened count, too. */
  #count = 0;
  #position: EventPosition | null = null;
  /** One read at a time, whoever asks. */
  #reads: Promise<unknown> = Promise.resolve();
  #keptAtMs = Number.NEGATIVE_INFINITY;
  #isHeld = false;
  #isStopped = false;

  constructor(parts: EventFeedParts) {
    this.#parts = parts;
    const onError = (error: unknown): void => parts.log[failureLevel(error)]({ err: error }, "events.round_failed");
    this.#polls = new RunLoop({ tick: () => this.#poll(), onError, errorSleepMs: pollMs });
    this.#beats = new RunLoop({ tick: async () => this.#beat(), onError, errorSleepMs: heartbeatMs });
  }

  /** Begins to listen: from now on, or after the last event that the client had. Null where there are as many streams as there may be. */
  async open(filter: EventFilter, lastEventId: string | null): Promise<OpenedStream | null> {
    if (this.#count >= eventStreamsMax || this.#isStopped) return null;
    this.#setCount(1);
    try {
      const now = await beginListening(this.#parts.database);
      const last = lastEventId === null ? null : await this.#known(lastEventId);
      if (this.#position === null || this.#streams.size === 0) this.#position = now;
      const isReset = lastEventId !== null && last === null;
      return { run: (sink) => this.#run(filter, sink, { position: last ?? now, isReset }) };
    } catch (error) {
      this.#setCount(-1);
      throw error;
    }
  }

  /** Ends all streams; their clients go on elsewhere. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const stream of this.#streams) stream.end();
    await Promise.all([this.#polls.stop(), this.#beats.stop()]);
  }

  #run(
    filter: EventFilter,
    sink: EventSink,
    { position, isReset }: { position: EventPosition; isReset: boolean },
  ): void {
    const { database, metrics } = this.#parts;
    const stream = new EventStream({
      filter,
      position,
      isReset,
      sink,
      feedPosition: () => this.#position ?? position,
      read: (after) =>
        this.#inTurn(() => database.query((connection) => readEvents(connection, after, rowsPerReadMax))),
      onSlow: () => metrics.event("events.reader_cut_off"),
    });
    this.#streams.add(stream);
    sink.onClose(() => {
      this.#streams.delete(stream);
      this.#setCount(-1);
    });
    if (this.#isStopped) return sink.end();
    stream.start();
    this.#polls.wake();
    this.#beats.wakeIn(heartbeatMs);
  }

  /** Null where events after it are not kept any more, or it is none of ours. */
  async #known(lastEventId: string): Promise<EventPosition | null> {
    const position = parsePosition(lastEventId);
    if (position === null) return null;
    return (await this.#parts.database.query((connection) => isKept(connection, position))) ? position : null;
  }

  async #poll(): Promise<number> {
    const { database } = this.#parts;
    if (this.#streams.size === 0 || this.#position === null) return idleMs;
    if (monotonicMs() - this.#keptAtMs > keepRecordingEveryMs) {
      await database.query(keepRecording);
      this.#keptAtMs = monotonicMs();
    }
    const after = this.#position;
    const page = await this.#inTurn(() =>
      database.query((connection) => readEvents(connection, after, rowsPerReadMax)),
    );
    // Set before it is given out: a stream that is full goes back to reading for itself, up to here.
    if (isBefore(this.#position, page.end)) this.#position = page.end;
    for (const stream of this.#streams) stream.deliver(page);
    this.#noteHeld(page.heldMs);
    return page.isFull ? 0 : pollMs;
  }

  #noteHeld(heldMs: number): void {
    const { log, metrics } = this.#parts;
    metrics.setEventsHeld(heldMs);
    if (heldMs >= heldLogMs && !this.#isHeld) log.warn({ heldMs }, "events.held_by_open_transaction");
    this.#isHeld = heldMs >= heldLogMs;
  }

  #beat(): number {
    for (const stream of this.#streams) stream.beat();
    return this.#streams.size === 0 ? idleMs : heartbeatMs;
  }

  #inTurn(read: () => Promise<EventPage>): Promise<EventPage> {
    const turn = this.#reads.then(read);
    this.#reads = turn.catch(() => undefined);
    return turn;
  }

  #setCount(change: number): void {
    this.#count += change;
    this.#parts.metrics.setEventStreams(this.#count);
  }
}
