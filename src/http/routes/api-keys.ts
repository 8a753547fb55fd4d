// Owns the API keys as admins see them: making one, listing and revoking them.

import { apiKeysMax } from "../../intake/api-keys.ts";
import type { ApiKey } from "../../store/api-keys.ts";
import { jsonAnswer } from "../answer.ts";
import { apiKeyBytesMax } from "../limits.ts";
import type { ApiParts } from "../parts.ts";
import { ApiProblem } from "../problem.ts";
import { renderInstant, renderItems } from "../render.ts";
import { defineRoute, type Route } from "../route.ts";
import { apiKeysAnswer, exampleApiKey, keyIdParameter, madeApiKeyAnswer, newApiKey } from "../schemas/api-keys.ts";

type KeyParts = Pick<ApiParts, "apiKeys">;

const keysPath = "/v1/api-keys";

export function apiKeyRoutes(parts: KeyParts): Route[] {
  return [makeRoute(parts), listRoute(parts), revokeRoute(parts)];
}

function makeRoute({ apiKeys }: KeyParts): Route {
  const { id: _id, ...body } = exampleApiKey;
  return defineRoute({
    method: "post",
    path: keysPath,
    access: "admin",
    body: {
      schema: newApiKey,
      bytesMax: apiKeyBytesMax,
      examples: { checkout: { summary: "For the backend that places orders", value: body } },
    },
    doc: {
      tag: "Keys",
      operationId: "createApiKey",
      summary: "Make an API key",
      description:
        "Its secret is shown this once. A repeat makes another key. Up to 1,000. To change one, make another and revoke it: both are good meanwhile.",
      answers: {
        201: {
          description: "The key.",
          schema: madeApiKeyAnswer,
          example: { ...exampleApiKey, secret: "lapse_live_7Kq2Xv9B_…" },
          headers: { location: "Where to revoke it." },
        },
      },
      problems: ["too-many-api-keys"],
    },
    async handle({ body: { name, scopes, queues, expiresIn }, caller }) {
      const made = await apiKeys.make({
        name,
        scopes: [...new Set(scopes)],
        queues: queues === null ? null : [...new Set(queues)],
        createdBy: caller.apiKeyId,
        expiresInMs: expiresIn,
      });
      if (made === null) {
        throw new ApiProblem("too-many-api-keys", `There are ${apiKeysMax} already: revoke one that is not used.`);
      }
      const { key, text } = made;
      const expiry = key.expiresAt === null ? {} : { expiresAt: renderInstant(key.expiresAt) };
      const shown = { id: key.id, name: key.name, scopes: key.scopes, queues: key.queues, ...expiry, secret: text };
      return { status: 201, headers: { location: `${keysPath}/${key.id}` }, body: JSON.stringify(shown) };
    },
  });
}

function listRoute({ apiKeys }: KeyParts): Route {
  const instants = { createdAt: "2026-11-21T02:00:00.000Z", lastUsedAt: "2026-11-21T02:30:00.000Z", expiresAt: null };
  return defineRoute({
    method: "get",
    path: keysPath,
    access: "admin",
    doc: {
      tag: "Keys",
      operationId: "listApiKeys",
      summary: "List the API keys",
      description: "All of them, oldest first, without their secrets. The one of LAPSE_API_KEY is not among them.",
      answers: {
        200: {
          description: "The keys.",
          schema: apiKeysAnswer,
          example: { items: [{ ...exampleApiKey, createdBy: "root", ...instants }] },
        },
      },
      problems: [],
    },
    async handle() {
      return jsonAnswer(renderItems((await apiKeys.list()).map(renderKey)));
    },
  });
}

function renderKey({ id, name, scopes, queues, createdAt, createdBy, lastUsedAt, expiresAt }: ApiKey): string {
  return JSON.stringify({
    id,
    name,
    scopes,
    queues,
    createdAt: renderInstant(createdAt),
    createdBy,
    lastUsedAt: lastUsedAt === null ? null : renderInstant(lastUsedAt),
    expiresAt: expiresAt === null ? null : renderInstant(expiresAt),
  });
}

function revokeRoute({ apiKeys }: KeyParts): Route {
  return defineRoute({
    method: "delete",
    path: `${keysPath}/{id}`,
    access: "admin",
    doc: {
      tag: "Keys",
      operationId: "revokeApiKey",
      summary: "Revoke an API key",
      description: "The process that answers refuses it from now on, all others within 5 s. Its tasks stay.",
      params: { id: keyIdParameter },
      answers: { 204: { description: "It is revoked." } },
      problems: ["api-key-not-found"],
    },
    async handle({ params }) {
      if (await apiKeys.revoke(params.id ?? "")) return { status: 204, body: "" };
      throw new ApiProblem("api-key-not-found", "There is no API key of this id; it may have been revoked.");
    },
  });
}
