// What a webhook is made of and what of its answer counts, over real connections.

import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HttpMethod, TaskBody } from "../../src/task/task.ts";
import { createSigningSecret } from "../../src/webhook/signing.ts";
import { type Receiver, startReceiver } from "../support/receiver.ts";
import { closed, confirmTokens, secret, sendTo, startRawServer, startSender } from "./sending.ts";

const { sender, send } = startSender();
let receiver: Receiver;

beforeAll(async () => {
  receiver = await startReceiver();
});

afterAll(async () => {
  sender.close();
  await receiver.close();
});

const silent = { retryAfter: null, reschedule: null, schedule: null, noRetry: null, location: null };

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
    const rotating = startSender("all", { secrets: `${fresh},${old}` });
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
      headers: { retryAfter: "7", reschedule: "5m", schedule: "end", noRetry: "true", location: null },
      snippet: "Zürich",
    });
    receiver.answer({ headers: { "lapse-reschedule": ["5m", "6m"] } });
    expect(await send({ url: receiver.url })).toMatchObject({ headers: { ...silent, reschedule: "5m, 6m" } });
    receiver.answer({});
  });

  test.each([200, 204, 304, 404, 410, 500])("%i without a body is whole", async (status) => {
    expect(await sendTo(send, `HTTP/1.1 ${status} X\r\ncontent-length: 0\r\n\r\n`)).toEqual({
      kind: "answered",
      status,
      headers: silent,
      snippet: "",
    });
  });

  test.each([301, 302, 303, 307, 308])("%i is not followed", async (status) => {
    const trap = await startReceiver();
    receiver.answer({ status, headers: { location: trap.url } });
    expect(await send({ url: receiver.url })).toMatchObject({
      kind: "answered",
      status,
      headers: { location: trap.url },
    });
    expect(trap.requests).toEqual([]);
    receiver.answer({});
    await trap.close();
  });

  test("may announce itself first (1xx)", async () => {
    const early = "HTTP/1.1 103 Early Hints\r\nlapse-no-retry: true\r\n\r\n";
    expect(await sendTo(send, `${early}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok`)).toEqual({
      kind: "answered",
      status: 200,
      headers: silent,
      snippet: "ok",
    });
  });

  test("may end with its connection, or come in chunks", async () => {
    expect(await sendTo(send, "HTTP/1.1 200 OK\r\n\r\nto the end", { end: true })).toMatchObject({
      status: 200,
      snippet: "to the end",
    });
    const chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nto\r\n4\r\n the\r\n0\r\n\r\n";
    expect(await sendTo(send, chunked)).toMatchObject({ status: 200, snippet: "to the" });
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
