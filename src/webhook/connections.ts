// Owns the connections to receivers: one call at a time on each, kept for a few seconds between calls. One undici Client is one
// connection, so that giving a call up ends its connection whatever state that is in. undici's Agent cannot do so: a call that times out
// while its host does not answer would leave a socket behind until the system gives up, some two minutes later.

import { Client } from "undici";
import type { Connecting, Connector } from "./connector.ts";

/** A receiver's `keep-alive: timeout=` is heeded up to the maximum, less undici's second or two of safety. */
const keepAliveMs = 4_000;
const keepAliveMsMax = 30_000;
const headerBytesMax = 16 * 1024;
/** Idle connections to all hosts together, about what a dispatcher's slots leave behind at once. */
const idleCountMax = 1_024;

export interface Connection {
  readonly origin: string;
  readonly client: Client;
  /** It has served a call before, so its receiver may have closed it since. */
  wasUsed: boolean;
  /** Since it was made, by all its calls. */
  readonly bytesRead: number;
  /** Closes it at once, also while it is being made; what runs on it ends with an error. */
  destroy(): void;
}

export class Connections {
  readonly #connector: Connector;
  /** By origin, the one used last at the end: it is the likeliest to be alive still. */
  readonly #idle = new Map<string, Connection[]>();
  #idleCount = 0;

  constructor(connector: Connector) {
    this.#connector = connector;
  }

  get idleCount(): number {
    return this.#idleCount;
  }

  /** A connection for one call, which either gives it back or destroys it. A fresh one cannot just be closing at its other end. */
  take(origin: string, wanted: "any" | "fresh"): Connection {
    const connection = wanted === "any" ? this.#idle.get(origin)?.at(-1) : undefined;
    if (connection === undefined) return this.#open(origin);
    this.#forget(connection);
    return connection;
  }

  /** For a call that has ended with a whole answer. */
  giveBack(connection: Connection): void {
    if (this.#idleCount >= idleCountMax) return connection.destroy();
    const sameOrigin = this.#idle.get(connection.origin);
    if (sameOrigin === undefined) this.#idle.set(connection.origin, [connection]);
    else sameOrigin.push(connection);
    this.#idleCount += 1;
    connection.wasUsed = true;
  }

  /** Closes those that are idle; those in use belong to their calls. */
  closeIdle(): void {
    for (const connection of [...this.#idle.values()].flat()) {
      this.#forget(connection);
      connection.destroy();
    }
  }

  #open(origin: string): Connection {
    let connecting: Connecting | null = null;
    const client = new Client(origin, {
      connect: (to, callback) => {
        connecting = this.#connector(to, callback);
      },
      pipelining: 1,
      allowH2: false,
      maxHeaderSize: headerBytesMax,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMsMax,
      // Off: the call's one timer counts from connecting to the last byte.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const connection: Connection = {
      origin,
      client,
      wasUsed: false,
      get bytesRead() {
        return connecting?.bytesRead ?? 0;
      },
      destroy: () => {
        connecting?.abandon();
        client.destroy(() => undefined);
      },
    };
    client.on("disconnect", () => {
      // In use it connects anew by itself, if its call has not been sent yet.
      if (this.#forget(connection)) connection.destroy();
    });
    return connection;
  }

  /** Takes it off the idle ones; false where it was not among them. */
  #forget(connection: Connection): boolean {
    const sameOrigin = this.#idle.get(connection.origin) ?? [];
    const at = sameOrigin.lastIndexOf(connection);
    if (at === -1) return false;
    sameOrigin.splice(at, 1);
    if (sameOrigin.length === 0) this.#idle.delete(connection.origin);
    this.#idleCount -= 1;
    return true;
  }
}
