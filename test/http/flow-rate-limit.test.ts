// Owns the checks of LAPSE_RATE_LIMIT through real services: what callers are told, and that all processes count together.

import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiAnswer, TestApi } from "../support/api.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { makeHolder } from "./key-holders.ts";

const apiKey = `key-${randomBytes(16).toString("hex")}`;
const rateLimit = 20;
const path = "/v1/signing-secrets";

let database: TestDatabase;
let redis: TestRedis;
let one: TestService;
let other: TestService;

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), startRedis()]);
  const start = () =>
    startTestService({
      databaseUrl: database.url,
      redis: redis.url as `redis://${string}`,
      config: { apiKey, rateLimit, role: "api" },
    });
  [one, other] = [await start(), await start()];
});
afterAll(async () => {
  await Promise.all([one.stop(), other.stop()]);
  await redis.stop();
  await database.drop();
});

interface Burst {
  readonly within: readonly ApiAnswer[];
  readonly refused: readonly ApiAnswer[];
  /** From before the first request to after the last answer. */
  readonly tookMs: number;
}

/** Sends so many requests at once, each to the next of the callers. */
async function burst(apis: readonly TestApi[], count: number, route = path): Promise<Burst> {
  const startedAt = performance.now();
  const sent = Array.from({ length: count }, (_, i) => (apis[i % apis.length] as TestApi).get(route));
  const answers = await Promise.all(sent);
  return {
    within: answers.filter(({ status }) => status !== 429),
    refused: answers.filter(({ status }) => status === 429),
    tookMs: performance.now() - startedAt,
  };
}

/** Whether so many were let through: the limit, and what came back while the burst took its time. */
function isCounted({ within, tookMs }: Burst): boolean {
  return within.length >= rateLimit && within.length <= rateLimit + Math.ceil((tookMs / 1_000) * rateLimit);
}

const holderAt = (service: TestService) => makeHolder(one.api, service.url, { scopes: ["admin"] });

describe("with LAPSE_RATE_LIMIT", () => {
  test("a key's requests beyond the limit are 429, and say when to come back and how it stands", async () => {
    const { api } = await holderAt(one);
    const { within, refused, ...rest } = await burst([api], 10 * rateLimit);
    expect(isCounted({ within, refused, ...rest })).toBe(true);
    expect(refused.length).toBeGreaterThan(0);
    for (const answer of refused) {
      expect(answer.problem).toMatchObject({ status: 429, type: "urn:lapse:problem:rate-limited" });
      expect(answer.headers).toMatchObject({
        "retry-after": "1",
        "ratelimit-policy": `"per-key";q=${rateLimit};w=1`,
        ratelimit: '"per-key";r=0;t=1',
      });
    }
    const left = within.map(({ headers }) => Number(/^"per-key";r=(\d+);t=1$/.exec(String(headers["ratelimit"]))?.[1]));
    expect([Math.max(...left), Math.min(...left)]).toEqual([rateLimit - 1, 0]);
    await api.close();
  });

  test("all processes count together", async () => {
    const here = await holderAt(one);
    const headers = { authorization: `Bearer ${here.secret}` };
    const there: TestApi = { ...other.api, get: (route) => other.api.get(route, headers) };
    expect(isCounted(await burst([here.api, there], 10 * rateLimit))).toBe(true);
    await here.api.close();
  });

  test("another key has its own count", async () => {
    const [busy, calm] = [await holderAt(one), await holderAt(one)];
    await burst([busy.api], 3 * rateLimit);
    expect((await calm.api.get(path)).headers["ratelimit"]).toBe(`"per-key";r=${rateLimit - 1};t=1`);
    await Promise.all([busy.api.close(), calm.api.close()]);
  });

  test("problems say how the caller stands, too", async () => {
    const { api } = await holderAt(one);
    const answer = await api.get("/v1/tasks/not-an-id");
    expect([answer.status, answer.headers["ratelimit"]]).toEqual([404, `"per-key";r=${rateLimit - 1};t=1`]);
    await api.close();
  });

  test.each(["/healthz", "/readyz", "/openapi.json"])("%s, which needs no key, is not counted", async (route) => {
    const { refused, within } = await burst([one.api], 2 * rateLimit, route);
    expect(refused).toEqual([]);
    expect(within.every(({ headers }) => headers["ratelimit"] === undefined)).toBe(true);
  });

  test("who has no key is 401, however often", async () => {
    const api: TestApi = { ...one.api, get: (route) => one.api.get(route, { authorization: "Bearer none" }) };
    const { within } = await burst([api], 2 * rateLimit);
    expect(within.filter(({ status }) => status === 401)).toHaveLength(2 * rateLimit);
  });

  test("with Redis killed each process counts for itself, and none waits", async () => {
    const { api } = await holderAt(one);
    redis.kill("SIGKILL");
    expect(isCounted(await burst([api], 10 * rateLimit))).toBe(true);
    expect((await other.api.get(path)).status).toBe(200);
    await redis.restart();
    await api.close();
  });
});

test("without LAPSE_RATE_LIMIT nothing is counted or told", async () => {
  const free = await startTestService({ databaseUrl: database.url, redis: "away", config: { apiKey, role: "api" } });
  const { refused, within } = await burst([free.api], 10 * rateLimit);
  expect(refused).toEqual([]);
  expect(within[0]?.headers["ratelimit-policy"]).toBeUndefined();
  await free.stop();
});
