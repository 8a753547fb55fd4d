// Owns the facts about the headers of answers: pages load nothing from elsewhere and cannot be framed, data is not cached, and nothing says what
// serves it.

import { type ClientRequest, request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ redis: "away" });
});
afterAll(() => service.stop());

const get = (path: string, headers = {}): Promise<Response> =>
  fetch(service.url + path, { redirect: "manual", headers });

describe.each([
  "/v1/tasks",
  "/v1/nothing",
  "/healthz",
  "/metrics",
  "/openapi.json",
  "/docs",
  "/docs/rapidoc-min.js",
  "/",
])("%s", (path) => {
  test("cannot be sniffed, framed or told from", async () => {
    const { headers } = await get(path);
    expect(Object.fromEntries(headers)).toMatchObject({
      "x-content-type-options": "nosniff",
      "x-frame-options": "SAMEORIGIN",
      "referrer-policy": "no-referrer",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
    });
    expect(headers.get("content-security-policy")).toMatch(/^default-src 'none';.*frame-ancestors 'none'$/);
    for (const name of ["server", "x-powered-by", "access-control-allow-origin", "etag"])
      expect(headers.has(name)).toBe(false);
  });
});

test("/docs runs no script but its own, and asks nobody else for anything", async () => {
  const answer = await get("/docs");
  const policy = answer.headers.get("content-security-policy") ?? "";
  expect(/script-src ([^;]*)/.exec(policy)?.[1]).toBe("'self'");
  expect(/connect-src ([^;]*)/.exec(policy)?.[1]).toBe("'self'");
  const html = await answer.text();
  expect(html).not.toMatch(/<script(?![^>]* src=)[^>]*>|\son\w+=|https?:\/\/(?!www\.w3\.org)/i);
});

test("a HTML page is never made of a caller's text", async () => {
  const path = "/v1/<script>alert(1)</script>";
  for (const answer of [await get(path), await get(`/v1/tasks?x=<script>`), await get(path, { accept: "text/html" })]) {
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  }
});

test("data is not cached", async () => {
  for (const path of ["/v1/tasks", "/v1/nothing", "/v1/audit"])
    expect((await get(path)).headers.get("cache-control")).toBe("no-store");
});

test("a connection is kept longer than the 60 s for which load balancers keep theirs", async () => {
  const [, seconds] = /^timeout=(\d+)$/.exec((await get("/healthz")).headers.get("keep-alive") ?? "") ?? [];
  expect(Number(seconds)).toBeGreaterThan(60);
});

test("what a proxy says of the host or the client counts for nothing", async () => {
  const call = (host: string, forwarded: string) =>
    request({
      hostname: "127.0.0.1",
      port: new URL(service.url).port,
      path: "/v1/tasks",
      headers: {
        host,
        "x-forwarded-host": forwarded,
        forwarded: `host=${forwarded};for=127.0.0.1`,
        "x-forwarded-for": "127.0.0.1",
      },
    });
  expect(await statusOf(call("evil.example", "127.0.0.1"))).toBe(403);
  expect(await statusOf(call("127.0.0.1", "evil.example"))).toBe(200);
});

function statusOf(call: ClientRequest): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    call.on("response", (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    call.on("error", reject);
    call.end();
  });
}
