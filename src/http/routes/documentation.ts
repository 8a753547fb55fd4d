// Owns the pages that explain the API: the OpenAPI document and its viewer, RapiDoc, which is kept beside it (docs/) and loads nothing
// from elsewhere.

import { readFile } from "node:fs/promises";
import type { Answer } from "../answer.ts";
import { defineRoute, type Route, type RouteDoc } from "../route.ts";

const filesFolder = new URL("../docs/", import.meta.url);

const page = { tag: "Documentation", problems: [] } as const satisfies Partial<RouteDoc>;

/** `document` is asked at the first call, when all routes are known. */
export function documentationRoutes(document: () => string): Route[] {
  return [openApiRoute(document), rootRoute(), docsRoute(), scriptRoute()];
}

function openApiRoute(document: () => string): Route {
  return defineRoute({
    method: "get",
    path: "/openapi.json",
    access: "public",
    doc: {
      ...page,
      operationId: "getOpenApi",
      summary: "This document",
      description: "OpenAPI 3.1, made from the very schemas that check requests.",
      answers: {
        200: { description: "The document.", contentType: "application/json", example: { openapi: "3.1.1" } },
      },
    },
    handle: () => ({ status: 200, body: document() }),
  });
}

function rootRoute(): Route {
  return defineRoute({
    method: "get",
    path: "/",
    access: "public",
    doc: {
      ...page,
      operationId: "getRoot",
      summary: "Leads to /docs",
      description: "For whoever opens the address in a browser.",
      answers: { 302: { description: "Found at /docs.", headers: { location: "/docs" } } },
    },
    handle: () => ({ status: 302, headers: { location: "/docs" }, body: "" }),
  });
}

function docsRoute(): Route {
  return defineRoute({
    method: "get",
    path: "/docs",
    access: "public",
    doc: {
      ...page,
      operationId: "getDocs",
      summary: "This document, to read and try out",
      description: "RapiDoc.",
      answers: { 200: { description: "A page.", contentType: "text/html", example: "<!doctype html>" } },
    },
    handle: () => file("index.html", "text/html; charset=utf-8", docsCsp),
  });
}

function scriptRoute(): Route {
  return defineRoute({
    method: "get",
    path: "/docs/rapidoc-min.js",
    access: "public",
    doc: {
      ...page,
      operationId: "getDocsScript",
      summary: "The script of /docs",
      description: "RapiDoc 9.3.8, MIT.",
      answers: { 200: { description: "A script.", contentType: "text/javascript", example: "/*! RapiDoc 9.3.8 */" } },
    },
    handle: () => file("rapidoc-min.js", "text/javascript; charset=utf-8", docsCsp),
  });
}

/** RapiDoc sets style attributes; everything it loads is our own. */
const docsCsp = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

async function file(name: string, contentType: string, csp: string): Promise<Answer> {
  const headers = { "content-type": contentType, "content-security-policy": csp, "cache-control": "no-cache" };
  return { status: 200, headers, body: await readFile(new URL(name, filesFolder)) };
}
