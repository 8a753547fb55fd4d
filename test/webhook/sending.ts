// Set-up for tests of the sender: one with open or closed guard, and TCP servers that say the very bytes they are told.

import { createServer, type Socket } from "node:net";
import type { ClaimedTask } from "../../src/task/claimed-task.ts";
import { AddressGuard, type GuardParts, type PrivateTargets } from "../../src/webhook/address-guard.ts";
import type { SendResult } from "../../src/webhook/call.ts";
import { createConfirmTokens } from "../../src/webhook/confirm-token.ts";
import { Sender, type SendTerms } from "../../src/webhook/sender.ts";
import { createSigningSecret, parseSigningSecrets } from "../../src/webhook/signing.ts";
import { claimedTask } from "./claimed-task.ts";

export const secret = createSigningSecret();
export const confirmTokens = createConfirmTokens(Buffer.alloc(32, 1));

export interface Sending {
  readonly sender: Sender;
  readonly send: (task: Partial<ClaimedTask>, terms?: Partial<SendTerms>) => Promise<SendResult>;
}

/** What differs from the guard's own ways, and the secrets to sign with. */
export interface SendingOptions extends Omit<GuardParts, "privateTargets"> {
  readonly secrets?: string;
}

/** The caller closes the sender. */
export function startSender(privateTargets: PrivateTargets = "all", more: SendingOptions = {}): Sending {
  const { secrets = secret, ...guarding } = more;
  const parsed = parseSigningSecrets(secrets);
  if ("error" in parsed) throw new Error(parsed.error);
  const guard = new AddressGuard({ privateTargets, ...guarding });
  const sender = new Sender({ guard, signingKeys: parsed.keys, confirmTokens, version: "0.1.0" });
  const send: Sending["send"] = (task, terms) =>
    sender.send(claimedTask(task), { mayStart: () => true, now: () => Date.now(), ...terms });
  return { sender, send };
}

export interface RawServer {
  readonly url: string;
  readonly port: number;
  /** Connections ever taken. */
  readonly connections: readonly Socket[];
  /** Bytes that came, of all connections. */
  readonly received: () => string;
  readonly close: () => Promise<void>;
}

/** A TCP server whose `serve` is handed each connection, and each chunk that came on it. */
export async function startRawServer(
  serve: (socket: Socket, chunk: string) => void,
  host = "127.0.0.1",
): Promise<RawServer> {
  const connections: Socket[] = [];
  let received = "";
  const server = createServer((socket) => {
    connections.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      serve(socket, chunk.toString("latin1"));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("A TCP server has a port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    connections,
    received: () => received,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of connections) socket.destroy();
      }),
  };
}

/** Resolves once the connection has ended, however it did. */
export function closed(socket: Socket | undefined): Promise<void> {
  if (socket === undefined || socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/** Sends to a server that answers every request with these bytes, and then, if told so, ends the connection. */
export async function sendTo(
  send: Sending["send"],
  answer: string,
  { end = false, timeoutMs = 5_000 } = {},
): Promise<SendResult> {
  const server = await startRawServer((socket) =>
    end ? socket.end(answer, "latin1") : socket.write(answer, "latin1"),
  );
  try {
    return await send({ url: server.url, timeoutMs });
  } finally {
    await server.close();
  }
}
