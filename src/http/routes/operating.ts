// Owns what operators and their tools call: alive, ready, metrics, the audit, the signing secrets.

import { type Answer, jsonAnswer } from "../answer.ts";
import { unavailableRetryAfterSeconds } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem } from "../problem.ts";
import { renderAudit } from "../render.ts";
import { defineRoute, type Route } from "../route.ts";
import { aliveAnswer, auditAnswer, readyAnswer, secretsAnswer } from "../schemas/answers.ts";

type HealthParts = Pick<ApiParts, "readiness" | "metrics">;

/** What every role serves. */
export function healthRoutes(parts: HealthParts): Route[] {
  return [aliveRoute(), readyRoute(parts), metricsRoute(parts)];
}

/** What an API serves beside. */
export function adminRoutes(parts: Pick<ApiParts, "audit" | "signingSecrets">): Route[] {
  return [auditRoute(parts), secretsRoute(parts)];
}

function aliveRoute(): Route {
  return defineRoute({
    method: "get",
    path: "/healthz",
    access: "public",
    doc: {
      tag: "Operating",
      operationId: "getHealth",
      summary: "Is the process alive?",
      description: "Asks nothing of the stores.",
      answers: { 200: { description: "It is.", schema: aliveAnswer, example: { status: "alive" } } },
      problems: [],
    },
    handle: () => jsonAnswer('{"status":"alive"}'),
  });
}

function readyRoute(parts: HealthParts): Route {
  return defineRoute({
    method: "get",
    path: "/readyz",
    access: "public",
    doc: {
      tag: "Operating",
      operationId: "getReadiness",
      summary: "Can it do its work?",
      description:
        "Ready: Postgres is reachable and its migrations are in place. `degraded`: ready, but Redis is away, and due times come from Postgres.",
      answers: {
        200: {
          description: "It can.",
          schema: readyAnswer,
          example: { status: "ready", checks: { postgres: "ok", redis: "ok" } },
        },
      },
      problems: ["not-ready"],
    },
    async handle(): Promise<Answer> {
      const { ready, degraded, checks, held } = await parts.readiness();
      if (!ready) {
        const headers = { "retry-after": String(unavailableRetryAfterSeconds) };
        throw new ApiProblem("not-ready", { detail: "See `checks`.", extensions: { checks }, headers });
      }
      return jsonAnswer(JSON.stringify({ status: degraded ? "degraded" : "ready", checks, held }));
    },
  });
}

function metricsRoute(parts: HealthParts): Route {
  return defineRoute({
    method: "get",
    path: "/metrics",
    access: "metrics",
    doc: {
      tag: "Operating",
      operationId: "getMetrics",
      summary: "Metrics for Prometheus",
      description: "Needs an admin key, unless the server is on loopback.",
      answers: {
        200: {
          description: "Prometheus' text format.",
          contentType: "text/plain",
          example: "# TYPE lapse_tasks_accepted_total counter\n",
        },
      },
      problems: [],
    },
    async handle(): Promise<Answer> {
      const { contentType, body } = await parts.metrics.text();
      return { status: 200, headers: { "content-type": contentType }, body };
    },
  });
}

function auditRoute(parts: Pick<ApiParts, "audit">): Route {
  const queue = { queue: "default", accepted: 3, succeeded: 1, failed: 0, cancelled: 1, missed: 0, live: 1, pruned: 0 };
  return defineRoute({
    method: "get",
    path: "/v1/audit",
    access: "admin",
    doc: {
      tag: "Operating",
      operationId: "getAudit",
      summary: "Is anything lost?",
      description:
        "Balanced: in each queue `accepted`, counted apart from the tasks, equals the sum of the others. `overdue`: live tasks, not held back, more than 2 s late.",
      answers: {
        200: {
          description: "One snapshot.",
          schema: auditAnswer,
          example: { balanced: true, queues: [queue], overdueCount: 0, overdue: [] },
        },
      },
      problems: [],
    },
    async handle() {
      return jsonAnswer(renderAudit(await parts.audit()));
    },
  });
}

function secretsRoute(parts: Pick<ApiParts, "signingSecrets">): Route {
  return defineRoute({
    method: "get",
    path: "/v1/signing-secrets",
    access: "admin",
    doc: {
      tag: "Operating",
      operationId: "getSigningSecrets",
      summary: "What receivers verify signatures with",
      description: "Standard Webhooks secrets: one, or two while one is being rotated.",
      answers: {
        200: {
          description: "The secrets.",
          schema: secretsAnswer,
          example: { secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] },
        },
      },
      problems: [],
    },
    async handle() {
      return jsonAnswer(JSON.stringify({ secrets: await parts.signingSecrets() }));
    },
  });
}
