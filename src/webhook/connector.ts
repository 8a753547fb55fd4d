// Owns how a connection is made: the guard says which of the host's addresses may be tried, TCP tries those alone, then TLS over it.
// undici's own connector cannot be used alone: it hands `blockList` to tls.connect, which ignores it (Node 24.21, undici 7.30.2: an
// https URL reached 127.0.0.1 in spite of a list that held it), so that only plain http would be guarded.

import { connect, isIPv6, type Socket } from "node:net";
import { buildConnector } from "undici";
import { type AddressGuard, hostOf, portOf } from "./address-guard.ts";

/** Far more than hosts that are called over TLS within a keep-alive time; a session saves a round trip. */
const tlsSessionsMax = 1_000;
/** TCP keep-alive finds a peer that vanished; a call's own timeout is what bounds it. */
const tcpKeepAliveMs = 60_000;

export interface Connecting {
  /** Of the answer, heads and all, since the connection was made; 0 before. */
  readonly bytesRead: number;
  /** Gives the connection up, made or not; the callback is then not to be relied on. */
  abandon(): void;
}

export type Connector = (to: buildConnector.Options, callback: buildConnector.Callback) => Connecting;

/** The code of the error where the host has no address that may be called. */
export const blockedCode = "ERR_LAPSE_BLOCKED";

/** No timeout of its own: a call's timer abandons what takes too long. */
export function createConnector(guard: Pick<AddressGuard, "resolve">): Connector {
  const startTls = buildConnector({ allowH2: false, timeout: 0, maxCachedSessions: tlsSessionsMax });
  return (to, callback) => {
    let tcp: Socket | null = null;
    let handedOver: Socket | null = null;
    let isAbandoned = false;
    const answerOnce = once((...answer) => {
      handedOver = answer[1];
      callback(...answer);
    });
    const open = (addresses: readonly string[]): void => {
      if (isAbandoned) return;
      if (addresses.length === 0) return answerOnce(blockedError(), null);
      const connecting = openTcp(to, addresses);
      tcp = connecting;
      connecting.on("error", (error) => answerOnce(error, null));
      connecting.once("connect", () => {
        if (to.protocol === "https:") startTls({ ...to, httpSocket: connecting }, callbackOf(answerOnce));
        else answerOnce(null, connecting);
      });
    };
    guard.resolve(hostOf(to), portOf(to)).then(open, (error: unknown) => answerOnce(asError(error), null));
    return {
      get bytesRead() {
        return handedOver?.bytesRead ?? 0;
      },
      // What was handed over, not the socket below it: destroying that from within TLS's own callback ends the process (SIGSEGV, Node 24.21).
      abandon: () => {
        isAbandoned = true;
        (handedOver ?? tcp)?.destroy();
      },
    };
  };
}

/** Connects to one of these addresses and to no other, whatever the host would resolve to now. */
function openTcp(to: buildConnector.Options, addresses: readonly string[]): Socket {
  return connect({
    host: hostOf(to),
    port: portOf(to),
    lookup: (_host, _options, answer) =>
      answer(
        null,
        addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 })),
      ),
    // Both families are tried where a name has both.
    autoSelectFamily: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: tcpKeepAliveMs,
  });
}

type Answer = (error: Error | null, socket: Socket | null) => void;

/** Errors go on after the connection was handed over; they then belong to undici, which listens as well. */
function once(callback: buildConnector.Callback): Answer {
  let isAnswered = false;
  return (error, socket) => {
    if (isAnswered) return;
    isAnswered = true;
    if (error === null && socket !== null) callback(null, socket);
    else callback(error ?? new Error("No connection"), null);
  };
}

function callbackOf(answer: Answer): buildConnector.Callback {
  return (error, socket) => answer(error, socket);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error("No lookup", { cause: error });
}

function blockedError(): Error {
  return Object.assign(new Error("The address is blocked"), { code: blockedCode });
}
