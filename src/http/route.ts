// Owns what a route is: declared once, it becomes both an Express route (serve.ts) and a part of the OpenAPI document (openapi.ts).

import type { IncomingHttpHeaders } from "node:http";
import type { z } from "zod";
import type { Caller, RouteAccess } from "./access.ts";
import type { Answer, StreamAnswer } from "./answer.ts";
import type { BodyStream } from "./body-stream.ts";
import type { ProblemName } from "./problem.ts";

export type RouteMethod = "get" | "post" | "put" | "patch" | "delete";

/** One request as a handler sees it, its query and body checked by the route's schemas. */
export interface Call<Query = unknown, Body = unknown> {
  /** Decoded parts of the path. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  /** The body as it was written; empty where the route takes none. */
  readonly bodyText: string;
  /** Faults left to the handler: see `BodyRule.itemsAt`. */
  readonly itemFaults: readonly { readonly path: string; readonly message: string }[];
  /** Begins to read the body as it comes, where the route takes `lines`. */
  readonly lines: () => BodyStream;
  /** Path and query, undecoded. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly caller: Caller;
}

export interface BodyRule<Body extends z.ZodType> {
  readonly schema: Body;
  readonly bytesMax: number;
  /** A member whose items the handler checks one by one: strings in them that cannot be stored are its `itemFaults`. */
  readonly itemsAt?: string;
  readonly examples: Readonly<Record<string, { readonly summary: string; readonly value: unknown }>>;
}

/** A body of NDJSON, without end, which the handler reads line by line; `schema` is that of a line. */
export interface LinesRule {
  readonly schema: z.ZodType;
  readonly examples: BodyRule<z.ZodType>["examples"];
}

export interface AnswerDoc {
  readonly description: string;
  readonly schema?: z.ZodType;
  readonly example?: unknown;
  /** `application/json` where it is left out. */
  readonly contentType?: string;
  /** Names and descriptions of the headers that matter. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What OpenAPI tells of a route beside its schemas. */
export interface RouteDoc {
  readonly tag:
    | "Tasks"
    | "Bulk"
    | "Queues"
    | "Schedules"
    | "Receivers"
    | "Keys"
    | "Events"
    | "Operating"
    | "Documentation";
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  readonly answers: Readonly<Record<number, AnswerDoc>>;
  /** Those of its own; what every route of its kind can answer is added. */
  readonly problems: readonly ProblemName[];
  /** What its path names, where that is no task. */
  readonly params?: Readonly<Record<string, z.ZodType>>;
  /** Parameters in headers. */
  readonly headers?: z.ZodObject;
  /** The query as OpenAPI tells it, where it differs from the schema that reads it. */
  readonly query?: z.ZodObject;
}

export interface RouteDefinition<Query extends z.ZodType, Body extends z.ZodType> {
  readonly method: RouteMethod;
  /** In OpenAPI's form: `/v1/tasks/{id}`. */
  readonly path: string;
  readonly access: RouteAccess;
  readonly query?: Query;
  readonly body?: BodyRule<Body>;
  /** In place of `body`. */
  readonly lines?: LinesRule;
  readonly doc: RouteDoc;
  handle(call: Call<z.output<Query>, z.output<Body>>): Answer | Promise<Answer | StreamAnswer>;
}

export type Route = RouteDefinition<z.ZodType, z.ZodType>;

/** Types a handler's query and body by the route's own schemas. */
export function defineRoute<Query extends z.ZodType, Body extends z.ZodType>(
  route: RouteDefinition<Query, Body>,
): Route {
  return route;
}
