// Owns the facts about one stream beside its connection: how little is held for a reader that is behind, and when it is cut off.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type EventSink, EventStream, slowReaderMsMax } from "../../src/events/event-stream.ts";
import type { EventPage, EventPosition } from "../../src/store/events.ts";

const chunkCharsMax = 65_536;
const start = { xid: 1, id: 0, index: 0 };
const end = { xid: 9, id: 0, index: 0 };

/** 1,000 events of about 500 characters in two rows. */
const events = Array.from({ length: 1_000 }, (_, i) => {
  const place = { xid: 2, id: i < 500 ? 1 : 2, index: (i % 500) + 1 };
  const id = `2-${place.id}-${place.index}`;
  const about = { queue: "default", taskId: null, key: null, data: { labels: { long: "x".repeat(400) } } };
  return { id, place, type: "task.created", at: 0, ...about } as const;
});
const isAfter = (a: EventPosition, b: EventPosition): boolean =>
  a.xid > b.xid || (a.xid === b.xid && (a.id > b.id || (a.id === b.id && a.index > b.index)));
const pageAfter = (after: EventPosition): EventPage => ({
  events: events.filter(({ place }) => isAfter(place, after)),
  end,
  isFull: false,
  heldMs: 0,
});

function setup() {
  let isBehind = true;
  let drain = (): void => undefined;
  const written: string[] = [];
  const ends: boolean[] = [];
  const onSlow = vi.fn<() => void>();
  const sink: EventSink = {
    write: (text) => written.push(text) < 0 || !isBehind,
    drained: () => (isBehind ? new Promise((resolve) => (drain = resolve)) : Promise.resolve()),
    get isClosed() {
      return ends.length > 0;
    },
    end: (now = false) => void ends.push(now),
    onClose: () => undefined,
  };
  const read = vi.fn<(after: EventPosition) => Promise<EventPage>>(async (after) => pageAfter(after));
  const stream = new EventStream({
    filter: { types: null, queues: null },
    position: start,
    isReset: false,
    sink,
    feedPosition: () => end,
    read,
    onSlow,
  });
  return {
    stream,
    written,
    ends,
    onSlow,
    read,
    /** The reader takes what waits, and what comes until it is behind again. */
    takes: async (isAll: boolean) => {
      isBehind = !isAll;
      drain();
      await vi.advanceTimersByTimeAsync(0);
    },
  };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a reader that is behind", () => {
  test("is handed one chunk at a time, and misses and repeats nothing", async () => {
    const { stream, written, takes } = setup();
    stream.start();
    await takes(false);
    expect(written).toHaveLength(2);
    expect(written[1]?.length).toBeLessThan(chunkCharsMax + 1_000);
    await takes(false);
    expect(written).toHaveLength(3);
    await takes(true);
    const ids = [...written.join("").matchAll(/^id: (2-.*)$/gm)].map(([, id]) => id);
    expect(ids).toEqual(events.map(({ id }) => id));
    expect(stream.isLive).toBe(true);
  });

  test("is read for no further, and cut off after 30 s", async () => {
    const { stream, ends, onSlow, read, takes } = setup();
    stream.start();
    await takes(false);
    await vi.advanceTimersByTimeAsync(slowReaderMsMax - 1);
    expect([ends, onSlow.mock.calls.length]).toEqual([[], 0]);
    await vi.advanceTimersByTimeAsync(1);
    expect([ends, onSlow.mock.calls.length]).toEqual([[true], 1]);
    expect(read).toHaveBeenCalledTimes(1);
  });

  test("is told of what came meanwhile by a read of its own, though it was live", async () => {
    const { stream, written, takes } = setup();
    stream.start();
    await takes(true);
    const count = written.length;
    stream.deliver(pageAfter(start));
    expect(written).toHaveLength(count);
  });
});

test("a heartbeat moves the place on, and begins no event", async () => {
  const { stream, written, takes } = setup();
  stream.start();
  await takes(true);
  stream.beat();
  expect(written.at(-1)).toBe("id: 9-0-0\n: heartbeat\n\n");
});
