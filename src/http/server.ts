// Owns the listening socket: its limits, and closing it without cutting an answer off.

import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { startTimer } from "../runtime/clock.ts";

const headerBytesMax = 16_384;
/** A client that sends its request slower than this is cut off (slow loris). */
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 60_000;
/** Longer than the usual 60 s of load balancers, so that it is not this side which closes a connection that is being reused. */
const keepAliveTimeoutMs = 65_000;
/** Answers under way at a stop have this long. */
const closeMsMax = 5_000;

export interface HttpServer {
  readonly url: string;
  /** Takes no new connection; resolves once those that stand are done, or after 5 s. */
  close(): Promise<void>;
}

/** Listens; rejects with the system's error where the address is taken. */
export async function listen(
  app: RequestListener,
  { host, port }: { host: string; port: number },
): Promise<HttpServer> {
  const server = createServer(
    { maxHeaderSize: headerBytesMax, headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs },
    app,
  );
  server.keepAliveTimeout = keepAliveTimeoutMs;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => resolve());
  });
  const address = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = startTimer(closeMsMax, () => server.closeAllConnections());
      await closed;
      timer.cancel();
    },
  };
}
