// Which headers a caller may have sent: refused at create, and again at fire where the row holds them. Security requirements G1 to G3.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { httpMethods } from "../../src/task/task.ts";
import { type Flow, startFlow } from "../support/flow.ts";
import { type Planter, startPlanter } from "./planted.ts";

let flow: Flow;
let planter: Planter;

beforeAll(async () => {
  flow = await startFlow();
  planter = await startPlanter(flow.service);
});
afterAll(async () => {
  await planter.close();
  await flow.stop();
});

const countMax = 32;
const bytesMax = 8 * 1_024;

const refused: Readonly<Record<string, string>>[] = [
  ..."host Connection keep-alive proxy-authorization Proxy-Connection te TRAILER transfer-encoding upgrade expect content-length"
    .split(" ")
    .map((name) => ({ [name]: "1" })),
  ..."content-encoding http2-settings cookie2 forwarded x-forwarded-for X-Forwarded-Host via webhook-id Webhook-Signature"
    .split(" ")
    .map((name) => ({ [name]: "1" })),
  ..."webhook-anything lapse-attempt LAPSE-Confirm-Token traceparent tracestate baggage"
    .split(" ")
    .map((name) => ({ [name]: "1" })),
  { "x-a": "1\r\nhost: other.example" },
  { "x-a": "1\nb: 2" },
  { "x-a": "\u0001" },
  { "x-a": "\u007f" },
  { "x-a": "注" },
  { "x a": "1" },
  { "x:a": "1" },
  { "": "1" },
  { "x-é": "1" },
  { "x-a\r\nb": "1" },
  { "X-A": "1", "x-a": "1" },
  Object.fromEntries(Array.from({ length: countMax + 1 }, (_, at) => [`x-${at}`, "1"])),
  { "x-a": "a".repeat(bytesMax - 2) },
];

const taken: Readonly<Record<string, string>>[] = [
  { authorization: "Bearer a", cookie: "a=b", accept: "*/*", "x-forward": "1", "x-webhook-id": "1", prox: "1" },
  { "x-a": "\t !~\u0080\u00ff", "x-empty": "" },
  Object.fromEntries(Array.from({ length: countMax }, (_, at) => [`x-${at}`, "1"])),
  { "x-a": "a".repeat(bytesMax - 3) },
];

describe("headers that are not for the caller to set", () => {
  test.each(refused)("are refused at create: %o", async (headers) => {
    const { problem } = await flow.api.post("/v1/tasks", { url: "https://shop.example/", headers });
    expect(problem).toMatchObject({ status: 422, errors: [{ path: expect.stringMatching(/^\/headers\//) }] });
  });

  test("are blocked at fire where the row holds them, and nothing is sent", async () => {
    const hook = flow.hook();
    const rows = refused.map((headers) => JSON.stringify(headers));
    const tasks = await planter.fire("headers", rows, { url: hook.url });
    expect(tasks).toHaveLength(rows.length);
    for (const { headers, state, lastAttempt } of tasks) {
      expect({ headers, state, ...lastAttempt }).toMatchObject({
        headers,
        state: "failed",
        outcome: "blocked",
        status: null,
      });
      expect(lastAttempt?.error).toMatch(/^The header ".*" must /s);
    }
    expect(hook.requests).toEqual([]);
  });
});

test.each(taken)("headers of a caller's own arrive: %o", async (headers) => {
  const hook = flow.hook();
  await flow.create({ url: hook.url, delay: "0s", headers });
  const request = await hook.next();
  expect(request.headers).toMatchObject(
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replace(/^[\t ]+/, "")])),
  );
});

test("a user agent follows Lapse's own", async () => {
  const hook = flow.hook();
  await flow.create({ url: hook.url, delay: "0s", headers: { "User-Agent": "shop/1" } });
  expect((await hook.next()).headers["user-agent"]).toMatch(/^Lapse\/\S+ shop\/1$/);
});

describe("a method", () => {
  const refusedMethods = ["TRACE", "CONNECT", "OPTIONS", "HEAD", "post", "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET", ""];

  test.each(refusedMethods)("such as %j is refused at create", async (method) => {
    const { problem } = await flow.api.post("/v1/tasks", { url: "https://shop.example/", method });
    expect(problem).toMatchObject({ status: 422, errors: [{ path: "/method" }] });
  });

  test.each(httpMethods)("%s is sent", async (method) => {
    const hook = flow.hook();
    await flow.create({ url: hook.url, delay: "0s", method });
    expect((await hook.next()).method).toBe(method);
  });
});
