// What a call comes to that gets no whole answer, or is not made at all, over real connections.

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { HttpMethod } from "../../src/task/task.ts";
import { type Receiver, startReceiver } from "../support/receiver.ts";
import { closed, sendTo, startRawServer, startSender } from "./sending.ts";

const { sender, send } = startSender();
let receiver: Receiver;

beforeAll(async () => {
  receiver = await startReceiver();
});

afterAll(async () => {
  sender.close();
  await receiver.close();
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
    expect(await sendTo(send, bytes, { end: true })).toMatchObject({ kind: "reset", error: expect.any(String) });
  });

  test.each([
    ["not HTTP", "SSH-2.0-OpenSSH_9.6\r\n", /not HTTP/],
    ["another version of it", "HTTP/9.9 200 OK\r\n\r\n", /not HTTP/],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na", /content-length/],
    ["headers beyond 16 KiB", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(17 * 1024)}\r\n\r\n`, /too large/],
    ["an upgrade", "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", /broke/],
  ])("answered with %s", async (_name, bytes, error) => {
    expect(await sendTo(send, bytes)).toMatchObject({ kind: "reset", error: expect.stringMatching(error) });
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
    expect(await sendTo(send, "HTTP/1.1 200 OK\r\n", { timeoutMs: 500 })).toEqual({
      kind: "timed-out",
      error: "No answer within PT0.5S",
    });
    expect(await sendTo(send, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", { timeoutMs: 500 })).toEqual({
      kind: "timed-out",
      error: "Status 200, but not the whole answer within PT0.5S",
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

  test("also where it is longer than any timer", async () => {
    receiver.answer({ hang: true });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "hrtime"] });
    let result: string | undefined;
    const noteResult = async () => {
      result = (await send({ url: `${receiver.url}/long`, timeoutMs: 150_000 })).kind;
    };
    const ended = noteResult();
    await receiver.next(({ path }) => path === "/long");
    await vi.advanceTimersByTimeAsync(149_999);
    expect(result).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    await ended;
    expect(result).toBe("timed-out");
    vi.useRealTimers();
    receiver.answer({});
  });

  test("closes the connection of the call that it ends", async () => {
    const server = await startRawServer(() => undefined);
    await send({ url: server.url, timeoutMs: 1_000 });
    await closed(server.connections[0]);
    expect(server.connections).toHaveLength(1);
    await server.close();
  });
});

describe("without a connection nothing was sent", () => {
  test("where the port is closed", async () => {
    const gone = await startRawServer(() => undefined);
    await gone.close();
    expect(await send({ url: gone.url })).toEqual({
      kind: "refused",
      error: "No connection: the connection was refused (ECONNREFUSED)",
    });
  });

  test("where the name does not exist", async () => {
    const lookup = () =>
      Promise.reject(Object.assign(new Error("getaddrinfo ENOTFOUND shop.invalid"), { code: "ENOTFOUND" }));
    const { sender: own, send: sendOwn } = startSender("all", { lookup });
    const result = await sendOwn({ url: "http://shop.invalid/" });
    own.close();
    expect(result).toEqual({ kind: "refused", error: "No connection: the host name does not exist (ENOTFOUND)" });
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

describe("what can never be sent is unsendable", () => {
  test.each([
    [{ headers: { host: "other.example" } }, /The header "host" must not be set/],
    [{ headers: { "x-a": "a\r\nx-b: c" } }, /The header "x-a" must not hold/],
    [{ method: "TRACE" as HttpMethod }, /The method must be one of/],
    [{ body: { kind: "raw", text: "", contentType: "a\r\nb: c" } as const }, /The contentType must be/],
    [{ url: "ftp://shop.example/" }, /^The URL must be/],
    [{ url: "nonsense" }, /^The URL must be/],
    [{ url: "http://user:secret@shop.example/" }, /^The URL must not hold a user name/],
    [{ damage: "The task cannot be sent: its payload is not JSON" }, /payload/],
  ])("such as %j, which only SQL can have put there", async (fields, error) => {
    const asked = receiver.requests.length;
    const result = await send({ url: receiver.url, ...fields });
    expect(result).toEqual({ kind: "unsendable", error: expect.stringMatching(error) });
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
