// Owns one listener's stream: live, it is given what the feed reads; behind, it reads for itself until it has caught up.

import { sleep } from "../runtime/clock.ts";
import { type EventPage, type EventPosition, formatPosition, isBefore } from "../store/events.ts";
import { type EventFilter, isWanted, renderEvent } from "../task/event.ts";

/** What is handed to the connection at once; it says then whether its reader keeps up. */
const chunkCharsMax = 65_536;
/** A reader that takes nothing for this long is cut off: it comes back with its Last-Event-ID. */
export const slowReaderMsMax = 30_000;
/** How long a client waits before it comes back. */
const retryMs = 2_000;

/** A listener's connection. */
export interface EventSink {
  /** False: its reader is behind; wait until it has `drained`. */
  write(text: string): boolean;
  /** Resolves once more can be written, or it is closed. */
  drained(): Promise<void>;
  readonly isClosed: boolean;
  /** Ends it after what was written, or, `now`, as it is. */
  end(now?: boolean): void;
  onClose(action: () => void): void;
}

export interface EventStreamParts {
  readonly filter: EventFilter;
  readonly position: EventPosition;
  readonly isReset: boolean;
  readonly sink: EventSink;
  /** Where the feed stands. */
  readonly feedPosition: () => EventPosition;
  readonly read: (after: EventPosition) => Promise<EventPage>;
  readonly onSlow: () => void;
}

export class EventStream {
  readonly #parts: EventStreamParts;
  #position: EventPosition;
  #isLive = false;

  constructor(parts: EventStreamParts) {
    this.#parts = parts;
    this.#position = parts.position;
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  /** Says where it stands, so that a client that comes back before the first event misses none, and begins. */
  start(): void {
    const { sink, isReset } = this.#parts;
    const id = `id: ${formatPosition(this.#position)}\n`;
    const reset = `event: reset\n${id}data: {"reason":"Last-Event-ID is not known any more: events may have been missed"}\n\n`;
    sink.write(`retry: ${retryMs}\n: connected\n\n${isReset ? reset : `${id}\n`}`);
    void this.#catchUp();
  }

  /** What the feed has read; it is left out as far as this stream has sent it. */
  deliver(page: EventPage): void {
    if (!this.#isLive) return;
    this.#isLive = this.#send(page);
    if (!this.#isLive) void this.#catchUp();
  }

  /** A comment keeps the connection alive; the id moves on, so that it does not grow old where little is wanted. */
  beat(): void {
    if (this.#isLive) this.#parts.sink.write(`id: ${formatPosition(this.#position)}\n: heartbeat\n\n`);
  }

  end(): void {
    this.#parts.sink.end();
  }

  /** False: its reader is behind, and the position is that of the last event sent. */
  #send({ events, end }: EventPage): boolean {
    const { filter, sink } = this.#parts;
    let chunk = "";
    for (const event of events) {
      if (!isBefore(this.#position, event.place) || !isWanted(filter, event)) continue;
      chunk += `id: ${event.id}\nevent: ${event.type}\ndata: ${renderEvent(event)}\n\n`;
      if (chunk.length < chunkCharsMax) continue;
      this.#position = event.place;
      if (!sink.write(chunk)) return false;
      chunk = "";
    }
    if (isBefore(this.#position, end)) this.#position = end;
    return chunk === "" || sink.write(chunk);
  }

  async #catchUp(): Promise<void> {
    const { sink, read, feedPosition } = this.#parts;
    try {
      while (!sink.isClosed) {
        if (!(await this.#hasDrained())) return;
        if (!isBefore(this.#position, feedPosition())) {
          this.#isLive = true;
          return;
        }
        this.#send(await read(this.#position));
      }
    } catch {
      // Postgres is away: it comes back with its Last-Event-ID.
      sink.end();
    }
  }

  async #hasDrained(): Promise<boolean> {
    const { sink, onSlow } = this.#parts;
    const late = new AbortController();
    const isDrained = await Promise.race([
      sink.drained().then(() => true),
      sleep(slowReaderMsMax, late.signal).then(() => false),
    ]);
    late.abort();
    if (isDrained) return !sink.isClosed;
    onSlow();
    sink.end(true);
    return false;
  }
}
