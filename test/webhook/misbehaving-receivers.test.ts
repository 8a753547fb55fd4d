// Receivers that answer with nonsense, too much, or too little: each is an outcome that can be stored, soon, and its connection is not used
// again, so that nothing of it reaches the next call.

import type { Socket } from "node:net";
import { afterAll, expect, test } from "vitest";
import { errorLengthMax } from "../../src/task/settle.ts";
import { storableText } from "../../src/task/storable-text.ts";
import type { SendResult } from "../../src/webhook/call.ts";
import { closed, type RawServer, startRawServer, startSender } from "./sending.ts";

const { sender, send } = startSender();
const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/** Far beyond what any of these takes; a call that only its timeout ends is told by its result. */
const timeoutMs = 20_000;

afterAll(() => sender.close());

/** Serves the first connection as told, all others well. */
async function serveFirst(serve: (socket: Socket, chunk: string) => void): Promise<RawServer> {
  const server: RawServer = await startRawServer((socket, chunk) => {
    if (socket === server.connections[0]) serve(socket, chunk);
    else socket.write(ok);
  });
  return server;
}

/** What the call came to; by then its connection is closed, the result can be stored, and the next call is answered on another one. */
async function resultOf(
  serve: (socket: Socket, chunk: string) => void,
  callTimeoutMs = timeoutMs,
): Promise<SendResult> {
  const server = await serveFirst(serve);
  try {
    const result = await send({ url: server.url, timeoutMs: callTimeoutMs });
    const text = "error" in result ? result.error : "snippet" in result ? result.snippet : "";
    expect(text).toBe(storableText(text, Math.max(errorLengthMax, text.length)));
    await closed(server.connections[0]);
    expect(await send({ url: server.url })).toMatchObject({ kind: "answered", status: 200, snippet: "ok" });
    expect(server.connections).toHaveLength(2);
    return result;
  } finally {
    await server.close();
  }
}

const isNotHttp = /^What came back is not HTTP/;

test.each([
  ["a NUL in a header", "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n", isNotHttp],
  ["a NUL in a header's name", "HTTP/1.1 200 OK\r\nx\0: a\r\ncontent-length: 0\r\n\r\n", isNotHttp],
  ["binary garbage", "\0\x01\x02\xff\xfe\0\r\n\r\n", isNotHttp],
  ["a TLS alert", "\x15\x03\x03\0\x02\x02\x28", isNotHttp],
  ["HTTP/2's preface", "\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0", isNotHttp],
  ["no status", "HTTP/1.1 \r\n\r\n", isNotHttp],
  ["a status of one digit", "HTTP/1.1 2 OK\r\ncontent-length: 0\r\n\r\n", isNotHttp],
  ["a header without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", isNotHttp],
  ["a folded header", "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n nonsense\r\n", /./],
  ["a content-length that is none", "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok", isNotHttp],
  ["a negative content-length", "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok", isNotHttp],
  [
    "a content-length beyond all numbers",
    "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
    /content-length/,
  ],
  [
    "a chunk size that is none",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    isNotHttp,
  ],
  [
    "a chunk size beyond all numbers",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    isNotHttp,
  ],
  ["100 Continue, which nobody waited for", "HTTP/1.1 100 Continue\r\n\r\n", /broke/],
  [
    "an upgrade that nobody asked for",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    /broke/,
  ],
] as const)("an answer with %s is a reset", async (_name, bytes, error) => {
  const result = await resultOf((socket) =>
    bytes.endsWith("nonsense\r\n") ? socket.end(bytes) : socket.write(bytes, "latin1"),
  );
  expect(result).toMatchObject({ kind: "reset", error: expect.stringMatching(error) });
});

test.each([
  [
    "a length and chunks at once",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
  ],
  ["another transfer coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok"],
])("an answer with %s is never kept as one that others may follow", async (_name, bytes) => {
  const result = await resultOf((socket) => socket.end(bytes));
  expect(["answered", "reset"]).toContain(result.kind);
});

test.each([
  ["a second answer", `${ok}HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno`],
  ["more than its content-length", `${ok} and more`],
  ["a length that a 204 cannot have", "HTTP/1.1 204 None\r\ncontent-length: 5\r\n\r\n"],
  ["a body that a 204 cannot have", "HTTP/1.1 204 None\r\n\r\nHTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"],
])("what follows a whole answer (%s) is nobody's", async (_name, bytes) => {
  expect(await resultOf((socket) => socket.write(bytes))).toMatchObject({
    kind: "answered",
    status: expect.toBeOneOf([200, 204]),
  });
});

test("a body that breaks off with a reset is a reset", async () => {
  const result = await resultOf((socket) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", () => socket.resetAndDestroy());
  });
  expect(result).toMatchObject({ kind: "reset", error: expect.stringMatching(/broke|content-length/) });
});

test("a body that is shorter than its content-length times out where the connection stays open", async () => {
  const result = await resultOf((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok"), 300);
  expect(result).toEqual({ kind: "timed-out", error: "Status 200, but not the whole answer within PT0.3S" });
});

test("NUL, lone surrogates and half characters in a body can be stored", async () => {
  const bytes = Buffer.from([0, 0x61, 0xed, 0xa0, 0x80, 0, 0xf0, 0x9f]);
  const result = await resultOf((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${bytes.length}\r\n\r\n`);
    socket.end(bytes);
  });
  expect(result).toMatchObject({ kind: "answered", snippet: "\uFFFDa\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD" });
});

const floods: [name: string, head: string, again: string, result: object][] = [
  [
    "headers",
    "HTTP/1.1 200 OK\r\n",
    `x: ${"y".repeat(1_000)}\r\n`,
    { kind: "reset", error: "The answer's headers are too large" },
  ],
  [
    "headers of one byte",
    "HTTP/1.1 200 OK\r\n",
    "x:\r\n".repeat(1_000),
    { kind: "reset", error: "The answer's headers are too large" },
  ],
  [
    "one header",
    "HTTP/1.1 200 OK\r\nx: ",
    "y".repeat(1_000),
    { kind: "reset", error: "The answer's headers are too large" },
  ],
  ["a reason", "HTTP/1.1 200 ", "y".repeat(1_000), { kind: "reset" }],
  ["announcements", "", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100), { kind: "reset" }],
  [
    "chunk extensions",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1",
    ";a=b".repeat(1_000),
    { kind: "reset" },
  ],
  [
    "zeros before a chunk's size",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "0".repeat(1_000),
    { kind: "reset" },
  ],
  [
    "trailers",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
    `x: ${"y".repeat(1_000)}\r\n`,
    { kind: "reset" },
  ],
  ["empty lines before an answer", "", "\r\n".repeat(1_000), { kind: "reset" }],
  [
    "a body",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    `3e8\r\n${"y".repeat(1_000)}\r\n`,
    { kind: "answered" },
  ],
  [
    "a body in chunks of one byte",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "1\r\ny\r\n".repeat(1_000),
    { kind: "answered" },
  ],
];

test.each(floods)(
  "%s without end are cut off, long before the timeout",
  async (_name, head, again, expected) => {
    const startedAt = performance.now();
    const result = await resultOf((socket) => {
      const flood = (): void => {
        while (!socket.destroyed && socket.write(again));
      };
      socket.write(head);
      socket.on("drain", flood);
      flood();
    });
    expect(result).toMatchObject(expected);
    expect(performance.now() - startedAt).toBeLessThan(timeoutMs / 2);
  },
  30_000,
);
