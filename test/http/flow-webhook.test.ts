// Owns the checks of the webhook as a receiver sees it: method, body and every header, byte by byte, and the signature.

import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Flow, promptRetry, startFlow, unique } from "../support/flow.ts";
import type { ReceivedRequest } from "../support/receiver.ts";

let flow: Flow;
let secret: string;

beforeAll(async () => {
  flow = await startFlow();
  const { secrets } = (await flow.api.get("/v1/signing-secrets")).as<{ secrets: string[] }>();
  secret = secrets[0] ?? "";
});
afterAll(() => flow.stop());

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/** Posts a task that is due now, and takes its call. */
async function call(
  fields: object,
  headers: Record<string, string> = {},
): Promise<{ id: string; request: ReceivedRequest }> {
  const hook = flow.hook();
  const { task } = await flow.api.post("/v1/tasks", { url: hook.url, ...fields }, headers);
  return { id: task.id, request: await hook.next() };
}

/** Posts the very text of a payload, and takes its call. */
async function callWithPayload(payload: string): Promise<{ id: string; request: ReceivedRequest }> {
  const hook = flow.hook();
  const answer = await flow.api.call("POST", "/v1/tasks", { text: `{"url": "${hook.url}", "payload": ${payload}}` });
  return { id: answer.task.id, request: await hook.next() };
}

describe("the headers of a call", () => {
  test("are these and no others", async () => {
    const { id, request } = await call({ payload: { orderId: 1042 }, key: unique("order") }, { traceparent });
    const { rawHeaders, headers, body } = request;
    const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
    const own = ["host", "connection", "content-length", "content-type", "user-agent", "traceparent"];
    const signed = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    const lapse = ["lapse-attempt", "lapse-due-at", "lapse-queue", "lapse-key", "lapse-confirm-token"];
    expect(names.toSorted()).toEqual([...own, ...signed, ...lapse].toSorted());
    const { dueAt, key } = await flow.read(id);
    expect(headers).toMatchObject({
      "content-type": "application/json",
      "content-length": String(body.length),
      host: new URL(flow.receiver.url).host,
      "webhook-id": id,
      "webhook-timestamp": expect.stringMatching(/^\d{10}$/),
      "webhook-signature": expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
      "lapse-attempt": "1",
      "lapse-due-at": dueAt,
      "lapse-queue": "default",
      "lapse-key": key,
      "lapse-confirm-token": expect.stringMatching(/^[\x21-\x7e]+$/),
      "user-agent": expect.stringMatching(/^Lapse\/\d+\.\d+\.\d+$/),
    });
  });

  test("leave out what the task has not: key, trace, body", async () => {
    const { headers } = (await call({})).request;
    for (const name of ["lapse-key", "traceparent", "content-type"]) expect(headers).not.toHaveProperty(name);
  });

  test("carry the caller's own", async () => {
    const own = { "X-Shop": "main", authorization: "Bearer a b", "x-latin": "é", "user-agent": "shop/1" };
    const { headers } = (await call({ headers: own })).request;
    expect(headers).toMatchObject({ "x-shop": "main", authorization: "Bearer a b" });
    expect(Buffer.from(String(headers["x-latin"]), "latin1").toString("latin1")).toBe("é");
    expect(headers["user-agent"]).toMatch(/^Lapse\/\S+ shop\/1$/);
  });

  test("let the caller name another content-type for a payload", async () => {
    const { headers } = (await call({ payload: 1, headers: { "Content-Type": "application/vnd.shop+json" } })).request;
    expect(headers["content-type"]).toBe("application/vnd.shop+json");
  });

  test.each([
    ["order-1042:payment-timeout", "order-1042:payment-timeout"],
    ["a b", "a%20b"],
    ["100%", "100%25"],
    ["a/b?c#d&e=f+g", "a/b?c#d&e=f+g"],
    [`"q" <x> {y} \\ ^ \` | ~`, `"q"%20<x>%20{y}%20\\%20^%20\`%20|%20~`],
    ["Bestellung-ö-€-🔑", "Bestellung-%C3%B6-%E2%82%AC-%F0%9F%94%91"],
    ["\u00a0", "%C2%A0"],
  ])("write the key %s as %s", async (key, encoded) => {
    const { headers } = (await call({ key, onConflict: "replace" })).request;
    expect(headers["lapse-key"]).toBe(encoded);
    expect(decodeURIComponent(encoded)).toBe(key);
  });

  test("name the queue", async () => {
    expect((await call({ queue: "A.b_c:d-9" })).request.headers["lapse-queue"]).toBe("A.b_c:d-9");
  });

  test("of a later attempt keep the id, and have a number, a time, a signature and a token of their own", async () => {
    const hook = flow.hook([{ status: 500 }, {}]);
    const { id } = await flow.create({
      url: hook.url,
      delay: "0s",
      retry: { ...promptRetry, minDelay: "1s", maxDelay: "1s" },
    });
    const [first, second] = [(await hook.next()).headers, (await hook.next()).headers];
    expect([first["webhook-id"], second["webhook-id"]]).toEqual([id, id]);
    expect([first["lapse-attempt"], second["lapse-attempt"]]).toEqual(["1", "2"]);
    expect(first["lapse-due-at"]).toBe(second["lapse-due-at"]);
    expect(Number(second["webhook-timestamp"])).toBeGreaterThan(Number(first["webhook-timestamp"]));
    expect(second["webhook-signature"]).not.toBe(first["webhook-signature"]);
    expect(second["lapse-confirm-token"]).not.toBe(first["lapse-confirm-token"]);
  });
});

describe("the signature", () => {
  const verify = (request: ReceivedRequest, body: Buffer | string = request.body): void =>
    void new Webhook(secret).verify(body, request.headers as Record<string, string>);

  test.each<[string, object]>([
    ["a payload", { payload: { "b ö 🔑": [1.1, null], a: "</>" } }],
    ["no body", {}],
  ])("of %s is what the standardwebhooks package expects", async (_name, fields) => {
    const { request } = await call(fields);
    // The package reads JSON after it has verified: where there is none, it is asked of the very bytes alone.
    if (request.body.length > 0) return expect(() => verify(request)).not.toThrow();
    const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature } = request.headers;
    const expected = new Webhook(secret).sign(String(id), new Date(Number(at) * 1_000), "");
    expect(signature).toBe(expected);
  });

  test("does not fit another body", async () => {
    const { request } = await call({ payload: { amount: 1 } });
    expect(() => verify(request, '{"amount":2}')).toThrow(/signature/i);
  });

  test("is of the attempt's own second, by Postgres's clock", async () => {
    const { id, request } = await call({ payload: 1 });
    const { lastAttempt } = await flow.reaches(id, "succeeded");
    const startedSeconds = Date.parse(lastAttempt?.startedAt ?? "") / 1_000;
    expect(Math.abs(Number(request.headers["webhook-timestamp"]) - startedSeconds)).toBeLessThan(3);
  });
});

describe("the body of a call", () => {
  test.each([
    '{"id": 12345678901234567890, "price": 1.10}',
    "12345678901234567890.000000000000000001",
    "-0.0",
    "1E400",
    '{"b":1,"a":2,"10":3,"9":4}',
    '{ "a" : [ 1 ,\t2 ] }',
    String.raw`"\u00e9 \ud83d\udd11 \/ \\ \" é 🔑"`,
    '{"a":1,"a":2}',
    "null",
    '""',
    "[]",
    String.raw`{"payload":"}, \"payload\": 1","url":"x"}`,
  ])("is the payload as it was written: %s", async (payload) => {
    const { id, request } = await callWithPayload(payload);
    expect(request.body.toString()).toBe(payload);
    expect((await flow.api.get(`/v1/tasks/${id}`)).text).toContain(`"payload":${payload},"timeout"`);
    const listed = await flow.api.get("/v1/tasks?order=-createdAt&limit=1");
    expect(listed.text).toContain(`"payload":${payload},"timeout"`);
  });

  test.each([
    ["a=1&b=ö\r\n\t🔑", "application/x-www-form-urlencoded"],
    ["<order id='1'/>", "text/xml; charset=utf-8"],
    ["", "text/plain"],
  ])("is the raw string %j, with its type %s", async (body, contentType) => {
    const { request } = await call({ body, contentType });
    expect([request.body.toString(), request.headers["content-type"]]).toEqual([body, contentType]);
  });

  test("of 256 KiB comes whole", async () => {
    const { request } = await callWithPayload(JSON.stringify("x".repeat(256 * 1024 - 2)));
    expect(request.body).toHaveLength(256 * 1024);
  });

  test.each(["GET", "POST", "PUT", "PATCH", "DELETE"])("goes by %s", async (method) => {
    const { request } = await call({ method, payload: { a: 1 } });
    expect([request.method, request.body.toString()]).toEqual([method, '{"a":1}']);
  });
});

test("a call goes to the very path and query of its url", async () => {
  const { id } = await flow.create({ url: `${flow.receiver.url}/a%20b/ö?x=1&x=%2F#frag`, delay: "0s" });
  await flow.reaches(id, "succeeded");
  const request = flow.receiver.requests.find(({ headers }) => headers["webhook-id"] === id);
  expect(request?.path).toBe("/a%20b/%C3%B6?x=1&x=%2F");
});

describe("traceparent", () => {
  test("is continued from the post, each attempt in the same trace", async () => {
    const hook = flow.hook([{ status: 500 }, {}]);
    await flow.api.post("/v1/tasks", { url: hook.url, retry: promptRetry }, { traceparent });
    for (const attempt of ["1", "2"]) {
      const { headers } = await hook.next();
      expect(headers["lapse-attempt"]).toBe(attempt);
      expect(headers["traceparent"]).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-(?!0{16})[0-9a-f]{16}-01$/);
    }
  });

  test("is continued from a batch", async () => {
    const hook = flow.hook();
    await flow.api.post("/v1/tasks/batch", { tasks: [{ url: hook.url }] }, { traceparent });
    expect((await hook.next()).headers["traceparent"]).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/);
  });

  test.each(["00-0-0-0", `00-${"0".repeat(32)}-b7ad6b7169203331-01`, "anything"])(
    "that is not valid is dropped: %s",
    async (header) => {
      expect((await call({}, { traceparent: header })).request.headers).not.toHaveProperty("traceparent");
    },
  );
});
