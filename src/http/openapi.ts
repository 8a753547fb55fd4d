// Owns the OpenAPI 3.1 document: made from the very routes and schemas that serve requests, so that it cannot tell otherwise.

import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiRequestBodyObject,
  type ZodOpenApiResponseObject,
} from "zod-openapi";
import { z } from "zod";
import { scopes } from "../task/scope.ts";
import { webhooks } from "./openapi-webhooks.ts";
import type { BodyType } from "./body.ts";
import { ApiProblem, type ProblemName, problemContentType, problemTypes } from "./problem.ts";
import type { AnswerDoc, LinesRule, Route } from "./route.ts";
import { problemAnswerBody } from "./schemas/answers.ts";
import { pathParameters } from "./schemas/calls.ts";

const openApiVersion = "3.1.1";

/** The document as JSON text. */
export function openApiDocument(routes: readonly Route[], version: string): string {
  const paths: ZodOpenApiPathsObject = {};
  for (const route of routes) paths[route.path] = { ...paths[route.path], [route.method]: operation(route) };
  const document = createDocument(
    {
      openapi: openApiVersion,
      info: { title: "Lapse", version, description: about, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
      servers: [{ url: "/" }],
      tags,
      paths,
      webhooks,
      components: { securitySchemes },
    },
    { override: ({ jsonSchema }) => dropSafeIntegerBounds(jsonSchema) },
  );
  return JSON.stringify(document);
}

const about = `Order timeouts and delayed tasks as a service: a webhook fired once, at its due time, unless it was cancelled before.

Times go out as RFC 3339 in UTC with milliseconds. Durations come in as ISO 8601 (\`PT30M\`) or short (\`250ms\`, \`45s\`, \`30m\`, \`1h30m\`, \`2d\`) and go out as ISO 8601; a bare number is refused, since it could mean seconds or milliseconds. Unknown fields and parameters are refused. Every answer but 2xx and 3xx is \`application/problem+json\` (RFC 9457) with a stable \`type\`.

With LAPSE_RATE_LIMIT set, each API key has so many requests a second: answers carry \`RateLimit-Policy\` and \`RateLimit\`, and one too many is 429.

\`Idempotency-Key\` is honoured where it is listed. Elsewhere it is taken and ignored: those calls name the tasks they mean, so a repeat finds what the first one left. Of an import it is refused: see there.`;

const tags = [
  { name: "Tasks", description: "One webhook call each, fired once, at its due time." },
  { name: "Bulk", description: "Many tasks by ids, keys or labels." },
  { name: "Schedules", description: "Recurring definitions: one task an occurrence." },
  { name: "Queues", description: "How much of each may run, how fast, and whether at all." },
  { name: "Receivers", description: "What the receiver of a webhook may call." },
  { name: "Keys", description: "Who may call, what for, and which queues they see." },
  { name: "Events", description: "What happens to tasks, queues, schedules and origins, as it happens." },
  { name: "Operating", description: "Health, metrics, the audit." },
  { name: "Documentation", description: "This document." },
];

const securitySchemes = {
  apiKey: {
    type: "http",
    scheme: "bearer",
    description: `An API key with the scope that the call needs: ${scopes.join(", ")}; admin may do all, and of the others none includes another. A key that is confined to queues finds no task of any other queue, by whatever call, and may not write there (403). Without LAPSE_API_KEY an API on loopback needs no key; one that is sent counts all the same. Keys are taken from this header alone, never from a query.`,
  },
  confirmToken: {
    type: "apiKey",
    in: "header",
    name: "lapse-confirm-token",
    description: "As it was sent with the attempt.",
  },
} as const;

function operation(route: Route): ZodOpenApiOperationObject {
  const { doc, body, lines } = route;
  const query = doc.query ?? (route.query instanceof z.ZodObject ? route.query : undefined);
  const path = pathSchema(route);
  return {
    tags: [doc.tag],
    operationId: doc.operationId,
    summary: doc.summary,
    description: doc.description,
    security: security(route),
    requestParams: {
      ...(path === null ? {} : { path }),
      ...(query === undefined ? {} : { query }),
      ...(doc.headers === undefined ? {} : { header: doc.headers }),
    },
    ...(body === undefined ? {} : { requestBody: requestBody("application/json", body) }),
    ...(lines === undefined ? {} : { requestBody: requestBody("application/x-ndjson", lines) }),
    responses: { ...answers(doc.answers), ...problems(route) },
  };
}

function requestBody(type: BodyType, { schema, examples }: LinesRule): ZodOpenApiRequestBodyObject {
  return { required: true, content: { [type]: { schema, examples: { ...examples } } } };
}

function pathSchema({ path, doc }: Route): z.ZodObject | null {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
  if (names.length === 0) return null;
  const known = Object.entries({ ...pathParameters, ...doc.params }).filter(([name]) => names.includes(name));
  if (known.length !== names.length) throw new Error(`${path} has a parameter that is not described`);
  return z.object(Object.fromEntries(known));
}

/** A bearer requirement may name the roles it needs since OpenAPI 3.1. */
function security({ access }: Route): Record<string, string[]>[] {
  switch (access) {
    case "public":
      return [];
    case "metrics":
      return [{ apiKey: ["admin"] }];
    case "confirm":
      return [{ apiKey: ["tasks:write"] }, { confirmToken: [] }];
    default:
      return [{ apiKey: [access] }];
  }
}

function answers(docs: Route["doc"]["answers"]): Record<string, ZodOpenApiResponseObject> {
  return Object.fromEntries(Object.entries(docs).map(([status, doc]) => [status, answer(doc)]));
}

function answer({ description, schema, example, contentType, headers }: AnswerDoc): ZodOpenApiResponseObject {
  const headerDocs = Object.entries(headers ?? {}).map(([name, text]) => [
    name,
    { description: text, schema: { type: "string" } },
  ]);
  const media = { ...(schema === undefined ? {} : { schema }), example };
  return {
    description,
    ...(headerDocs.length === 0 ? {} : { headers: Object.fromEntries(headerDocs) }),
    ...(example === undefined ? {} : { content: { [contentType ?? "application/json"]: media } }),
  };
}

/** One response a status; each problem type that has it is an example. */
function problems(route: Route): Record<string, ZodOpenApiResponseObject> {
  const names = new Set([...route.doc.problems, ...commonProblems(route)]);
  const byStatus = Map.groupBy(names, (name) => problemTypes[name].status);
  return Object.fromEntries([...byStatus].map(([status, group]) => [status, problemResponse(group)]));
}

function problemResponse(names: readonly ProblemName[]): ZodOpenApiResponseObject {
  const examples = names.map((name) => [name, { value: exampleProblem(name) }]);
  return {
    description: names.map((name) => `\`${name}\`: ${problemTypes[name].title}.`).join(" "),
    content: { [problemContentType]: { schema: problemAnswerBody, examples: Object.fromEntries(examples) } },
  };
}

function exampleProblem(name: ProblemName): unknown {
  const errors = [{ path: "/retry/maxAttempts", message: "must be at most 100" }];
  const details =
    name === "validation-failed"
      ? { detail: "One value is not valid.", errors }
      : { detail: `${problemTypes[name].title}.` };
  return new ApiProblem(name, details).toJSON();
}

function commonProblems(route: Route): ProblemName[] {
  return [
    ...(route.access === "public" ? [] : (["unauthorized", "forbidden", "rate-limited", "store-unavailable"] as const)),
    "foreign-host",
    "foreign-origin",
    ...(route.query === undefined && route.body === undefined ? [] : (["validation-failed"] as const)),
    ...(route.body === undefined ? [] : (["malformed-json", "too-large", "unsupported-media-type"] as const)),
    ...(route.lines === undefined ? [] : (["unsupported-media-type", "malformed-request"] as const)),
    ...(takesMalformed(route) ? (["malformed-request"] as const) : []),
    "internal",
  ];
}

/** A path's percent-encoding and an Idempotency-Key can be such that they cannot be read. */
function takesMalformed({ path, doc }: Route): boolean {
  return path.includes("{") || (doc.headers !== undefined && "idempotency-key" in doc.headers.shape);
}

/** What zod says of every whole number says nothing. */
function dropSafeIntegerBounds(jsonSchema: { maximum?: unknown; minimum?: unknown }): void {
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
}
