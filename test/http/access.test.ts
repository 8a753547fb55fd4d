// Owns the checks of who may call what: the key, its absence on loopback, and what gives web pages away.

import { describe, expect, test } from "vitest";
import { createGate, isLoopbackHost, mayDo } from "../../src/http/access.ts";
import { ApiProblem } from "../../src/http/problem.ts";
import { apiKey, confirmToken } from "./stub-parts.ts";

const open = createGate({ apiKey: null, loopbackOnly: true });
const keyed = createGate({ apiKey, loopbackOnly: false });
const keyedOnLoopback = createGate({ apiKey, loopbackOnly: true });
/** A dispatcher alone needs no key, wherever it listens. */
const keyless = createGate({ apiKey: null, loopbackOnly: false });

function status(call: () => unknown): number {
  try {
    call();
  } catch (error) {
    if (error instanceof ApiProblem) return error.status;
    throw error;
  }
  return 200;
}

describe("with a key", () => {
  const bearer = { authorization: `Bearer ${apiKey}` };

  test.each(["tasks:read", "tasks:write", "queues:write", "admin", "metrics", "confirm"] as const)(
    "%s needs it",
    (access) => {
      expect(status(() => keyed.admit(bearer, access))).toBe(200);
      expect(status(() => keyed.admit({}, access))).toBe(401);
    },
  );

  test.each([
    `Bearer ${apiKey}x`,
    `Bearer ${apiKey.slice(1)}`,
    `Bearer ${apiKey.toUpperCase()}`,
    `Basic ${Buffer.from(`:${apiKey}`).toString("base64")}`,
    apiKey,
    "Bearer",
    "Bearer ",
    `Bearer ${apiKey} ${apiKey}`,
    `Bearer ${apiKey}, Bearer ${apiKey}`,
    "",
  ])("%j is not it", (authorization) => {
    expect(status(() => keyed.admit({ authorization }, "tasks:read"))).toBe(401);
  });

  test("the scheme may be in any case", () => {
    expect(status(() => keyed.admit({ authorization: `bearer ${apiKey}` }, "tasks:read"))).toBe(200);
  });

  test("a 401 says how to authenticate", () => {
    expect(() => keyed.admit({}, "tasks:read")).toThrow(
      expect.objectContaining({
        problem: "unauthorized",
        details: expect.objectContaining({ headers: { "www-authenticate": 'Bearer realm="lapse"' } }),
      }),
    );
  });

  test("public routes need none", () => {
    expect(status(() => keyed.admit({}, "public"))).toBe(200);
  });

  test("metrics need none on loopback", () => {
    expect(status(() => keyedOnLoopback.admit({}, "metrics"))).toBe(200);
    expect(status(() => keyedOnLoopback.admit({}, "admin"))).toBe(401);
  });

  test("a confirm token stands in for it at confirm alone, and gives no scope", () => {
    const headers = { "lapse-confirm-token": confirmToken };
    expect(mayDo(keyed.admit(headers, "confirm"), "tasks:write")).toBe(false);
    expect(mayDo(keyed.admit(bearer, "confirm"), "tasks:write")).toBe(true);
    expect(status(() => keyed.admit(headers, "tasks:write"))).toBe(401);
  });

  test("any Host and any Origin may call: the key decides", () => {
    expect(status(() => keyed.guard("POST", { host: "lapse.example", origin: "https://shop.example" }))).toBe(200);
  });
});

describe("without a key, off loopback", () => {
  test.each(["tasks:read", "admin", "metrics", "confirm"] as const)("%s is for nobody", (access) => {
    expect(status(() => keyless.admit({ authorization: "Bearer x" }, access))).toBe(401);
  });

  test("health is for all", () => {
    expect(status(() => keyless.admit({}, "public"))).toBe(200);
  });
});

describe("without a key, on loopback", () => {
  test.each(["tasks:read", "tasks:write", "admin", "metrics", "confirm"] as const)("%s is open", (access) => {
    expect(status(() => open.admit({}, access))).toBe(200);
  });

  test.each(["localhost", "localhost:8080", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]", "[::1]:8080"])(
    "the Host %s is loopback's",
    (host) => {
      expect(isLoopbackHost(host)).toBe(true);
      expect(status(() => open.guard("POST", { host }))).toBe(200);
    },
  );

  test.each([
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1:8080",
    "0.0.0.0",
    "::1",
    "localhost:",
    "",
    "localhost:8080x",
  ])("the Host %j is refused", (host) => {
    expect(status(() => open.guard("GET", { host }))).toBe(403);
  });

  test("a missing Host is refused", () => {
    expect(status(() => open.guard("GET", {}))).toBe(403);
  });

  const host = "localhost:8080";

  test.each(["https://evil.example", "http://localhost:3000", "http://127.0.0.1:8080", "null", "", "http://localhost"])(
    "the Origin %j is foreign to localhost:8080",
    (origin) => {
      expect(status(() => open.guard("POST", { host, origin }))).toBe(403);
    },
  );

  test("its own Origin is not foreign", () => {
    expect(status(() => open.guard("POST", { host, origin: "http://localhost:8080" }))).toBe(200);
    expect(status(() => open.guard("POST", { host: "localhost", origin: "http://localhost" }))).toBe(200);
  });

  test.each(["POST", "PATCH", "DELETE", "PUT"])("a %s that the browser calls cross-site is refused", (method) => {
    expect(status(() => open.guard(method, { host, "sec-fetch-site": "cross-site" }))).toBe(403);
  });

  test("a link from another site may be followed", () => {
    expect(status(() => open.guard("GET", { host, "sec-fetch-site": "cross-site" }))).toBe(200);
    expect(status(() => open.guard("POST", { host, "sec-fetch-site": "same-origin" }))).toBe(200);
  });
});
