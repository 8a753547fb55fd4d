// Owns API keys in tests: made over the API, each with a caller that holds it, and calls of every route there is.

import { v7 as uuidv7 } from "uuid";
import { createRoutes } from "../../src/http/app.ts";
import type { Route } from "../../src/http/route.ts";
import type { Scope } from "../../src/task/scope.ts";
import { type ApiAnswer, createApi, type TestApi } from "../support/api.ts";
import { unique } from "../support/flow.ts";
import { stubParts } from "./stub-parts.ts";

export interface KeyHolder {
  readonly id: string;
  readonly secret: string;
  readonly api: TestApi;
}

export interface KeyFields {
  readonly name?: string;
  readonly scopes: readonly Scope[];
  readonly queues?: readonly string[];
  readonly expiresIn?: string;
}

/** Makes a key as `admin`, and a caller with it. */
export async function makeHolder(admin: TestApi, url: string, fields: KeyFields): Promise<KeyHolder> {
  const made = await admin.post("/v1/api-keys", { name: unique("key"), ...fields });
  const { id, secret } = made.as<{ id: string; secret: string }>();
  return { id, secret, api: await createApi(url, secret) };
}

/** Every route that an API serves. */
export const routes: readonly Route[] = createRoutes(stubParts());

export function nameOf({ method, path }: Route): string {
  return `${method.toUpperCase()} ${path}`;
}

export interface Naming {
  readonly id?: string;
  readonly key?: string;
  /** Of a queue. */
  readonly name?: string;
  readonly query?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Calls a route with a body that it takes, its first example. Its path names nothing that there is, unless it is said. */
export function callRoute(api: TestApi, route: Route, naming: Naming = {}): Promise<ApiAnswer> {
  const {
    id = uuidv7(),
    key = unique("none"),
    name = unique("none"),
    query = "",
    body = firstExample(route),
    headers = {},
  } = naming;
  const path = route.path.replace("{id}", id).replace("{key}", encodeURIComponent(key)).replace("{name}", name);
  if (path.includes("{")) throw new Error(`${nameOf(route)}: say in callRoute what its path may name`);
  const method = route.method.toUpperCase() as Uppercase<Route["method"]>;
  return api.call(method, path + query, { ...(body === undefined ? {} : { body }), headers });
}

function firstExample(route: Route): unknown {
  return Object.values(route.body?.examples ?? {})[0]?.value;
}

/** All that an answer says, without when it was said, and with the names given taken for one another. */
export function said({ status, headers, text }: ApiAnswer, ...names: readonly string[]): unknown {
  const { date: _date, ...rest } = headers;
  const same = (written: string): string => names.reduce((left, name) => left.replaceAll(name, "NAME"), written);
  return JSON.parse(same(JSON.stringify({ status, headers: rest, text }))) as unknown;
}
