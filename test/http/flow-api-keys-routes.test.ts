// Owns the checks of what each API key may do, on every route there is: a new route is held to its scope here without being named.

import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RouteAccess } from "../../src/http/access.ts";
import { makeKey } from "../../src/intake/api-key-text.ts";
import { type Scope, scopes } from "../../src/task/scope.ts";
import { createApi, type TestApi } from "../support/api.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { callRoute, type KeyHolder, makeHolder, nameOf, routes } from "./key-holders.ts";

const apiKey = `key-${randomBytes(16).toString("hex")}`;

let service: TestService;
let stranger: TestApi;
const holders = new Map<string, Promise<KeyHolder>>();

/** The same one again for the same scopes. */
function holderOf(...has: readonly Scope[]): Promise<KeyHolder> {
  const holder = holders.get(has.join(" ")) ?? makeHolder(service.api, service.url, { scopes: has });
  holders.set(has.join(" "), holder);
  return holder;
}

beforeAll(async () => {
  service = await startTestService({ config: { apiKey } });
  stranger = await createApi(service.url, null);
});
afterAll(async () => {
  const apis = (await Promise.all(holders.values())).map(({ api }) => api);
  await Promise.all([stranger, ...apis].map((api) => api.close()));
  await service.stop();
});

/** Which scopes let a route be called; null: it asks for none (the service of this file is on loopback). */
function allowing(access: RouteAccess): readonly Scope[] | null {
  if (access === "public" || access === "metrics") return null;
  return access === "confirm" ? ["tasks:write", "admin"] : [access, "admin"];
}

describe.each(routes.map((route) => [nameOf(route), route] as const))("%s", (_name, route) => {
  const wanted = allowing(route.access);

  test.each([
    ["no key", () => ({})],
    ["an unknown key", () => ({ authorization: `Bearer ${makeKey().text}` })],
    ["a mistyped key", () => ({ authorization: `Bearer ${makeKey().text.slice(0, -1)}` })],
    ["no Bearer", () => ({ authorization: `Basic ${Buffer.from(`key:${apiKey}`).toString("base64")}` })],
  ] as const)("with %s is 401, unless it needs none", async (_what, headers) => {
    const answer = await callRoute(stranger, route, { headers: headers() });
    if (wanted === null) return expect(answer.status).toBeLessThan(400);
    expect(answer.problem).toMatchObject({ status: 401, type: "urn:lapse:problem:unauthorized" });
    expect(answer.headers["www-authenticate"]).toMatch(/^Bearer /);
  });

  test("with a key in its query is 401, unless it needs none", async () => {
    for (const name of ["access_token", "api_key", "key", "authorization"]) {
      const { status } = await callRoute(stranger, route, { query: `?${name}=${apiKey}` });
      expect(status).toBe(wanted === null ? (await callRoute(stranger, route)).status : 401);
    }
  });

  test.each(scopes)("with the scope %s is let through or 403, as it says", async (scope) => {
    const { api } = await holderOf(scope);
    const answer = await callRoute(api, route);
    if (wanted === null || wanted.includes(scope)) return expect([401, 403]).not.toContain(answer.status);
    expect(answer.problem).toMatchObject({ status: 403, type: "urn:lapse:problem:forbidden" });
    expect(answer.headers["www-authenticate"]).toContain(`error="insufficient_scope", scope="${wanted[0]}"`);
  });

  test("with all scopes but admin and its own is 403, unless it needs none", async () => {
    const { api } = await holderOf("tasks:read", "tasks:write", "queues:write");
    const answer = await callRoute(api, route);
    if (route.access === "admin") expect(answer.status).toBe(403);
    else expect([401, 403]).not.toContain(answer.status);
  });
});
