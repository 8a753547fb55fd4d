// Owns the facts about request smuggling (security.md, G4): what two servers in a row might frame otherwise is refused, its connection is
// closed, and nothing of it is carried out.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rowsOf } from "../fault/held.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type RawAnswer, sendRaw } from "./raw-http.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ redis: "away" });
});
afterAll(() => service.stop());

const task = (key: string): string => JSON.stringify({ url: "https://shop.example/", delay: "1h", key });
const [outer, inner] = [task("outer"), task("inner")];
const host = "Host: lapse.test";
const post = "POST /v1/tasks HTTP/1.1";
const json = "Content-Type: application/json";
/** A whole request of its own, hidden behind another. */
const smuggled = `${post}\r\nHost: 127.0.0.1\r\n${json}\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`;

/** A POST of a task with these lines about its framing; what is sent after its head. */
function request(lines: readonly string[], after: string, first = post): string {
  return `${[first, "Host: 127.0.0.1", json, ...lines].join("\r\n")}\r\n\r\n${after}`;
}
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const chunked = `${chunk(outer)}0\r\n\r\n${smuggled}`;
const length = `Content-Length: ${outer.length}`;
const whole = outer + smuggled;
const te = "Transfer-Encoding: chunked";

const refused: readonly (readonly [name: string, bytes: string])[] = [
  ["both a length and chunks", request([length, te], chunked)],
  ["chunks, then a length", request([te, length], chunked)],
  ["a length of 0 beside chunks", request(["Content-Length: 0", te], chunked)],
  ["chunked twice in one line", request(["Transfer-Encoding: chunked, chunked"], chunked)],
  ["chunked, and then identity", request(["Transfer-Encoding: chunked, identity"], chunked)],
  ["chunked, and identity in a line of its own", request([te, "Transfer-Encoding: identity"], chunked)],
  ["an unknown coding", request(["Transfer-Encoding: xchunked"], chunked)],
  ["gzip alone", request(["Transfer-Encoding: gzip"], chunked)],
  ["chunked in quotes", request(['Transfer-Encoding: "chunked"'], chunked)],
  ["chunked behind a vertical tab", request(["Transfer-Encoding:\x0bchunked"], chunked)],
  ["chunked behind a NUL", request(["Transfer-Encoding: \0chunked"], chunked)],
  ["a space before the colon", request(["Transfer-Encoding : chunked"], chunked)],
  ["a tab before the colon", request(["Content-Length\t: 0"], whole)],
  ["a folded line", request(["X-A: b", " Transfer-Encoding: chunked"], chunked)],
  ["a coding in a folded line", request(["Transfer-Encoding:", " chunked"], chunked)],
  ["a bare LF within a header", request([`X-A: b\nTransfer-Encoding: chunked`, length], whole)],
  ["a bare CR within a header", request([`X-A: b\rTransfer-Encoding: chunked`, length], whole)],
  ["bare LFs throughout", request([length], whole).replaceAll("\r\n", "\n")],
  ["a bare LF after the head", request([length], "").slice(0, -4) + `\n\n${whole}`],
  ["two lengths that differ", request([length, "Content-Length: 0"], whole)],
  ["two lengths that agree", request([length, length], whole)],
  ["a list of lengths", request([`Content-Length: ${outer.length}, ${outer.length}`], whole)],
  ["a signed length", request([`Content-Length: +${outer.length}`], whole)],
  ["a negative length", request(["Content-Length: -1"], whole)],
  ["a hexadecimal length", request(["Content-Length: 0x10"], whole)],
  ["a length with a space within", request(["Content-Length: 1 0"], whole)],
  ["a length beyond 64 bits", request([`Content-Length: 184467440737095516${outer.length}`], whole)],
  ["an empty length", request(["Content-Length: "], whole)],
  ["a chunk size with 0x", request([te], `0x${chunked}`)],
  ["a signed chunk size", request([te], `+${chunked}`)],
  ["a chunk size beyond 64 bits", request([te], `F${"0".repeat(16)}${chunked}`)],
  ["a bare LF after a chunk size", request([te], chunked.replace("\r\n", "\n"))],
  ["a bare LF in a chunk extension", request([te], chunked.replace("\r\n", ";a\nb\r\n"))],
  ["a bare CR in a chunk extension", request([te], chunked.replace("\r\n", ";a\rb\r\n"))],
  ["more bytes than the chunk size says", request([te], `1\r\n${outer}\r\n0\r\n\r\n${smuggled}`)],
  ["no line end after a chunk", request([te], `${outer.length.toString(16)}\r\n${outer}0\r\n\r\n${smuggled}`)],
  ["HTTP/1.0 with chunks", request([te], chunked, "POST /v1/tasks HTTP/1.0")],
  ["two hosts", request([host, length], whole)],
  ["no host", `${post}\r\n${json}\r\n${length}\r\n\r\n${whole}`],
  ["a header without a name", request([": b", length], whole)],
  ["a header without a colon", request(["X-A", length], whole)],
  ["a space before the first header", request([length], whole).replace("\r\nHost", "\r\n Host")],
  ["an unknown method", request([length], whole, "SMUGGLE /v1/tasks HTTP/1.1")],
  ["another version", request([length], whole, "POST /v1/tasks HTTP/1.2")],
  ["HTTP/2", request([length], whole, "POST /v1/tasks HTTP/2.0")],
  ["no version", request([length], whole, "POST /v1/tasks")],
  ["HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"],
];

async function countTasks(): Promise<number> {
  const [row] = await rowsOf<{ count: number }>(service.databaseUrl, "select count(*)::int as count from lapse.tasks");
  return row?.count ?? -1;
}

describe("is refused as a 400 problem, closed, and not carried out:", () => {
  test.each(refused)("%s", async (_name, bytes) => {
    const before = await countTasks();
    const [answer, ...more] = await sendRaw(service.url, bytes);
    expect(problemOf(answer)).toEqual({ status: 400, type: "urn:lapse:problem:malformed-request" });
    expect(answer?.headers["connection"]).toBe("close");
    expect(more).toEqual([]);
    expect(await countTasks()).toBe(before);
  });
});

function problemOf(answer: RawAnswer | undefined): object {
  expect(answer?.headers["content-type"]).toBe("application/problem+json");
  const { status, type, title, detail } = JSON.parse(answer?.body ?? "") as Record<string, unknown>;
  expect([typeof title, typeof detail]).toEqual(["string", "string"]);
  expect(status).toBe(answer?.status);
  return { status, type };
}

test("requests in a row on one connection are answered in order, each by itself", async () => {
  const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${more}\r\n`;
  const bytes = get("/healthz") + get("/nothing") + get("/v1/tasks") + get("/healthz", "Connection: close\r\n");
  const answers = await sendRaw(service.url, bytes);
  expect(answers.map(({ status }) => status)).toEqual([200, 404, 200, 200]);
});
