// Owns the shapes of API keys: the body that makes one, and the answers that show them.

import { z } from "zod";
import "zod-openapi";
import { scopes } from "../../task/scope.ts";
import * as limits from "../limits.ts";
import { instantAnswer } from "./answers.ts";
import { durationField, evenWithFaults, nameFault, queueName } from "./fields.ts";

const exampleKeyId = "7Kq2Xv9B";

const keyName = z
  .string()
  .superRefine((name, context) => {
    const fault = nameFault(name, limits.apiKeyNameCharsMax);
    if (fault !== null) context.addIssue({ code: "custom", message: fault });
  })
  .meta({
    description: "Says to people what the key is for; printable characters.",
    override: { minLength: 1, maxLength: limits.apiKeyNameCharsMax },
    example: "checkout",
  });

export const newApiKey = z
  .strictObject({
    name: keyName,
    scopes: z
      .array(z.enum(scopes))
      .min(1)
      .max(scopes.length)
      .meta({ description: "What it may do. `admin` may do all; of the others none includes another." }),
    queues: z
      .array(queueName)
      .min(1)
      .max(limits.apiKeyQueuesMax)
      .nullable()
      .default(null)
      .meta({
        description:
          "The queues that it is confined to: tasks of all others look to it as if they did not exist. Left out or null: all queues. Not with `admin`, which could make itself another key.",
        example: ["default"],
      }),
    expiresIn: durationField(
      { minMs: limits.apiKeyLifeMinMs, maxMs: limits.apiKeyLifeMaxMs },
      "How long it is good; then it is refused, and gone as if it had been revoked. Left out or null: until it is revoked.",
    )
      .nullable()
      .default(null),
  })
  .superRefine((key, context) => {
    if (!Array.isArray(key.scopes) || !key.scopes.includes("admin") || (key.queues ?? null) === null) return;
    context.addIssue({ code: "custom", path: ["queues"], message: "must not be given with the scope admin" });
  }, evenWithFaults)
  .meta({ id: "NewApiKey" });

const fields = {
  id: z.string().meta({ example: exampleKeyId }),
  name: z.string(),
  scopes: z.array(z.enum(scopes)),
  queues: z.array(z.string()).nullable().meta({ description: "Null: all queues." }),
};

export const madeApiKeyAnswer = z
  .strictObject({
    ...fields,
    expiresAt: instantAnswer.optional().meta({ description: "Only where `expiresIn` was given." }),
    secret: z.string().meta({
      description:
        "The whole key, shown this once: what is kept is its SHA-256. `lapse_live_`, the id, `_`, 43 random characters of base 62, and 6 that are the CRC-32 of all before: a key that was mistyped can be told without asking.",
    }),
  })
  .meta({ id: "MadeApiKey" });

export const apiKeysAnswer = z
  .strictObject({
    items: z.array(
      z
        .strictObject({
          ...fields,
          createdAt: instantAnswer,
          createdBy: z
            .string()
            .meta({ description: "Id of the key that made it; `root` is the one of LAPSE_API_KEY, or none." }),
          lastUsedAt: instantAnswer.nullable().meta({ description: "To the minute." }),
          expiresAt: instantAnswer.nullable().meta({ description: "Null: never." }),
        })
        .meta({ id: "ApiKey" }),
    ),
  })
  .meta({ id: "ApiKeys" });

export const keyIdParameter = z.string().meta({ description: "The API key's id.", example: exampleKeyId });

export const exampleApiKey = {
  id: exampleKeyId,
  name: "checkout",
  scopes: ["tasks:read", "tasks:write"],
  queues: ["default"],
};
