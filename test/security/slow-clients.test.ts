// Owns the facts about clients that waste connections (security.md, D8 and G4): slow heads, slow bodies, silence, too many, too much. Each is
// told why where it can be, and closed; the others are served meanwhile. The times are a test's own.

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createApp } from "../../src/http/app.ts";
import { headersCountMax } from "../../src/http/limits.ts";
import { type HttpServer, listen, serverLimits } from "../../src/http/server.ts";
import { stubParts } from "../http/stub-parts.ts";
import { openRaw, parseAnswers, sendRaw } from "./raw-http.ts";

const limits = { headersTimeoutMs: 300, requestTimeoutMs: 2_500, checkMs: 50, idleMs: 1_000, connectionsMax: 20 };
/** A byte each, so that the connection is never idle. */
const dripMs = 20;
const headBytesMax = 16_384;
const headerLines = (count: number) => Array.from({ length: count }, (_, i) => `x-${i}: a\r\n`).join("");
const get = (more = "") => `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n${more}\r\n`;
const postHead = "POST /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n";

let server: HttpServer;
beforeAll(async () => {
  server = await listen(createApp(stubParts()), { host: "127.0.0.1", port: 0 }, limits);
});
afterAll(() => server.close());

/** Sends the start and then a byte now and then, until the server closes; resolves to what it said. */
async function drip(start: string): Promise<string> {
  const connection = openRaw(server.url);
  connection.socket.write(start);
  const timer = setInterval(() => connection.socket.write("a"), dripMs);
  return connection.closed().finally(() => clearInterval(timer));
}

describe("a client that sends", () => {
  test.each([
    ["its first line", "GET /", limits.requestTimeoutMs],
    ["its headers", "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ", limits.requestTimeoutMs],
    ["a body of stated length", `${postHead}Content-Length: 100000\r\n\r\n`, 2 * limits.requestTimeoutMs],
    ["a chunk", `${postHead}Transfer-Encoding: chunked\r\n\r\nFFFF\r\n`, 2 * limits.requestTimeoutMs],
  ])("%s too slowly is answered 408 and closed, and others are served meanwhile", async (_name, start, withinMs) => {
    const startedMs = performance.now();
    const slow = drip(start);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    const [answer] = parseAnswers(await slow);
    expect(answer?.status).toBe(408);
    expect(JSON.parse(answer?.body ?? "")).toMatchObject({ type: "urn:lapse:problem:request-timeout", status: 408 });
    expect(performance.now() - startedMs).toBeLessThan(withinMs);
  });

  test("nothing at all is closed", async () => {
    expect(await openRaw(server.url).closed()).toMatch(/^(HTTP\/1.1 408 |$)/);
  });
});

test("a client that breaks its body off is none of Lapse's faults in the log", async () => {
  const answered = Promise.withResolvers<number>();
  const [parts, logged] = [stubParts(), [] as unknown[]];
  const log = { ...parts.log, error: (line: unknown) => void logged.push(line) };
  const metrics = { ...parts.metrics, httpRequest: ({ status }: { status: number }) => answered.resolve(status) };
  const watched = await listen(createApp({ ...parts, log, metrics }), { host: "127.0.0.1", port: 0 });
  onTestFinished(() => watched.close());
  const { socket } = openRaw(watched.url);
  socket.write(`${postHead}Content-Length: 100000\r\n\r\n{`, () => socket.destroy());
  expect(await answered.promise).toBe(400);
  expect(logged).toEqual([]);
});

describe("headers", () => {
  const own = 1; // Host
  test("may be as many as the limit, and not one more", async () => {
    const [within] = await sendRaw(server.url, get(`${headerLines(headersCountMax - own - 1)}Connection: close\r\n`));
    expect(within?.status).toBe(200);
    const [past] = await sendRaw(server.url, get(headerLines(headersCountMax - own + 1)));
    expect(past).toMatchObject({ status: 431, headers: { connection: "close" } });
    expect(JSON.parse(past?.body ?? "")).toMatchObject({ type: "urn:lapse:problem:headers-too-large" });
  });

  test("may have 16 KiB with the request line, and no more", async () => {
    const rest = `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-A: \r\n\r\n`.length;
    const fill = (bytes: number) => get(`Connection: close\r\nX-A: ${"a".repeat(bytes - rest)}\r\n`);
    expect((await sendRaw(server.url, fill(headBytesMax - 256)))[0]?.status).toBe(200);
    const [past] = await sendRaw(server.url, fill(headBytesMax + 256));
    expect(past?.status).toBe(431);
    expect(JSON.parse(past?.body ?? "")).toMatchObject({ type: "urn:lapse:problem:headers-too-large", status: 431 });
  });

  test.each([
    ["a URL", `GET /${"a".repeat(headBytesMax)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`],
    ["trailers", `${postHead}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n${headerLines(headBytesMax / 4)}\r\n`],
    [
      "chunk extensions",
      `${postHead}Transfer-Encoding: chunked\r\n\r\n2;${"a".repeat(2 * headBytesMax)}\r\n{}\r\n0\r\n\r\n`,
    ],
  ])("as large as %s without end are refused, and the connection is closed", async (_name, bytes) => {
    const answers = await sendRaw(server.url, bytes);
    expect(answers.map(({ status }) => status >= 400 && status < 500)).not.toContain(false);
  });
});

test("connections beyond the limit are closed, and those that stand are served", async () => {
  const held = Array.from({ length: limits.connectionsMax }, () => openRaw(server.url));
  await Promise.all(held.map(({ socket }) => new Promise((resolve) => socket.once("connect", resolve))));
  held[0]?.socket.write(get());
  await expect.poll(() => held[0]?.received()).toContain("200 OK");
  expect(await openRaw(server.url).closed()).toBe("");
  for (const { socket } of held) socket.destroy();
  await expect.poll(async () => (await fetch(`${server.url}/healthz`).catch(() => null))?.status).toBe(200);
});

test("a client that does not read its answers is closed", async () => {
  const connection = openRaw(server.url);
  connection.socket.pause();
  const flood = () => {
    while (connection.socket.write(`GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`.repeat(10)));
  };
  connection.socket.on("drain", flood);
  flood();
  const isClosed = new Promise((resolve) =>
    connection.socket.once("close", () => resolve(true)).once("error", () => resolve(true)),
  );
  expect(await isClosed).toBe(true);
});

test("in production the limits are these", () => {
  expect(serverLimits).toEqual({
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 60_000,
    checkMs: 1_000,
    idleMs: 120_000,
    connectionsMax: 4_096,
  });
});
