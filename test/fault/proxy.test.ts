// Goal: the fault proxy does to a network what it says, since the fault suite stands on it.
// Method: an echo server behind it, and a connection that is looked at from both ends.

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { WriteWatch } from "./postgres-wire.ts";
import { type FaultProxy, startProxy } from "./proxy.ts";

/** Long enough for an echo on loopback, had it not been held back. */
const silenceMs = 150;
const slowMs = 60;

test("it passes bytes on both ways", async () => {
  const { socket, echo } = await connectThrough();
  expect(await echo(socket, "hello")).toBe("hello");
});

test("what is slow arrives later, and a stalled network delivers once it is mended", async () => {
  const { proxy, socket, echo } = await connectThrough();
  proxy.set({ kind: "slow", delayMs: slowMs });
  const from = performance.now();
  expect(await echo(socket, "slow")).toBe("slow");
  expect(performance.now() - from).toBeGreaterThan(2 * slowMs - 5);
  proxy.set({ kind: "stalled" });
  const delivered = echo(socket, "stalled");
  expect(await Promise.race([delivered, sleep(silenceMs, "silence")])).toBe("silence");
  proxy.set({ kind: "none" });
  expect(await delivered).toBe("stalled");
});

test("a half-open connection is silent for good and stays open, and a new one works once the network is mended", async () => {
  const { proxy, socket, echo, reconnect } = await connectThrough();
  proxy.set({ kind: "half-open" });
  expect(await Promise.race([echo(socket, "lost"), sleep(silenceMs, "silence")])).toBe("silence");
  proxy.set({ kind: "none" });
  expect(await Promise.race([echo(socket, "still lost"), sleep(silenceMs, "silence")])).toBe("silence");
  expect(socket.destroyed).toBe(false);
  expect(await echo(await reconnect(), "new")).toBe("new");
});

test("a refused network resets what stands and what comes", async () => {
  const { proxy, socket, reconnect, echo } = await connectThrough();
  const isClosed = closed(socket);
  proxy.set({ kind: "refused" });
  await isClosed;
  const refused = await reconnect();
  await closed(refused);
  proxy.set({ kind: "none" });
  expect(await echo(await reconnect(), "back")).toBe("back");
});

describe("the end of a committed write is told", () => {
  const greeting = Buffer.from([0, 0, 0, 8, 0, 3, 0, 0]);
  const round = message("S", Buffer.alloc(0));
  const prepare = (name: string, text: string): Buffer => message("P", Buffer.from(`${name}\0${text}\0\0\0`));
  const run = (name: string): Buffer => message("B", Buffer.from(`\0${name}\0`));
  const simple = (text: string): Buffer => message("Q", Buffer.from(`${text}\0`));
  const done = (tag: string): Buffer => message("C", Buffer.from(`${tag}\0`));
  const ready = (status: string): Buffer => message("Z", Buffer.from(status));
  const committed = Buffer.concat([done("SELECT 1"), ready("I")]);
  const write = "with stored as (insert into lapse.tasks select 1 returning id) select id from stored";
  const watching = (...asked: Buffer[]): WriteWatch => {
    const watch = new WriteWatch();
    for (const piece of [greeting, ...asked]) watch.ask(piece);
    return watch;
  };

  test("by what was asked, prepared or not, also where a piece is cut", () => {
    expect(watching(prepare("w", write), run("w"), round).saw(committed)).toBe(true);
    expect(watching(simple(write)).saw(committed)).toBe(true);
    const asked = Buffer.concat([prepare("w", write), run("w"), round]);
    const watch = watching(asked.subarray(0, 9), asked.subarray(9));
    expect([watch.saw(committed.subarray(0, 7)), watch.saw(committed.subarray(7))]).toEqual([false, true]);
  });

  test("and not for a read, a lock, or before the transaction has ended", () => {
    expect(watching(simple("select 1 from lapse.tasks for update")).saw(committed)).toBe(false);
    const watch = watching(simple("begin"), prepare("w", write), run("w"), round, simple("commit"));
    expect([ready("T"), ready("T"), ready("I")].map((piece) => watch.saw(piece))).toEqual([false, false, true]);
  });

  test("once: the next round is another", () => {
    const watch = watching(prepare("w", write), run("w"), round, simple("select 1"));
    expect([watch.saw(committed), watch.saw(committed)]).toEqual([true, false]);
  });
});

/** `once` would take a reset for a failure. */
async function closed(socket: Socket): Promise<void> {
  if (!socket.destroyed) await new Promise<void>((resolve) => socket.once("close", () => resolve()));
}

function message(type: string, content: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeUInt32BE(content.length + 4, 1);
  return Buffer.concat([head, content]);
}

interface Through {
  readonly proxy: FaultProxy;
  readonly socket: Socket;
  readonly echo: (socket: Socket, text: string) => Promise<string>;
  readonly reconnect: () => Promise<Socket>;
}

async function connectThrough(): Promise<Through> {
  const server = createServer((socket) => void socket.on("error", () => undefined).pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy = await startProxy((server.address() as AddressInfo).port, "redis");
  onTestFinished(async () => {
    await proxy.close();
    server.close();
  });
  const reconnect = async (): Promise<Socket> => {
    const socket = connect(proxy.port, "127.0.0.1");
    socket.on("error", () => undefined);
    onTestFinished(() => void socket.destroy());
    await new Promise<void>((resolve) => socket.once("connect", resolve).once("close", () => resolve()));
    return socket;
  };
  const echo = async (socket: Socket, text: string): Promise<string> => {
    socket.write(text);
    const [piece] = (await once(socket, "data")) as [Buffer];
    return piece.toString();
  };
  return { proxy, socket: await reconnect(), echo, reconnect };
}
