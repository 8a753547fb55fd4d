// What the guard stops while connecting, whatever DNS says, over http and https alike: security requirements C2, C3, C5 and C6.
// 127.0.0.1 stands for the public internet by being allowed, 127.0.0.2 for the network that must not be reached.

import dns from "node:dns";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, BlockList, type Socket } from "node:net";
import tls from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { createAddressGuard } from "../../src/webhook/address-guard.ts";
import { createConnector } from "../../src/webhook/connector.ts";
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
const { sender, send } = startSender([allowed]);

beforeAll(async () => {
  tls.setDefaultCACertificates([...defaultAuthorities, certificate]);
  await new Promise<void>((resolve) => secure.listen(0, "0.0.0.0", resolve));
});

beforeEach(() => {
  reached.length = 0;
  connections = [];
});

afterEach(() => {
  vi.restoreAllMocks();
});

afterAll(async () => {
  tls.setDefaultCACertificates(defaultAuthorities);
  sender.close();
  await plain.close();
  await new Promise((resolve) => secure.close(resolve));
});

/** Answers each lookup with the next list of addresses, the last one for good. */
function resolveTo(...answers: string[][]): void {
  const lookup = (
    _host: string,
    _options: unknown,
    callback: (error: null, addresses: dns.LookupAddress[]) => void,
  ): void => {
    const addresses = (answers.length > 1 ? answers.shift() : answers[0]) ?? [];
    const found = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    process.nextTick(callback, null, found);
  };
  vi.spyOn(dns, "lookup").mockImplementation(lookup as never);
}

function urlOf(scheme: string, host = "shop.test"): string {
  return `${scheme}://${host}:${scheme === "https" ? (secure.address() as AddressInfo).port : plain.port}/`;
}

function plainAddresses(): (string | undefined)[] {
  return plain.connections.map((socket) => socket.localAddress);
}

const blocked = { kind: "blocked", error: "egress_blocked: shop.test is not an address that webhooks may go to" };

describe.each(["http", "https"])("over %s", (scheme) => {
  test("a name with a denied and an allowed address reaches the allowed one alone", async () => {
    resolveTo([denied, allowed]);
    expect(await send({ url: urlOf(scheme) })).toMatchObject({ kind: "answered", status: 200 });
    resolveTo([allowed, denied]);
    expect(await send({ url: urlOf(scheme) })).toMatchObject({ kind: "answered", status: 200 });
    expect([...reached, ...plainAddresses()]).not.toContain(denied);
  });

  test.each([[[denied]], [[denied, "10.0.0.1", "169.254.169.254"]], [["::1", "fd00::1", "::ffff:127.0.0.2"]]])(
    "a name with %j is blocked",
    async (addresses) => {
      const before = plain.connections.length;
      resolveTo(addresses);
      expect(await send({ url: urlOf(scheme) })).toEqual(blocked);
      expect([...reached, ...plain.connections.slice(before)]).toEqual([]);
    },
  );

  test("a name that changes its mind between two calls (rebinding) is blocked at the second", async () => {
    resolveTo([allowed], [denied]);
    expect(await send({ url: urlOf(scheme) })).toMatchObject({ kind: "answered" });
    const before = plain.connections.length;
    expect(await send({ url: urlOf(scheme) })).toEqual(blocked);
    expect(plain.connections.length).toBe(before);
    expect(reached).not.toContain(denied);
  });

  test("the answer is the same where the port is closed", async () => {
    resolveTo([denied]);
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
    const connect = createConnector(createAddressGuard([allowed]).denyList);
    const { hostname, host, port } = new URL(urlOf(scheme, denied));
    const error = await new Promise((resolve) => {
      connect({ hostname, host, port, protocol: `${scheme}:` }, (...[failure]) => resolve(failure));
    });
    expect(error).toMatchObject({ code: "ERR_IP_BLOCKED" });
    expect(reached).toEqual([]);
  });

  test("a peer that the list missed while connecting is dropped before a byte is sent", async () => {
    class Forgetful extends BlockList {
      #asked = 0;
      override check(): boolean {
        this.#asked += 1;
        return this.#asked > 1;
      }
    }
    const before = plain.received();
    const connect = createConnector(new Forgetful());
    const { hostname, host, port } = new URL(urlOf(scheme, allowed));
    const error = await new Promise((resolve) => {
      connect({ hostname, host, port, protocol: `${scheme}:` }, (...[failure]) => resolve(failure));
    });
    expect(error).toMatchObject({ code: "ERR_IP_BLOCKED" });
    expect(plain.received()).toBe(before);
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
  let answerLate = (): void => undefined;
  const lookup = (
    _host: string,
    _options: unknown,
    callback: (error: null, addresses: dns.LookupAddress[]) => void,
  ): void => {
    answerLate = () => callback(null, [{ address: allowed, family: 4 }]);
  };
  vi.spyOn(dns, "lookup").mockImplementation(lookup as never);
  const before = plain.connections.length;
  expect(await send({ url: urlOf("http"), timeoutMs: 100 })).toEqual({
    kind: "refused",
    error: "No connection within PT0.1S",
  });
  answerLate();
  vi.restoreAllMocks();
  // A call of its own goes through the same loop after it, so that a late connection would have come first.
  expect(await send({ url: urlOf("http", allowed) })).toMatchObject({ kind: "answered" });
  expect(plain.connections.length).toBe(before + 1);
});

describe("TLS", () => {
  test("is checked against the host's name", async () => {
    resolveTo([allowed]);
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
