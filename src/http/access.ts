// Owns who may call what: the API key, and the rules that keep an open API on loopback from being used by web pages.

import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { AccessRule } from "./parts.ts";
import { ApiProblem } from "./problem.ts";

export const scopes = ["tasks:read", "tasks:write", "queues:write", "admin"] as const;
export type Scope = (typeof scopes)[number];

/**
 * What a route asks for. `public`: nothing. `metrics`: the scope admin, unless the server is on loopback. `confirm`: tasks:write, or the
 * token of the very attempt, which the route itself verifies.
 */
export type RouteAccess = Scope | "public" | "metrics" | "confirm";

/** Who is calling. `queues` confines a key to some queues; null is all of them. */
export interface Caller {
  readonly apiKeyId: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly queues: readonly string[] | null;
}

/** The key of LAPSE_API_KEY, and whoever calls an open API, may do all. */
const rootCaller: Caller = { apiKeyId: "root", scopes: new Set(scopes), queues: null };
const nobody: Caller = { apiKeyId: "none", scopes: new Set(), queues: null };

export function mayDo(caller: Caller, scope: Scope): boolean {
  return caller.scopes.has(scope) || caller.scopes.has("admin");
}

export interface Gate {
  /** Says who calls, or throws a 401 or 403 problem. */
  admit(headers: IncomingHttpHeaders, access: RouteAccess): Caller;
  /** Throws a 403 problem for what a web page of another site may have sent to an open API. */
  guard(method: string | undefined, headers: IncomingHttpHeaders): void;
}

export function createGate(rule: AccessRule): Gate {
  const keyDigest = rule.apiKey === null ? null : digest(rule.apiKey);
  const isOpen = keyDigest === null && rule.loopbackOnly;
  return {
    admit: (headers, access) => {
      if (access === "public" || (access === "metrics" && rule.loopbackOnly)) return nobody;
      if (isOpen) return rootCaller;
      const caller = bearerCaller(headers.authorization, keyDigest);
      if (caller !== null) return requireScope(caller, access);
      if (access === "confirm" && headers["lapse-confirm-token"] !== undefined) return nobody;
      throw unauthorized(headers.authorization === undefined);
    },
    guard: isOpen ? refuseForeign : () => undefined,
  };
}

export function unauthorized(isMissing: boolean): ApiProblem {
  const detail = isMissing ? "Send it as `Authorization: Bearer …`." : "The key that was sent is not known.";
  return new ApiProblem("unauthorized", { detail, headers: { "www-authenticate": 'Bearer realm="lapse"' } });
}

function requireScope(caller: Caller, access: Exclude<RouteAccess, "public">): Caller {
  const scope = access === "metrics" ? "admin" : access === "confirm" ? "tasks:write" : access;
  if (mayDo(caller, scope)) return caller;
  throw new ApiProblem("forbidden", `This needs the scope ${scope}.`);
}

/** Digests are compared, not keys: equal in length, and in constant time. */
function bearerCaller(authorization: string | undefined, keyDigest: Buffer | null): Caller | null {
  const token = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? "")?.[1];
  if (token === undefined || keyDigest === null) return null;
  return timingSafeEqual(digest(token), keyDigest) ? rootCaller : null;
}

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

const safeMethods = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * A page of another site can make its visitor's browser call http://localhost: it gives itself away by its Origin, by Sec-Fetch-Site, or,
 * where its own name was made to point here (DNS rebinding), by the Host.
 */
function refuseForeign(method: string | undefined, headers: IncomingHttpHeaders): void {
  const { host, origin } = headers;
  if (host === undefined || !isLoopbackHost(host)) {
    throw new ApiProblem("foreign-host", "Call it as localhost, 127.0.0.1 or [::1], or set LAPSE_API_KEY.");
  }
  if (origin !== undefined && originHost(origin) !== host.toLowerCase()) {
    throw new ApiProblem(
      "foreign-origin",
      "The Origin is another site's. With LAPSE_API_KEY set, the key decides instead.",
    );
  }
  if (headers["sec-fetch-site"] === "cross-site" && !safeMethods.has(method ?? "")) {
    throw new ApiProblem("foreign-origin", "The browser says that another site sent this.");
  }
}

const loopbackHost = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

export function isLoopbackHost(host: string): boolean {
  return loopbackHost.test(host);
}

function originHost(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}
