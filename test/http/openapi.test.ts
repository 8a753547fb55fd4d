// Owns the checks of the OpenAPI document: valid, whole, and true: its examples pass the schemas that they stand beside.

import { createHash } from "node:crypto";
import { Validator } from "@seriousme/openapi-schema-validator";
import type { Express } from "express";
import request from "supertest";
import { describe, expect, test } from "vitest";
import { createApp, createRoutes } from "../../src/http/app.ts";
import { expressPath } from "../../src/http/serve.ts";
import { stubParts } from "./stub-parts.ts";

interface Operation {
  readonly operationId: string;
  readonly summary?: string;
  readonly description?: string;
  readonly security: object[];
  readonly requestBody?: { readonly content: Record<string, { examples?: Record<string, { value: unknown }> }> };
  readonly responses: Record<
    string,
    { description: string; content?: Record<string, { example?: unknown; examples?: object }> }
  >;
}

interface OpenApi {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
}

/** Of dist/rapidoc-min.js in the npm package rapidoc@9.3.8. */
const rapiDocDigest = "affbd173a65e870e18f392cca963113bcdafb6e50e88cd2f6a834a65b22db94d";

const parts = stubParts();
const app = createApp(parts);
const routes = createRoutes(parts);
const text = (await request(app).get("/openapi.json").expect(200)).text;
const document = JSON.parse(text) as OpenApi;
const operations = Object.entries(document.paths).flatMap(([path, members]) =>
  Object.entries(members).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const),
);

/** What Express really serves: `GET /v1/tasks/:id`. */
function served(express: Express): string[] {
  return express.router.stack.flatMap(({ route }) =>
    (route?.stack ?? []).flatMap(({ method }) =>
      method === undefined ? [] : [`${method.toUpperCase()} ${route?.path}`],
    ),
  );
}

test("it is valid OpenAPI 3.1", async () => {
  const result = await new Validator().validate(JSON.parse(text) as Record<string, unknown>);
  expect(result).toMatchObject({ valid: true });
  expect(document.openapi).toBe("3.1.1");
});

test("it has every route that Express serves, and no other", () => {
  const documented = operations.map(([name]) => expressPath(name));
  const found = served(app);
  expect(found.length).toBeGreaterThan(20);
  expect(found.toSorted()).toEqual(documented.toSorted());
});

test("a dispatcher serves nothing beside its three routes", () => {
  expect(served(createApp(stubParts({ role: "dispatcher" })))).toEqual(["GET /healthz", "GET /readyz", "GET /metrics"]);
});

describe("each operation", () => {
  test.each(operations)("%s is described, with its problems and examples", (name, operation) => {
    expect(operation.summary?.length).toBeGreaterThan(4);
    expect(operation.description?.length).toBeGreaterThan(4);
    expect(operation.security).toBeDefined();
    const statuses = Object.keys(operation.responses);
    expect(statuses.some((status) => /^[23]/.test(status))).toBe(true);
    expect(statuses).toContain("500");
    if (name.includes("/v1/")) expect(statuses).toEqual(expect.arrayContaining(["401", "403", "503"]));
    for (const [status, response] of Object.entries(operation.responses)) {
      const [media] = Object.entries(response.content ?? {});
      if (status === "204" || status === "302") continue;
      expect(media?.[1].example ?? media?.[1].examples).toBeDefined();
      expect(media?.[0] === "application/problem+json").toBe(Number(status) >= 400);
    }
  });

  test("has an id of its own", () => {
    const ids = operations.map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("with a body of JSON lists what can be wrong with it", () => {
    for (const [, operation] of operations.filter(([, { requestBody }]) => requestBody?.content["application/json"])) {
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(["400", "413", "415", "422"]));
    }
  });
});

test("a scope is asked for by every route but the public ones", () => {
  const open = routes.filter(({ access }) => access === "public").map(({ path }) => path);
  expect(open.toSorted()).toEqual(["/", "/docs", "/docs/rapidoc-min.js", "/healthz", "/openapi.json", "/readyz"]);
});

describe("the examples are true", () => {
  const bodies = routes.flatMap(({ path, method, body, lines }) =>
    Object.entries((body ?? lines)?.examples ?? {}).map(
      ([name, example]) => [`${method} ${path}: ${name}`, (body ?? lines)?.schema, example.value] as const,
    ),
  );
  const answers = routes.flatMap(({ path, method, doc }) =>
    Object.entries(doc.answers)
      .filter(([, { schema }]) => schema !== undefined)
      .map(([status, { schema, example }]) => [`${method} ${path}: ${status}`, schema, example] as const),
  );

  test.each(bodies)("of the body of %s", (_name, schema, example) => {
    expect(schema?.safeParse(example)).toMatchObject({ success: true });
  });

  test.each(answers)("of the answer of %s", (_name, schema, example) => {
    expect(schema?.safeParse(example)).toMatchObject({ success: true });
  });
});

test("it says nothing that only zod means", () => {
  expect(text).not.toContain("9007199254740991");
  expect(text).not.toContain('"override"');
  expect(text).not.toContain("Output");
});

describe("/docs", () => {
  test("loads nothing from elsewhere", async () => {
    const page = await request(app).get("/docs").expect(200).expect("content-type", "text/html; charset=utf-8");
    expect(page.text).not.toMatch(/https?:/);
    expect(page.text).toContain('load-fonts="false"');
    expect(page.headers["content-security-policy"]).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
  });

  test("has its script at hand, as it was published", async () => {
    const script = await request(app).get("/docs/rapidoc-min.js").expect(200);
    expect(script.headers["content-type"]).toBe("text/javascript; charset=utf-8");
    expect(createHash("sha256").update(script.text).digest("hex")).toBe(rapiDocDigest);
  });

  test("is where / leads", async () => {
    expect((await request(app).get("/").expect(302)).headers.location).toBe("/docs");
  });
});
