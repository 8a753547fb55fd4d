// How connections to receivers are kept and given up: real sockets, closed by either side at bad moments.

import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { AddressGuard } from "../../src/webhook/address-guard.ts";
import { Connections } from "../../src/webhook/connections.ts";
import { createConnector } from "../../src/webhook/connector.ts";
import { startReceiver } from "../support/receiver.ts";
import { closed, type RawServer, startRawServer, startSender } from "./sending.ts";

const opened: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close();
});

function ownSender() {
  const sending = startSender();
  opened.push(() => sending.sender.close());
  return sending;
}

async function ownServer(serve: (socket: Socket, chunk: string) => void): Promise<RawServer> {
  const server = await startRawServer(serve);
  opened.push(server.close);
  return server;
}

const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

function requestsIn(server: RawServer): number {
  return server.received().split("webhook-id").length - 1;
}

describe("a connection", () => {
  test("serves one call after the other, and calls at once have one each", async () => {
    const server = await ownServer((socket) => socket.write(ok));
    const { send } = ownSender();
    for (let call = 0; call < 5; call++) await send({ url: server.url });
    expect(server.connections).toHaveLength(1);
    await Promise.all(Array.from({ length: 10 }, () => send({ url: server.url })));
    expect(server.connections.length).toBeLessThanOrEqual(10);
    expect(server.connections.length).toBeGreaterThan(5);
    expect(requestsIn(server)).toBe(15);
  });

  test("is a fresh one for a task that is sent at most once", async () => {
    const server = await ownServer((socket) => socket.write(ok));
    const { send } = ownSender();
    for (let call = 0; call < 3; call++) await send({ url: server.url, delivery: "at-most-once" });
    expect(server.connections).toHaveLength(3);
  });

  test("is not used again after a body where none is expected: its receiver may take it for another request", async () => {
    const server = await ownServer((socket) => socket.write(ok));
    const { send } = ownSender();
    for (const method of ["GET", "DELETE", "POST"] as const) {
      await send({ url: server.url, method, body: { kind: "payload", json: '"GET / HTTP/1.1"' } });
    }
    expect(server.connections).toHaveLength(3);
    expect(server.received().match(/^connection: .*$/gm)).toEqual([
      "connection: close",
      "connection: close",
      "connection: keep-alive",
    ]);
    await send({ url: server.url, method: "GET" });
    await send({ url: server.url, method: "DELETE" });
    expect(server.connections).toHaveLength(3);
  });

  test("is not used again where the receiver said close", async () => {
    const server = await ownServer((socket) =>
      socket.write(ok.replace("content-length", "connection: close\r\ncontent-length")),
    );
    const { send } = ownSender();
    for (let call = 0; call < 20; call++) expect(await send({ url: server.url })).toMatchObject({ kind: "answered" });
    expect([server.connections.length, requestsIn(server)]).toEqual([20, 20]);
  });

  test("is kept no longer than the receiver's hint, less two seconds", async () => {
    const server = await ownServer((socket) =>
      socket.write(ok.replace("content-length", "keep-alive: timeout=3\r\ncontent-length")),
    );
    const { send } = ownSender();
    await send({ url: server.url });
    const keptFrom = performance.now();
    await closed(server.connections[0]);
    expect(performance.now() - keptFrom).toBeLessThan(2_500);
    expect(await send({ url: server.url })).toMatchObject({ kind: "answered" });
  });

  test("is forgotten once its receiver has closed it", async () => {
    const connections = new Connections(createConnector(new AddressGuard({ privateTargets: "all" })));
    const server = await ownServer((socket) => socket.write(ok));
    const connection = connections.take(server.url, "any");
    await connection.client.request({ path: "/", method: "GET" }).then(({ body }) => body.text());
    connections.giveBack(connection);
    expect(connections.idleCount).toBe(1);
    const isGone = new Promise((resolve) => connection.client.once("disconnect", resolve));
    server.connections[0]?.destroy();
    await isGone;
    expect(connections.idleCount).toBe(0);
    expect(connection.client.destroyed).toBe(true);
  });
});

describe("a connection that the receiver closed between two calls costs no attempt", () => {
  const closings: [name: string, close: (socket: Socket) => void][] = [
    ["ended with the answer", (socket) => socket.end()],
    ["destroyed with the answer", (socket) => setImmediate(() => socket.destroy())],
  ];

  test.each(closings)("%s", async (_name, close) => {
    const server = await ownServer((socket) => {
      socket.write(ok);
      close(socket);
    });
    const { send } = ownSender();
    for (let call = 1; call <= 50; call++) {
      expect(await send({ url: server.url })).toMatchObject({ kind: "answered" });
      await closed(server.connections.at(-1));
    }
    expect(requestsIn(server)).toBe(50);
  });

  test("reset while it was idle", async () => {
    const server = await ownServer((socket) => socket.write(ok));
    const { send } = ownSender();
    for (let call = 1; call <= 50; call++) {
      expect(await send({ url: server.url })).toMatchObject({ kind: "answered" });
      const last = server.connections.at(-1);
      last?.resetAndDestroy();
      await closed(last);
    }
    expect([server.connections.length, requestsIn(server)]).toEqual([50, 50]);
  });

  test("closed in the same moment: an attempt may be a reset, but no request is ever sent twice", async () => {
    const server = await ownServer((socket) => {
      socket.write(ok);
      setTimeout(() => socket.destroy(), 1);
    });
    const { send } = ownSender();
    const kinds: string[] = [];
    for (let call = 1; call <= 100; call++) kinds.push((await send({ url: server.url })).kind);
    expect(new Set(kinds)).toSatisfy(
      (seen: Set<string>) => seen.has("answered") && seen.isSubsetOf(new Set(["answered", "reset"])),
    );
    expect(requestsIn(server)).toBeLessThanOrEqual(100);
  });
});

test("many calls at once to several hosts leave no call and no timer behind", async () => {
  const receivers = await Promise.all([startReceiver(), startReceiver(), startReceiver()]);
  for (const receiver of receivers) opened.push(receiver.close);
  const { sender, send } = ownSender();
  const results = await Promise.all(
    receivers.flatMap(({ url }) =>
      Array.from({ length: 100 }, (_, at) => send({ url: `${url}/${at}`, timeoutMs: 20_000 })),
    ),
  );
  expect(results.every(({ kind }) => kind === "answered")).toBe(true);
  expect(receivers.map(({ requests }) => new Set(requests.map(({ path }) => path)).size)).toEqual([100, 100, 100]);
  expect(sender.callCount).toBe(0);
});
