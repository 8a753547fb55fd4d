// Owns the checks of who may call what: the key, its absence on loopback, and what gives web pages away.

import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { describe, expect, test } from "vitest";
import { createGate, isLoopbackHost, mayDo } from "../../src/http/access.ts";
import { createApp } from "../../src/http/app.ts";
import { ApiProblem } from "../../src/http/problem.ts";
import { apiKey, confirmToken, knownApiKey, storedKey, stubParts } from "./stub-parts.ts";

const { apiKeys } = stubParts();
const open = createGate({ apiKey: null, loopbackOnly: true }, apiKeys);
const keyed = createGate({ apiKey, loopbackOnly: false }, apiKeys);
const keyedOnLoopback = createGate({ apiKey, loopbackOnly: true }, apiKeys);
/** A dispatcher alone needs no key, wherever it listens. */
const keyless = createGate({ apiKey: null, loopbackOnly: false }, apiKeys);

async function status(call: () => unknown): Promise<number> {
  try {
    await call();
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
    async (access) => {
      expect(await status(() => keyed.admit(bearer, access))).toBe(200);
      expect(await status(() => keyed.admit({}, access))).toBe(401);
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
  ])("%j is not it", async (authorization) => {
    expect(await status(() => keyed.admit({ authorization }, "tasks:read"))).toBe(401);
  });

  test("the scheme may be in any case", async () => {
    expect(await status(() => keyed.admit({ authorization: `bearer ${apiKey}` }, "tasks:read"))).toBe(200);
  });

  test.each([
    [{}, 401, 'Bearer realm="lapse"'],
    [{ authorization: "Bearer x" }, 401, 'Bearer realm="lapse", error="invalid_token"'],
    [{ authorization: `Bearer ${storedKey}` }, 403, 'Bearer realm="lapse", error="insufficient_scope", scope="admin"'],
  ])("with %j a %i says how to authenticate", async (headers, refused, challenge) => {
    const problem: unknown = await keyed.admit(headers, "admin").catch((error: unknown) => error);
    expect(problem).toMatchObject({ status: refused, details: { headers: { "www-authenticate": challenge } } });
  });

  test("a stored key has its own scopes and queues", async () => {
    const stored = { authorization: `Bearer ${storedKey}` };
    expect(await keyed.admit(stored, "tasks:read")).toEqual({
      apiKeyId: knownApiKey.id,
      scopes: ["tasks:read"],
      queues: ["mail"],
    });
    expect(await status(() => keyed.admit(stored, "tasks:write"))).toBe(403);
    expect(await status(() => keyed.admit(stored, "metrics"))).toBe(403);
  });

  test("public routes need none", async () => {
    expect(await status(() => keyed.admit({}, "public"))).toBe(200);
  });

  test("metrics need none on loopback", async () => {
    expect(await status(() => keyedOnLoopback.admit({}, "metrics"))).toBe(200);
    expect(await status(() => keyedOnLoopback.admit({}, "admin"))).toBe(401);
  });

  test("a confirm token stands in for it at confirm alone, and gives no scope", async () => {
    const headers = { "lapse-confirm-token": confirmToken };
    expect(mayDo(await keyed.admit(headers, "confirm"), "tasks:write")).toBe(false);
    expect(mayDo(await keyed.admit(bearer, "confirm"), "tasks:write")).toBe(true);
    expect(await status(() => keyed.admit(headers, "tasks:write"))).toBe(401);
  });

  test("any Host and any Origin may call: the key decides", async () => {
    expect(await status(() => keyed.guard("POST", { host: "lapse.example", origin: "https://shop.example" }))).toBe(
      200,
    );
  });
});

describe("without a key, off loopback", () => {
  test.each(["tasks:read", "admin", "metrics", "confirm"] as const)("%s is for nobody", async (access) => {
    expect(await status(() => keyless.admit({ authorization: "Bearer x" }, access))).toBe(401);
  });

  test("health is for all", async () => {
    expect(await status(() => keyless.admit({}, "public"))).toBe(200);
  });
});

describe("without a key, on loopback", () => {
  test("a stored key that is sent still has its own rights alone", async () => {
    const stored = { authorization: `Bearer ${storedKey}` };
    expect((await open.admit(stored, "tasks:read")).queues).toEqual(["mail"]);
    expect(await status(() => open.admit(stored, "tasks:write"))).toBe(403);
  });

  test.each(["Bearer unknown", "Basic eDp5", ""])("%j, which is no key, is refused", async (authorization) => {
    expect(await status(() => open.admit({ authorization }, "tasks:read"))).toBe(401);
  });

  test.each(["tasks:read", "tasks:write", "admin", "metrics", "confirm"] as const)("%s is open", async (access) => {
    expect(await status(() => open.admit({}, access))).toBe(200);
  });

  test.each(["localhost", "localhost:8080", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]", "[::1]:8080"])(
    "the Host %s is loopback's",
    async (host) => {
      expect(isLoopbackHost(host)).toBe(true);
      expect(await status(() => open.guard("POST", { host }))).toBe(200);
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
  ])("the Host %j is refused", async (host) => {
    expect(await status(() => open.guard("GET", { host }))).toBe(403);
  });

  test("a missing Host is refused", async () => {
    expect(await status(() => open.guard("GET", {}))).toBe(403);
  });

  const host = "localhost:8080";

  test.each(["https://evil.example", "http://localhost:3000", "http://127.0.0.1:8080", "null", "", "http://localhost"])(
    "the Origin %j is foreign to localhost:8080",
    async (origin) => {
      expect(await status(() => open.guard("POST", { host, origin }))).toBe(403);
    },
  );

  test("its own Origin is not foreign", async () => {
    expect(await status(() => open.guard("POST", { host, origin: "http://localhost:8080" }))).toBe(200);
    expect(await status(() => open.guard("POST", { host: "localhost", origin: "http://localhost" }))).toBe(200);
  });

  test.each(["POST", "PATCH", "DELETE", "PUT"])("a %s that the browser calls cross-site is refused", async (method) => {
    expect(await status(() => open.guard(method, { host, "sec-fetch-site": "cross-site" }))).toBe(403);
  });

  test("a link from another site may be followed", async () => {
    expect(await status(() => open.guard("GET", { host, "sec-fetch-site": "cross-site" }))).toBe(200);
    expect(await status(() => open.guard("POST", { host, "sec-fetch-site": "same-origin" }))).toBe(200);
  });
});

test("a client that leaves while its key is looked up is done with", async () => {
  const { promise: isGone, resolve: gone } = Promise.withResolvers<void>();
  const { promise: isAsked, resolve: asked } = Promise.withResolvers<void>();
  const { promise: isDone, resolve: done } = Promise.withResolvers<number>();
  const holder = async () => {
    asked();
    await isGone;
    return { ...knownApiKey, scopes: ["admin" as const] };
  };
  const metrics = { ...stubParts().metrics, httpRequest: ({ status: answered }: { status: number }) => done(answered) };
  const server = createServer(createApp(stubParts({ apiKeys: { ...apiKeys, holder }, metrics })));
  server.on("connection", (socket) => socket.on("close", () => setImmediate(gone)));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.write(
    "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
  );
  await isAsked;
  client.destroy();
  expect(await isDone).toBe(400);
  await new Promise((resolve) => void server.close(resolve));
});
