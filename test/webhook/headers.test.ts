// Which headers a caller may send, and which a webhook has.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ClaimedTask } from "../../src/task/claimed-task.ts";
import { checkHeaders } from "../../src/webhook/header-rules.ts";
import { type AttemptHeaders, buildHeaders, checkContentType, percentEncode } from "../../src/webhook/headers.ts";
import { claimedTask } from "./claimed-task.ts";

const attempt: AttemptHeaders = {
  timestampSeconds: 1_795_228_200,
  signature: "v1,c2lnbmF0dXJl",
  confirmToken: "confirm-token",
  userAgent: "Lapse/0.1.0",
};

function headersOf(task: Partial<ClaimedTask>): Record<string, string> {
  const flat = buildHeaders(claimedTask(task), attempt);
  const pairs = Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], flat[2 * at + 1]]);
  expect(new Set(pairs.map(([name]) => name)).size).toBe(pairs.length);
  return Object.fromEntries(pairs);
}

describe("a caller's headers", () => {
  test.each([
    {},
    { authorization: "Bearer x", "X-Shop": "Zürich", accept: "*/*", cookie: "a=b", "content-type": "text/plain" },
    { "user-agent": "shop/1.0" },
    { "x-empty": "", "x-tab": "a\tb" },
    { "x-lapsed": "1", "x-webhook": "1", prox: "1", forward: "1" },
    Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`x-${at}`, "1"])),
    { x: "v".repeat(8 * 1024 - 1) },
  ])("are taken: %o", (headers) => expect(checkHeaders(headers)).toEqual([]));

  const refusedNames = [
    "Host connection Keep-Alive te trailer transfer-encoding upgrade expect Content-Length content-encoding".split(" "),
    "http2-settings cookie2 forwarded via traceparent tracestate baggage proxy-authorization proxy-connection".split(
      " ",
    ),
    "X-Forwarded-For x-forwarded-proto webhook-id Webhook-Signature webhook-any lapse-attempt LAPSE-X".split(" "),
    ["", "a b", "a:b", "a\r\nb", "é", "x\0"],
  ].flat();

  test.each(refusedNames)("named %j are refused", (name) => {
    expect(checkHeaders({ [name]: "1" })).toEqual([{ name, message: expect.stringMatching(/^must /) }]);
  });

  test.each(["a\r\nb: c", "a\nb", "a\0", "\x7f", "\x1b", "注", "\ud800"])("with the value %j are refused", (value) => {
    expect(checkHeaders({ "x-a": value })).toEqual([
      { name: "x-a", message: expect.stringContaining("control characters") },
    ]);
  });

  test.each([null, 1, true, ["a"], { a: 1 }])("with %o, as SQL may hold, are refused", (value) => {
    expect(checkHeaders({ "x-a": value })).toEqual([{ name: "x-a", message: "must be a string" }]);
  });

  test("all their faults are told at once, each by its name", () => {
    const faults = checkHeaders({ Host: "a", ok: "1", "x-a": "\n", "X-A": "1", te: "b" });
    expect(faults.map(({ name }) => name)).toEqual(["Host", "x-a", "X-A", "te"]);
    expect(faults[2]?.message).toMatch(/twice/);
  });

  test("more than 32 of them, or over 8 KiB, are refused once", () => {
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`x-${at}`, "1"]));
    expect(checkHeaders(many)).toEqual([{ name: "x-32", message: "must not be one of more than 32 headers" }]);
    const large = { x: "v".repeat(8 * 1024), y: "v", z: "v" };
    expect(checkHeaders(large)).toEqual([{ name: "x", message: expect.stringContaining("8192 bytes") }]);
  });
});

describe("a webhook's headers", () => {
  test("are those of the contract", () => {
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const task = {
      key: "order-1042:payment-timeout",
      queue: "orders",
      attempt: 2,
      traceparent,
      headers: { "X-Shop": "1" },
    };
    expect(
      headersOf({ ...task, body: { kind: "payload", json: "{}" }, dueAt: Date.parse("2026-11-21T02:30:00.007Z") }),
    ).toEqual({
      "content-type": "application/json",
      "webhook-id": "0193a1b2-0000-7000-8000-000000000001",
      "webhook-timestamp": "1795228200",
      "webhook-signature": "v1,c2lnbmF0dXJl",
      "lapse-attempt": "2",
      "lapse-due-at": "2026-11-21T02:30:00.007Z",
      "lapse-queue": "orders",
      "lapse-key": "order-1042:payment-timeout",
      "lapse-confirm-token": "confirm-token",
      "user-agent": "Lapse/0.1.0",
      "x-shop": "1",
      traceparent,
    });
  });

  test("leave out what the task does not have", () => {
    const names =
      "lapse-attempt lapse-confirm-token lapse-due-at lapse-queue user-agent webhook-id webhook-signature webhook-timestamp";
    expect(Object.keys(headersOf({})).toSorted()).toEqual(names.split(" "));
  });

  test("leave out a traceparent that is none", () => {
    expect(headersOf({ traceparent: "00-0-0-01\r\nx: y" })).not.toHaveProperty("traceparent");
  });

  test("take the content type of a raw body, but the caller's own header goes before", () => {
    const body = { kind: "raw", text: "<a/>", contentType: "application/xml" } as const;
    expect(headersOf({ body })["content-type"]).toBe("application/xml");
    expect(headersOf({ body, headers: { "Content-Type": "text/xml" } })["content-type"]).toBe("text/xml");
    const payload = { kind: "payload", json: "{}" } as const;
    expect(
      headersOf({ body: payload, headers: { "CONTENT-TYPE": "application/cloudevents+json" } })["content-type"],
    ).toBe("application/cloudevents+json");
  });

  test("carry the caller's user agent behind ours", () => {
    expect(headersOf({ headers: { "User-Agent": "shop/1.0" } })["user-agent"]).toBe("Lapse/0.1.0 shop/1.0");
    expect(headersOf({ headers: { "user-agent": " " } })["user-agent"]).toBe("Lapse/0.1.0");
  });

  test.each([
    ["order-1042", "order-1042"],
    ["a b", "a%20b"],
    ["100%", "100%25"],
    ["Zürich", "Z%C3%BCrich"],
    ["注文🛒", "%E6%B3%A8%E6%96%87%F0%9F%9B%92"],
    ["!~/?#[]@$&'()*+,;=\"<>\\^`{|}", "!~/?#[]@$&'()*+,;=\"<>\\^`{|}"],
    ["tab\tdel\x7f", "tab%09del%7F"],
  ])("percent-encode the name %j as %j", (name, encoded) => {
    expect(percentEncode(name)).toBe(encoded);
    expect(headersOf({ key: name })["lapse-key"]).toBe(encoded);
  });

  test("hold every name so that it can be decoded again", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (name) => {
        expect(percentEncode(name)).toMatch(/^[\x21-\x7e]*$/);
        expect(decodeURIComponent(percentEncode(name))).toBe(name);
      }),
    );
  });
});

test.each(["application/xml", "text/plain; charset=utf-8"])("a body may be %s", (type) =>
  expect(checkContentType(type)).toBeNull(),
);

test.each(["", " ", "text/plain\r\nx: y", "text/注"])("a body may not be %j", (type) =>
  expect(checkContentType(type)).toMatch(/^must /),
);
