// Owns putting the API together: the routes of the process's role, and the end of the line for what no route takes.

import express, { type ErrorRequestHandler, type Express } from "express";
import { send } from "./answer.ts";
import { openApiDocument } from "./openapi.ts";
import type { ApiParts } from "./parts.ts";
import { ApiProblem, problemAnswer, problemOf } from "./problem.ts";
import type { Route } from "./route.ts";
import { apiKeyRoutes } from "./routes/api-keys.ts";
import { acceptRoute } from "./routes/accept.ts";
import { batchRoute } from "./routes/batch.ts";
import { bulkRoutes } from "./routes/bulk.ts";
import { cancelRoutes } from "./routes/cancel.ts";
import { changeRoutes } from "./routes/change.ts";
import { documentationRoutes } from "./routes/documentation.ts";
import { eventRoutes } from "./routes/events.ts";
import { importRoute } from "./routes/import.ts";
import { forecastRoute } from "./routes/forecast.ts";
import { adminRoutes, healthRoutes } from "./routes/operating.ts";
import { queueRoutes } from "./routes/queues.ts";
import { readRoutes } from "./routes/read.ts";
import { scheduleChangeRoutes } from "./routes/schedule-changes.ts";
import { scheduleRoutes } from "./routes/schedules.ts";
import { createScheduleSchemas } from "./schemas/schedule-input.ts";
import { subscriptionRoutes } from "./routes/subscriptions.ts";
import { createTaskSchemas } from "./schemas/task-input.ts";
import { mountRoutes } from "./serve.ts";

/** The whole app of a process: an API with all routes, or, for a dispatcher alone, its health and metrics. It listens to nothing yet. */
export function createApp(parts: ApiParts): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("query parser", "simple");
  app.set("case sensitive routing", true);
  mountRoutes(app, createRoutes(parts), parts);
  app.use((request) => {
    throw new ApiProblem("no-such-route", `Nothing is at ${request.path}.`);
  });
  app.use(errorHandler(parts));
  return app;
}

/** Every route of a role, the hot path first: Express asks them in turn. */
export function createRoutes(parts: ApiParts): Route[] {
  const health = healthRoutes(parts);
  if (parts.role === "dispatcher") return health;
  const schemas = createTaskSchemas(parts);
  const scheduleSchemas = createScheduleSchemas(parts);
  let document: string | null = null;
  const routes: Route[] = [
    acceptRoute(parts, schemas),
    batchRoute(parts, schemas),
    importRoute(parts, schemas),
    ...bulkRoutes(parts),
    ...cancelRoutes(parts),
    ...readRoutes(parts),
    ...changeRoutes(parts, schemas),
    ...scheduleRoutes(parts, scheduleSchemas),
    ...scheduleChangeRoutes(parts, scheduleSchemas),
    ...queueRoutes(parts),
    forecastRoute(parts),
    ...apiKeyRoutes(parts),
    ...eventRoutes(parts),
    ...subscriptionRoutes(parts),
    ...adminRoutes(parts),
    ...health,
    ...documentationRoutes(() => {
      document ??= openApiDocument(routes, parts.version);
      return document;
    }),
  ];
  return routes;
}

/** What never reached a route of ours: an unknown path, a method that a path does not take, a URL that cannot be decoded. */
function errorHandler({ log, metrics }: ApiParts): ErrorRequestHandler {
  // oxlint-disable-next-line eslint/max-params -- Express knows error handlers by their four parameters.
  return (error, request, response, next) => {
    if (response.headersSent) return next(error);
    const answer = problemAnswer(problemOf(error, log));
    send(response, answer);
    metrics.httpRequest({ route: "unmatched", method: knownMethod(request.method), status: answer.status }, 0);
  };
}

/** Metrics may not grow with what strangers send. */
function knownMethod(method: string): string {
  return ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].includes(method) ? method : "other";
}
