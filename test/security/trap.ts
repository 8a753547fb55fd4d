// Owns the trap for connections that must not be made: a server on every address of this machine, and a look at every address that this
// process begins to connect to, so that one that leads nowhere is seen as well.

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** Node publishes each client socket before it connects. */
const channel = "net.client.socket";

export interface Trap {
  readonly port: number;
  /** Each `address port` that a connection was begun to, at any port but those of `ignored`. */
  attempts(): string[];
  /** Connections that came in. */
  readonly caught: number;
  close(): Promise<void>;
}

/** Answers 200 to whoever gets through. `ignored`: the ports at which this process calls its own servers. */
export async function startTrap(ignored: () => readonly number[] = () => []): Promise<Trap> {
  const attempts: { readonly address: string; readonly port: number }[] = [];
  const onSocket = (message: unknown): void => {
    const { socket } = message as { socket: Socket };
    socket.on("connectionAttempt", (address: string, port: number) => attempts.push({ address, port }));
  };
  subscribe(channel, onSocket);
  const sockets = new Set<Socket>();
  let caught = 0;
  const server = createServer((socket) => {
    caught += 1;
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncaught"));
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    attempts: () =>
      attempts.filter(({ port }) => !ignored().includes(port)).map(({ address, port }) => `${address} ${port}`),
    get caught() {
      return caught;
    },
    close: () =>
      new Promise((resolve) => {
        unsubscribe(channel, onSocket);
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
