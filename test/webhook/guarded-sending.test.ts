// What the guard stops while connecting, whatever DNS says, over http and https alike: security requirements C2, C3, C5 and C6.
// 127.0.0.1 stands for the public internet by being allowed, 127.0.0.2 for the network that must not be reached.

import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import tls from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { AddressGuard } from "../../src/webhook/address-guard.ts";
import { blockedCode, createConnector } from "../../src/webhook/connector.ts";
import { keptMs } from "../../src/webhook/host-lookup.ts";
import { certificate, certificateKey } from "./certificate.ts";
import { closed, startRawServer, startSender } from "./sending.ts";

const allowed = "127.0.0.1";
const denied = "127.0.0.2";
/** The local addresses at which connections came in, of both servers. */
const reached: (string | undefined)[] = [];
const defaultAuthorities = tls.getCACertificates("default");

let connections: Socket[] = [];
const secure = createHttpsServer({ cert: certificate, key: certificateKey }, (_request, response) => {
  response.writeHead(200, { connection: "close" }).end("secure");
});
secure.on("connection", (socket: Socket) => {
  reached.push(socket.localAddress);
  connections.push(socket);
});
const plain = await startRawServer((socket) => {
  socket.end("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nplain");
}, "0.0.0.0");

/** What each lookup answers, the last one for good. */
let answers: readonly (readonly string[])[] = [];
let lookups = 0;
const lookup = async (): Promise<readonly string[]> => {
  const [answer = [], ...rest] = answers;
  if (rest.length > 0) answers = rest;
  lookups += 1;
  return answer;
};
let { sender, send } = startSender([allowed], { lookup });

beforeAll(async () => {
  tls.setDefaultCACertificates([...defaultAuthorities, certificate]);
  await new Promise<void>((resolve) => secure.listen(0, "0.0.0.0", resolve));
});

beforeEach(() => {
  reached.length = 0;
  connections = [];
  lookups = 0;
  ({ sender, send } = startSender([allowed], { lookup }));
});

afterEach(() => {
  vi.useRealTimers();
  sender.close();
});

afterAll(async () => {
  tls.setDefaultCACertificates(defaultAuthorities);
  await plain.close();
  await new Promise((resolve) => secure.close(resolve));
});

function urlOf(scheme: string, host = "shop.test"): string {
  return `${scheme}://${host}:${scheme === "https" ? (secure.address() as AddressInfo).port : plain.port}/`;
}

function plainAddresses(): (string | undefined)[] {
  return plain.connections.map((socket) => socket.localAddress);
}

const blocked = { kind: "blocked", error: "egress_blocked: shop.test is not an address that webhooks may go to" };

describe.each(["http", "https"])("over %s", (scheme) => {
  test("a name with a denied and an allowed address reaches the allowed one alone", async () => {
    for (const addresses of [
      [denied, allowed],
      [allowed, denied],
    ]) {
      const { sender: own, send: sendOwn } = startSender([allowed], { lookup: async () => addresses });
      expect(await sendOwn({ url: urlOf(scheme) })).toMatchObject({ kind: "answered", status: 200 });
      own.close();
    }
    expect([...reached, ...plainAddresses()]).not.toContain(denied);
  });

  test.each([[[denied]], [[denied, "10.0.0.1", "169.254.169.254"]], [["::1", "fd00::1", "::ffff:127.0.0.2"]]])(
    "a name with %j is blocked",
    async (addresses) => {
      const before = plain.connections.length;
      answers = [addresses];
      expect(await send({ url: urlOf(scheme) })).toEqual(blocked);
      expect([...reached, ...plain.connections.slice(before)]).toEqual([]);
    },
  );

  test("a name that changes its mind between two calls (rebinding) is blocked at the second", async () => {
    vi.useFakeTimers({ toFake: ["hrtime"] });
    answers = [[allowed], [denied]];
    expect(await send({ url: urlOf(scheme) })).toMatchObject({ kind: "answered" });
    vi.advanceTimersByTime(keptMs);
    const before = plain.connections.length;
    expect(await send({ url: urlOf(scheme) })).toEqual(blocked);
    expect(lookups).toBe(2);
    expect(plain.connections.length).toBe(before);
    expect(reached).not.toContain(denied);
  });

  test("the answer is the same where the port is closed", async () => {
    answers = [[denied]];
    const open = await send({ url: urlOf(scheme) });
    const shut = await send({ url: `${scheme}://shop.test:1025/` });
    expect(shut).toEqual(open);
  });

  test("literal addresses are blocked at send as at create", async () => {
    for (const host of [denied, "0x7f000002", "127.2", "[::ffff:127.0.0.2]", "[::1]", "169.254.169.254"]) {
      const result = await send({ url: urlOf(scheme, host) });
      expect(result).toEqual({
        kind: "blocked",
        error: expect.stringMatching(/^egress_blocked: .*: the URL must not point to a loopback/),
      });
    }
    expect(reached).toEqual([]);
  });

  test("the connector itself refuses a literal that the URL's check had let through", async () => {
    const connect = createConnector(new AddressGuard({ privateTargets: [allowed] }));
    const { hostname, host, port } = new URL(urlOf(scheme, denied));
    const error = await new Promise((resolve) => {
      connect({ hostname, host, port, protocol: `${scheme}:` }, (...[failure]) => resolve(failure));
    });
    expect(error).toMatchObject({ code: blockedCode });
    expect(reached).toEqual([]);
  });
});

test("a redirect to a denied address makes no second connection", async () => {
  const redirect = await startRawServer((socket) => {
    socket.end(`HTTP/1.1 302 Found\r\nlocation: ${urlOf("http", denied)}\r\ncontent-length: 0\r\n\r\n`);
  });
  const before = plain.connections.length;
  expect(await send({ url: redirect.url })).toMatchObject({ kind: "answered", status: 302 });
  expect(plain.connections.length).toBe(before);
  await redirect.close();
});

test("a lookup that hangs is no connection within the timeout, and none is made when it answers after all", async () => {
  const late = Promise.withResolvers<readonly string[]>();
  const { sender: own, send: sendOwn } = startSender([allowed], { lookup: () => late.promise });
  const before = plain.connections.length;
  expect(await sendOwn({ url: urlOf("http"), timeoutMs: 100 })).toEqual({
    kind: "refused",
    error: "No connection within PT0.1S",
  });
  late.resolve([allowed]);
  await late.promise;
  own.close();
  // A call of its own goes through the same loop after it, so that a late connection would have come first.
  expect(await send({ url: urlOf("http", allowed) })).toMatchObject({ kind: "answered" });
  expect(plain.connections.length).toBe(before + 1);
});

describe("TLS", () => {
  test("is checked against the host's name", async () => {
    answers = [[allowed]];
    expect(await send({ url: urlOf("https") })).toMatchObject({ kind: "answered", snippet: "secure" });
    expect(await send({ url: urlOf("https", "other.test") })).toEqual({
      kind: "refused",
      error: "No connection: the TLS certificate is for another host name (ERR_TLS_CERT_ALTNAME_INVALID)",
    });
  });

  test("with a certificate that nobody vouches for is no connection", async () => {
    tls.setDefaultCACertificates(defaultAuthorities);
    expect(await send({ url: urlOf("https", allowed) })).toEqual({
      kind: "refused",
      error: "No connection: the TLS certificate is self-signed (DEPTH_ZERO_SELF_SIGNED_CERT)",
    });
    tls.setDefaultCACertificates([...defaultAuthorities, certificate]);
  });

  test("connections are closed with the sender", async () => {
    const { sender: own, send: sendOwn } = startSender();
    const result = await sendOwn({ url: urlOf("https", allowed), timeoutMs: 2_000 });
    expect(result).toMatchObject({ kind: "answered" });
    own.close();
    for (const connection of connections) await closed(connection);
  });
});
