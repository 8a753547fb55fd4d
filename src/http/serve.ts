// Owns the way of a request through a route: guard, admit, count, read, check, handle, answer. Whatever is thrown becomes a problem here.

import type { Router } from "express";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Caller, createGate, type Gate, isNobody } from "./access.ts";
import { type Answer, send, sendStream, type StreamAnswer } from "./answer.ts";
import { checkContentType, isWithin, type JsonBody, readJson } from "./body.ts";
import { BodyStream } from "./body-stream.ts";
import { faultsOf } from "./faults.ts";
import { RunLoop } from "../runtime/run-loop.ts";
import type { ApiParts } from "./parts.ts";
import { ApiProblem, type Fault, problemAnswer, problemOf, validationFailed } from "./problem.ts";
import { readQuery } from "./query.ts";
import { rateHeaders, rateLimited } from "./rate-headers.ts";
import type { Call, Route } from "./route.ts";

/** How often the caller of a stream is looked at again: a revoked key is refused within 5 s. */
const admittedAgainMs = 2_000;

type ServingParts = Pick<ApiParts, "access" | "apiKeys" | "clock" | "log" | "metrics" | "rateLimit">;
type ExpressRequest = IncomingMessage & { readonly params: Call["params"] };

/** Gives each route's path to the router, with a 405 for the methods it does not take. */
export function mountRoutes(router: Pick<Router, "route">, routes: readonly Route[], parts: ServingParts): void {
  const gate = createGate(parts.access, parts.apiKeys);
  for (const [path, members] of Map.groupBy(routes, (route) => route.path)) {
    const mounted = router.route(expressPath(path));
    for (const route of members) {
      mounted[route.method]((request, response) =>
        serve(route, { parts, gate }, { request: request as unknown as ExpressRequest, response }),
      );
    }
    const allow = members
      .flatMap(({ method }) => (method === "get" ? ["GET", "HEAD"] : [method.toUpperCase()]))
      .join(", ");
    mounted.all(() => {
      throw new ApiProblem("method-not-allowed", { detail: `It takes ${allow}.`, headers: { allow } });
    });
  }
}

/** `/v1/tasks/{id}` is `/v1/tasks/:id` to Express, where braces mean that a part is optional. */
export function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

interface Serving {
  readonly parts: ServingParts;
  readonly gate: Gate;
}

interface Exchange {
  readonly request: ExpressRequest;
  readonly response: ServerResponse;
}

async function serve(route: Route, serving: Serving, { request, response }: Exchange): Promise<void> {
  const { parts } = serving;
  const startedAt = parts.clock.now();
  const answer = await answerOf(route, serving, request).catch((error: unknown) =>
    problemAnswer(problemOf(error, parts.log)),
  );
  if ("open" in answer) stream(route, serving, { request, response, answer });
  else send(response, answer);
  const labels = { route: route.path, method: route.method.toUpperCase(), status: answer.status };
  parts.metrics.httpRequest(labels, Math.max(0, parts.clock.now() - startedAt));
}

/** A stream outlives the check of its key: it ends when the key would not be let in any more. */
function stream(route: Route, { parts, gate }: Serving, exchange: Exchange & { answer: StreamAnswer }): void {
  const { request, response, answer } = exchange;
  const sink = sendStream(response, answer);
  if (request.method === "HEAD") return sink.end();
  const checks = new RunLoop({
    tick: async () => {
      await gate.admit(request.headers, route.access);
      return admittedAgainMs;
    },
    onError: (error) => {
      if (!(error instanceof ApiProblem)) parts.log.debug({ err: error }, "stream.check_failed");
      else if (answer.refuse === undefined) sink.end();
      else answer.refuse(error);
    },
    errorSleepMs: admittedAgainMs,
  });
  checks.wakeIn(admittedAgainMs);
  sink.onClose(() => void checks.stop());
}

async function answerOf(
  route: Route,
  { parts, gate }: Serving,
  request: ExpressRequest,
): Promise<Answer | StreamAnswer> {
  gate.guard(request.method, request.headers);
  const caller = await gate.admit(request.headers, route.access);
  if (parts.rateLimit === null || isNobody(caller)) return handle(route, request, caller);
  const verdict = await parts.rateLimit.take(caller.apiKeyId);
  const answer = verdict.isWithin
    ? await handle(route, request, caller).catch((error: unknown) => problemAnswer(problemOf(error, parts.log)))
    : problemAnswer(rateLimited());
  return { ...answer, headers: { ...answer.headers, ...rateHeaders(verdict) } };
}

async function handle(route: Route, request: ExpressRequest, caller: Caller): Promise<Answer | StreamAnswer> {
  const url = request.url ?? "";
  const query = route.query === undefined ? undefined : readQuery(url, route.query);
  const json = route.body === undefined ? null : await readJson(request, route.body.bytesMax);
  const { body, itemFaults } = json === null || route.body === undefined ? noBody : checkBody(json, route.body);
  if (route.lines !== undefined) checkContentType(request, "application/x-ndjson");
  return route.handle({
    params: request.params,
    query,
    body,
    bodyText: json?.text ?? "",
    itemFaults,
    lines: () => new BodyStream(request),
    url,
    headers: request.headers,
    rawHeaders: request.rawHeaders,
    caller,
  });
}

const noBody = { body: undefined, itemFaults: [] };

/** All faults at once: those that the schema finds, and strings that cannot be stored. */
function checkBody(json: JsonBody, rule: NonNullable<Route["body"]>): { body: unknown; itemFaults: readonly Fault[] } {
  const { itemsAt } = rule;
  const isItemFault = (fault: Fault): boolean => itemsAt !== undefined && isWithin(fault, [itemsAt]);
  const own = json.faults.filter((fault) => !isItemFault(fault));
  const read = rule.schema.safeParse(json.value);
  if (read.success && own.length === 0) return { body: read.data, itemFaults: json.faults.filter(isItemFault) };
  throw validationFailed([...(read.success ? [] : faultsOf(read.error)), ...own]);
}
