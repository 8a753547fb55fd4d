// Owns the shop's address: a free port of this machine, open before there is a shop, since the shop must know its own address.

import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";

export interface Door extends AsyncDisposable {
  readonly url: string;
  /** Who answers from now on. */
  serve(listener: RequestListener): void;
}

/** Disposing drops every connection. */
export async function openDoor(): Promise<Door> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: "127.0.0.1", port: 0 }, resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    serve: (listener) => void server.on("request", listener),
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
