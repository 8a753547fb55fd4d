// Owns a gate before the receiver: while it is shut, connections over TLS are taken and get no further, so that a sender stays between
// its claim and the first byte of its request. Once open it passes everything on.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { onTestFinished } from "vitest";
import { certificate, certificateKey } from "../webhook/certificate.ts";

export interface Gate {
  readonly url: string;
  /** How many connections wait before it. */
  readonly waitingCount: number;
  open(): void;
}

/** A gate that is shut, before the receiver at `url`; gone with the test. */
export async function startGate(url: string): Promise<Gate> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
  };
  const tls = createTlsServer({ cert: certificate, key: certificateKey }, (secure) => {
    const onward = keep(connect(Number(new URL(url).port), "127.0.0.1"));
    keep(secure).pipe(onward).pipe(secure);
  });
  tls.on("tlsClientError", () => undefined);
  let waiting: Socket[] | null = [];
  const server = createServer((socket) => {
    keep(socket);
    if (waiting === null) tls.emit("connection", socket);
    else waiting.push(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get waitingCount() {
      return waiting?.filter((socket) => !socket.destroyed).length ?? 0;
    },
    open: () => {
      const arrivals = waiting ?? [];
      waiting = null;
      for (const socket of arrivals) tls.emit("connection", socket);
    },
  };
}

/** What makes a Lapse process trust the gate; its file is gone with the test. */
export function trustEnv(): Readonly<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), "lapse-gate-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "ca.pem");
  writeFileSync(path, certificate);
  return { NODE_EXTRA_CA_CERTS: path };
}
