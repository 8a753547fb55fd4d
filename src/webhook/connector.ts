// Owns how a connection is made: TCP first, each address judged by the guard, then TLS over it.
// undici's own connector cannot be used alone: it hands `blockList` to tls.connect, which ignores it (Node 24.21, undici 7.30.2: an
// https URL reached 127.0.0.1 in spite of a list that held it), so that only plain http would be guarded.

import { type BlockList, connect, type Socket } from "node:net";
import { buildConnector } from "undici";

/** Far more than hosts that are called over TLS within a keep-alive time; a session saves a round trip. */
const tlsSessionsMax = 1_000;
/** TCP keep-alive finds a peer that vanished; a call's own timeout is what bounds it. */
const tcpKeepAliveMs = 60_000;

export interface Connecting {
  /** Gives the connection up, made or not; the callback is then not to be relied on. */
  abandon(): void;
}

export type Connector = (to: buildConnector.Options, callback: buildConnector.Callback) => Connecting;

/** Node's code for an address that the list holds; also that of our own check after the fact. */
export const blockedCode = "ERR_IP_BLOCKED";

/** No timeout of its own: a call's timer abandons what takes too long. */
export function createConnector(denyList: BlockList | null): Connector {
  const startTls = buildConnector({ allowH2: false, timeout: 0, maxCachedSessions: tlsSessionsMax });
  return (to, callback) => {
    const isTls = to.protocol === "https:";
    const tcp = connect({
      host: to.hostname,
      port: Number(to.port) || (isTls ? 443 : 80),
      // Both families are tried where a name has both, and a denied address is passed over for one that is not.
      autoSelectFamily: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: tcpKeepAliveMs,
      ...(denyList === null ? {} : { blockList: denyList }),
    });
    let handedOver: Socket | null = null;
    const answerOnce = once((...answer) => {
      handedOver = answer[1];
      callback(...answer);
    });
    tcp.on("error", (error) => answerOnce(error, null));
    tcp.once("connect", () => {
      if (isDenied(tcp, denyList)) tcp.destroy(blockedError());
      else if (isTls) startTls({ ...to, httpSocket: tcp }, callbackOf(answerOnce));
      else answerOnce(null, tcp);
    });
    // What was handed over, not the socket below it: destroying that from within TLS's own callback ends the process (SIGSEGV, Node 24.21).
    return { abandon: () => void (handedOver ?? tcp).destroy() };
  };
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

/** The peer that was in fact reached, should a way of connecting ever pass the list by. Nothing has been sent yet. */
function isDenied(tcp: Socket, denyList: BlockList | null): boolean {
  if (denyList === null || tcp.remoteAddress === undefined) return false;
  return denyList.check(tcp.remoteAddress, tcp.remoteFamily === "IPv6" ? "ipv6" : "ipv4");
}

function blockedError(): Error {
  return Object.assign(new Error("The address is blocked"), { code: blockedCode });
}
