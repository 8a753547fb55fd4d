// Owns who may call what: API keys, their scopes and queues, and the rules that keep an open API on loopback from being used by web pages.

import { timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { keyDigest } from "../intake/api-key-text.ts";
import { type Scope, scopes } from "../task/scope.ts";
import type { AccessRule, ApiKeysPart } from "./parts.ts";
import { ApiProblem } from "./problem.ts";

/**
 * What a route asks for. `public`: nothing. `metrics`: the scope admin, unless the server is on loopback. `confirm`: tasks:write, or the
 * token of the very attempt, which the route itself verifies.
 */
export type RouteAccess = Scope | "public" | "metrics" | "confirm";

/** Who is calling. `queues` confines a key to some queues; null is all of them. */
export interface Caller {
  readonly apiKeyId: string;
  readonly scopes: readonly Scope[];
  readonly queues: readonly string[] | null;
}

/** The key of LAPSE_API_KEY, and whoever calls an open API without a key, may do all. */
const rootCaller: Caller = { apiKeyId: "root", scopes, queues: null };
const nobody: Caller = { apiKeyId: "none", scopes: [], queues: null };

/** No key was needed, or a token stands in for it: there is nobody to count requests for. */
export function isNobody(caller: Caller): boolean {
  return caller === nobody;
}

/** A scope says no more than its name, so writing does not let read; admin lets do all. */
export function mayDo(caller: Caller, scope: Scope): boolean {
  return caller.scopes.includes(scope) || caller.scopes.includes("admin");
}

/** A queue out of sight looks to its caller as if it held no task. */
export function canSee(caller: Caller, queue: string): boolean {
  return caller.queues === null || caller.queues.includes(queue);
}

/** What refuses a write into a queue that the caller's key is not confined to, or null. `path` is that of the queue's name. */
export function confinementProblem(caller: Caller, queue: string, path = "/queue"): ApiProblem | null {
  if (canSee(caller, queue)) return null;
  const message = `must be one of the API key's queues: ${caller.queues?.join(", ")}`;
  return new ApiProblem("forbidden", {
    detail: "The API key is confined to other queues.",
    errors: [{ path, message }],
  });
}

export interface Gate {
  /** Says who calls, or throws a 401 or 403 problem. */
  admit(headers: IncomingHttpHeaders, access: RouteAccess): Promise<Caller>;
  /** Throws a 403 problem for what a web page of another site may have sent to an open API. */
  guard(method: string | undefined, headers: IncomingHttpHeaders): void;
}

/**
 * An open API takes keys as well: a caller that sends one has that key's rights, and one that sends what is none is refused, so that a key
 * which was revoked or mistyped never does more than a good one.
 */
export function createGate(rule: AccessRule, apiKeys: Pick<ApiKeysPart, "holder">): Gate {
  const rootDigest = rule.apiKey === null ? null : keyDigest(rule.apiKey);
  const isOpen = rootDigest === null && rule.loopbackOnly;
  const callerOf = async (authorization: string | undefined): Promise<Caller | null> => {
    const key = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? "")?.[1];
    if (key === undefined) return null;
    // Digests are compared, not keys: equal in length, and in constant time.
    if (rootDigest !== null && timingSafeEqual(keyDigest(key), rootDigest)) return rootCaller;
    const holder = await apiKeys.holder(key);
    return holder === null ? null : { apiKeyId: holder.id, scopes: holder.scopes, queues: holder.queues };
  };
  return {
    admit: async ({ authorization, "lapse-confirm-token": token }, access) => {
      if (access === "public" || (access === "metrics" && rule.loopbackOnly)) return nobody;
      if (isOpen && authorization === undefined) return rootCaller;
      const caller = await callerOf(authorization);
      const scope = scopeOf(access);
      if (caller !== null && mayDo(caller, scope)) return caller;
      if (access === "confirm" && token !== undefined) return caller ?? nobody;
      throw caller === null ? unauthorized(authorization === undefined) : lacksScope(scope);
    },
    guard: isOpen ? refuseForeign : () => undefined,
  };
}

/** RFC 6750 section 3: the challenge names a fault only where something was sent. */
export function unauthorized(isMissing: boolean): ApiProblem {
  const detail = isMissing ? "Send it as `Authorization: Bearer …`." : "The key that was sent is not known.";
  const challenge = isMissing ? 'Bearer realm="lapse"' : 'Bearer realm="lapse", error="invalid_token"';
  return new ApiProblem("unauthorized", { detail, headers: { "www-authenticate": challenge } });
}

export function lacksScope(scope: Scope): ApiProblem {
  const challenge = `Bearer realm="lapse", error="insufficient_scope", scope="${scope}"`;
  return new ApiProblem("forbidden", {
    detail: `This needs the scope ${scope}.`,
    headers: { "www-authenticate": challenge },
  });
}

function scopeOf(access: Exclude<RouteAccess, "public">): Scope {
  return access === "metrics" ? "admin" : access === "confirm" ? "tasks:write" : access;
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
