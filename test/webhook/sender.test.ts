// What a call is made of and what it can come to, over real connections.

import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HttpMethod, TaskBody } from "../../src/task/task.ts";
import { createSigningSecret } from "../../src/webhook/signing.ts";
import { type Receiver, startReceiver } from "../support/receiver.ts";
import { closed, confirmTokens, secret, startRawServer, startSender } from "./sending.ts";

const { sender, send } = startSender();
let receiver: Receiver;

beforeAll(async () => {
  receiver = await startReceiver();
});

afterAll(async () => {
  sender.close();
  await receiver.close();
});

const silent = { retryAfter: null, reschedule: null, schedule: null, noRetry: null };

/** Sends to a server that answers every request with these bytes, and then, if told so, ends the connection. */
async function sendTo(answer: string, { end = false, timeoutMs = 5_000 } = {}) {
  const server = await startRawServer((socket) =>
    end ? socket.end(answer, "latin1") : socket.write(answer, "latin1"),
  );
  try {
    return await send({ url: server.url, timeoutMs });
  } finally {
    await server.close();
  }
}

describe("a request", () => {
  test("has the method, path and query of the task, and headers that the reference library accepts", async () => {
    const json = '{"id": 12345678901234567890, "price": 1.10}';
    const url = `${receiver.url}/hooks/cancel%20order?a=1&b=%C3%BC#fragment`;
    await send({
      url,
      attempt: 7,
      key: "Bestellung 1042",
      headers: { "X-Shop": "1" },
      body: { kind: "payload", json },
    });
    const request = await receiver.next();
    expect([request.method, request.path]).toEqual(["POST", "/hooks/cancel%20order?a=1&b=%C3%BC"]);
    expect(request.headers).toMatchObject({
      "content-type": "application/json",
      "content-length": "43",
      "x-shop": "1",
      "user-agent": "Lapse/0.1.0",
      "lapse-attempt": "7",
      "lapse-key": "Bestellung%201042",
    });
    expect(
      confirmTokens.verify(String(request.headers["lapse-confirm-token"]), String(request.headers["webhook-id"]), 7),
    ).toBe(true);
    expect(request.body.toString()).toBe(json);
    new Webhook(secret).verify(request.body, request.headers as Record<string, string>);
    expect(request.headers.host).toBe(new URL(receiver.url).host);
  });

  test("is signed with Postgres's time at the sending, and by each of two secrets", async () => {
    const [old, fresh] = [createSigningSecret(), createSigningSecret()];
    const rotating = startSender("all", `${fresh},${old}`);
    const now = Date.now() - 100_000;
    await rotating.send({ url: receiver.url }, { now: () => now });
    rotating.sender.close();
    const request = await receiver.next();
    expect(request.headers["webhook-timestamp"]).toBe(String(Math.floor(now / 1_000)));
    for (const each of [old, fresh]) new Webhook(each).verify(request.body, request.headers as Record<string, string>);
  });

  const bodies: [name: string, body: TaskBody, bytes: string][] = [
    ["none", { kind: "none" }, ""],
    ["an empty string", { kind: "raw", text: "", contentType: "text/plain" }, ""],
    ["non-ASCII", { kind: "payload", json: '{"名":"Zürich 🛒"}' }, '{"名":"Zürich 🛒"}'],
    ["1 MiB", { kind: "raw", text: "é".repeat(512 * 1024), contentType: "text/plain" }, "é".repeat(512 * 1024)],
  ];
  const methods: HttpMethod[] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

  test.each(bodies.flatMap((body) => methods.map((method) => [method, ...body] as const)))(
    "by %s with a body that is %s arrives byte for byte, and signed",
    async (method, _name, body, text) => {
      expect(await send({ url: receiver.url, method, body })).toMatchObject({ kind: "answered", status: 200 });
      const request = await receiver.next();
      expect(request.method).toBe(method);
      expect(request.body.equals(Buffer.from(text))).toBe(true);
      new Webhook(secret).verify(request.body, request.headers as Record<string, string>, { jsonParse: false });
    },
  );
});

describe("an answer", () => {
  test("gives its status, the headers that matter, and its beginning", async () => {
    const headers = {
      "retry-after": "7",
      "lapse-reschedule": "5m",
      "lapse-schedule": "end",
      "lapse-no-retry": "true",
      other: "1",
    };
    receiver.answer({ status: 503, headers, body: "Zürich" });
    expect(await send({ url: receiver.url })).toEqual({
      kind: "answered",
      status: 503,
      headers: { retryAfter: "7", reschedule: "5m", schedule: "end", noRetry: "true" },
      snippet: "Zürich",
    });
    receiver.answer({ headers: { "lapse-reschedule": ["5m", "6m"] } });
    expect(await send({ url: receiver.url })).toMatchObject({ headers: { ...silent, reschedule: "5m, 6m" } });
    receiver.answer({});
  });

  test.each([200, 204, 304, 404, 410, 500])("%i without a body is whole", async (status) => {
    expect(await sendTo(`HTTP/1.1 ${status} X\r\ncontent-length: 0\r\n\r\n`)).toEqual({
      kind: "answered",
      status,
      headers: silent,
      snippet: "",
    });
  });

  test.each([301, 302, 303, 307, 308])("%i is not followed", async (status) => {
    const trap = await startReceiver();
    receiver.answer({ status, headers: { location: trap.url } });
    expect(await send({ url: receiver.url })).toMatchObject({ kind: "answered", status });
    expect(trap.requests).toEqual([]);
    receiver.answer({});
    await trap.close();
  });

  test("may announce itself first (1xx)", async () => {
    const early = "HTTP/1.1 103 Early Hints\r\nlapse-no-retry: true\r\n\r\n";
    expect(await sendTo(`${early}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok`)).toEqual({
      kind: "answered",
      status: 200,
      headers: silent,
      snippet: "ok",
    });
  });

  test("may end with its connection, or come in chunks", async () => {
    expect(await sendTo("HTTP/1.1 200 OK\r\n\r\nto the end", { end: true })).toMatchObject({
      status: 200,
      snippet: "to the end",
    });
    const chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nto\r\n4\r\n the\r\n0\r\n\r\n";
    expect(await sendTo(chunked)).toMatchObject({ status: 200, snippet: "to the" });
  });

  test("is kept to 1 KiB, as text that can be stored", async () => {
    const snippetOf = async (body: string | Buffer) => {
      receiver.answer({ body });
      const result = await send({ url: receiver.url });
      receiver.answer({});
      return result.kind === "answered" ? result.snippet : "";
    };
    expect(await snippetOf("a".repeat(5_000))).toBe("a".repeat(1_024));
    expect(await snippetOf(`a${"é".repeat(5_000)}`)).toBe(`a${"é".repeat(511)}`);
    expect(await snippetOf(`abc${"🛒".repeat(300)}`)).toBe(`abc${"🛒".repeat(255)}`);
    expect(await snippetOf("a\0b")).toBe("a\uFFFDb");
    expect(await snippetOf(Buffer.from([0x61, 0xff, 0x62, 0xc3]))).toBe("a\uFFFDb\uFFFD");
    const noise = await snippetOf(Buffer.alloc(2_000, 0xff));
    expect(noise).toBe("\uFFFD".repeat(341));
    expect(Buffer.byteLength(noise)).toBeLessThanOrEqual(1_024);
  });

  test("is read to 64 KiB: then its status has decided, and the connection is dropped", async () => {
    let sentBytes = 0;
    const server = await startRawServer((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      const pump = () => {
        while (!socket.destroyed && socket.write("x".repeat(16 * 1024))) sentBytes += 16 * 1024;
      };
      socket.on("drain", pump);
      pump();
    });
    expect(await send({ url: server.url })).toMatchObject({
      kind: "answered",
      status: 200,
      snippet: "x".repeat(1_024),
    });
    await closed(server.connections[0]);
    expect(sentBytes).toBeLessThan(64 * 1024 * 1024);
    await server.close();
  });

  test("of exactly 64 KiB is read whole, and its connection kept", async () => {
    receiver.answer({ body: "x".repeat(64 * 1024) });
    const { sender: own, send: sendOwn } = startSender();
    expect(await sendOwn({ url: receiver.url })).toMatchObject({ kind: "answered", status: 200 });
    expect(await sendOwn({ url: receiver.url })).toMatchObject({ kind: "answered", status: 200 });
    own.close();
    receiver.answer({});
  });
});

describe("a connection that breaks after the request was sent is a reset", () => {
  test("before any answer", async () => {
    receiver.answer({ reset: true });
    expect(await send({ url: receiver.url })).toMatchObject({
      kind: "reset",
      error: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/),
    });
    receiver.answer({});
  });

  test.each([
    ["closed without an answer", ""],
    ["cut in the head", "HTTP/1.1 200 OK\r\nconte"],
    ["cut in the body", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"],
    ["cut in a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"],
  ])("%s", async (_name, bytes) => {
    expect(await sendTo(bytes, { end: true })).toMatchObject({ kind: "reset", error: expect.any(String) });
  });

  test.each([
    ["not HTTP", "SSH-2.0-OpenSSH_9.6\r\n", /not HTTP/],
    ["another version of it", "HTTP/9.9 200 OK\r\n\r\n", /not HTTP/],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na", /content-length/],
    ["headers beyond 16 KiB", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(17 * 1024)}\r\n\r\n`, /too large/],
    ["an upgrade", "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", /broke/],
  ])("answered with %s", async (_name, bytes, error) => {
    expect(await sendTo(bytes)).toMatchObject({ kind: "reset", error: expect.stringMatching(error) });
  });
});

describe("a timeout counts from connecting to the last byte", () => {
  test("before any answer", async () => {
    receiver.answer({ hang: true });
    expect(await send({ url: receiver.url, timeoutMs: 150 })).toEqual({
      kind: "timed-out",
      error: "No answer within PT0.15S",
    });
    receiver.answer({});
  });

  test("in the head, and in the body", async () => {
    expect(await sendTo("HTTP/1.1 200 OK\r\n", { timeoutMs: 150 })).toEqual({
      kind: "timed-out",
      error: "No answer within PT0.15S",
    });
    expect(await sendTo("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", { timeoutMs: 150 })).toEqual({
      kind: "timed-out",
      error: "Status 200, but not the whole answer within PT0.15S",
    });
  });

  test("also where bytes keep coming, one at a time", async () => {
    const drips: NodeJS.Timeout[] = [];
    const server = await startRawServer((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      drips.push(setInterval(() => socket.write("."), 10));
    });
    const startedAt = performance.now();
    expect(await send({ url: server.url, timeoutMs: 300 })).toMatchObject({ kind: "timed-out" });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(300);
    for (const drip of drips) clearInterval(drip);
    await server.close();
  });

  test("closes the connection of the call that it ends", async () => {
    const server = await startRawServer(() => undefined);
    await send({ url: server.url, timeoutMs: 100 });
    await closed(server.connections[0]);
    expect(server.connections).toHaveLength(1);
    await server.close();
  });
});

describe("without a connection nothing was sent", () => {
  test("where the port is closed", async () => {
    const closed = await startRawServer(() => undefined);
    await closed.close();
    expect(await send({ url: closed.url })).toEqual({
      kind: "refused",
      error: "No connection: the connection was refused (ECONNREFUSED)",
    });
  });

  test("where the name does not exist", async () => {
    const result = await send({ url: "http://shop.invalid/" });
    expect(result).toMatchObject({ kind: "refused", error: expect.stringMatching(/ENOTFOUND|EAI_AGAIN/) });
  });

  test("where TLS does not come about within the timeout", async () => {
    const mute = await startRawServer(() => undefined);
    const result = await send({ url: mute.url.replace("http:", "https:"), timeoutMs: 200 });
    expect(result).toEqual({ kind: "refused", error: "No connection within PT0.2S" });
    await closed(mute.connections[0]);
    expect(mute.received()).not.toContain("webhook-id");
    await mute.close();
  });

  test("where the other side does not speak TLS", async () => {
    const result = await send({ url: receiver.url.replace("http:", "https:") });
    expect(result).toMatchObject({ kind: "refused", error: expect.stringMatching(/^No connection/) });
  });
});

describe("what may not be sent is blocked", () => {
  test.each([
    [{ headers: { host: "other.example" } }, /The header "host" must not be set/],
    [{ headers: { "x-a": "a\r\nx-b: c" } }, /The header "x-a" must not hold/],
    [{ method: "TRACE" as HttpMethod }, /The method must be one of/],
    [{ body: { kind: "raw", text: "", contentType: "a\r\nb: c" } as const }, /The contentType must be/],
    [{ url: "ftp://shop.example/" }, /^egress_blocked: shop\.example: the URL must be/],
    [{ url: "nonsense" }, /^egress_blocked: the URL must be/],
    [{ url: "http://user:secret@shop.example/" }, /^egress_blocked: shop\.example: the URL must not hold a user name/],
  ])("such as %j, which only SQL can have put there", async (fields, error) => {
    const asked = receiver.requests.length;
    const result = await send({ url: receiver.url, ...fields });
    expect(result).toEqual({ kind: "blocked", error: expect.stringMatching(error) });
    expect(JSON.stringify(result)).not.toContain("secret");
    expect(receiver.requests.length).toBe(asked);
  });
});

describe("a call whose owner may not start it any more", () => {
  test("is withheld: it is asked once, after connecting, and not a byte is sent", async () => {
    const server = await startRawServer(() => undefined);
    let asked = 0;
    const mayStart = () => {
      asked += 1;
      return false;
    };
    expect(await send({ url: server.url }, { mayStart })).toEqual({ kind: "withheld" });
    expect(asked).toBe(1);
    await closed(server.connections[0]);
    expect(server.received()).toBe("");
    await server.close();
  });

  test("is withheld on a connection that stands from before, too", async () => {
    const { sender: own, send: sendOwn } = startSender();
    const asked = receiver.requests.length;
    expect(await sendOwn({ url: receiver.url })).toMatchObject({ kind: "answered" });
    expect(await sendOwn({ url: receiver.url }, { mayStart: () => false })).toEqual({ kind: "withheld" });
    expect(await sendOwn({ url: receiver.url })).toMatchObject({ kind: "answered" });
    expect(receiver.requests.length).toBe(asked + 2);
    own.close();
  });
});

describe("a drain that waits no longer", () => {
  test("ends what was sent as lost, and what was not as refused", async () => {
    const { sender: own, send: sendOwn } = startSender();
    const mute = await startRawServer(() => undefined);
    receiver.answer({ hang: true });
    const sent = [1, 2, 3].map(() => sendOwn({ url: `${receiver.url}/hang` }));
    const connecting = sendOwn({ url: mute.url.replace("http:", "https:") });
    for (const _ of sent) await receiver.next(({ path }) => path === "/hang");
    expect(own.callCount).toBe(4);
    own.abortAll();
    for (const result of await Promise.all(sent))
      expect(result).toMatchObject({ kind: "lost", error: expect.any(String) });
    expect(await connecting).toMatchObject({ kind: "refused", error: expect.any(String) });
    expect(own.callCount).toBe(0);
    receiver.answer({});
    expect(await sendOwn({ url: receiver.url })).toMatchObject({ kind: "answered" });
    own.close();
    await mute.close();
  });
});
