// Owns the checks of services set up otherwise than open and alone: with a key, with two signing secrets, with guarded targets, apart in
// two roles, without Redis.

import { randomBytes } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSigningSecret } from "../../src/webhook/signing.ts";
import { createApi, type TestApi } from "../support/api.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type Flow, promptRetry, startFlow, unique, until } from "../support/flow.ts";
import { startRedis, type TestRedis } from "../support/servers.ts";
import { startTestService, type TestService } from "../support/service.ts";

const apiKey = `key-${randomBytes(16).toString("hex")}`;

describe("with LAPSE_API_KEY", () => {
  const signingSecrets = [createSigningSecret(), createSigningSecret()];
  let flow: Flow;
  let stranger: TestApi;

  beforeAll(async () => {
    const privateTargets = { allow: "cidrs", cidrs: ["127.0.0.1/32"] } as const;
    flow = await startFlow({ config: { apiKey, signingSecrets, privateTargets } });
    stranger = await createApi(flow.service.url, null);
  });
  afterAll(async () => {
    await stranger.close();
    await flow.stop();
  });

  test.each([
    ["POST", "/v1/tasks"],
    ["GET", "/v1/tasks"],
    ["GET", "/v1/tasks/01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57"],
    ["DELETE", "/v1/tasks/01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57"],
    ["POST", "/v1/tasks/cancel"],
    ["POST", "/v1/tasks/01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57/confirm"],
    ["GET", "/v1/audit"],
    ["GET", "/v1/signing-secrets"],
  ] as const)("%s %s needs it", async (method, path) => {
    const wrong = `Bearer ${apiKey}x`;
    for (const headers of [{}, { authorization: wrong }, { authorization: apiKey }]) {
      const answer = await stranger.call(method, path, { body: {}, headers });
      expect(answer.problem).toMatchObject({ status: 401, type: "urn:lapse:problem:unauthorized" });
      expect(answer.headers["www-authenticate"]).toMatch(/^Bearer/);
    }
  });

  test.each(["/healthz", "/readyz", "/openapi.json", "/docs"])("%s needs none", async (path) => {
    expect((await stranger.get(path)).status).toBe(200);
  });

  test("/metrics needs none on loopback", async () => {
    expect((await stranger.get("/metrics")).status).toBe(200);
  });

  test("any Host and Origin may call: the key decides", async () => {
    const headers = { host: "lapse.example", origin: "https://shop.example" };
    expect((await flow.api.get("/v1/tasks", headers)).status).toBe(200);
  });

  test("both of two signing secrets sign each call while one is rotated out", async () => {
    const hook = flow.hook();
    await flow.create({ url: hook.url, delay: "0s", payload: { a: 1 } });
    const { headers, body } = await hook.next();
    expect(String(headers["webhook-signature"]).split(" ")).toHaveLength(2);
    for (const secret of signingSecrets)
      expect(new Webhook(secret).verify(body, headers as Record<string, string>)).toEqual({ a: 1 });
    expect((await flow.api.get("/v1/signing-secrets")).json).toEqual({ secrets: signingSecrets });
  });

  test.each(["http://127.0.0.2/", "http://169.254.169.254/", "http://[::1]/", "http://10.0.0.1/"])(
    "the private target %s is refused, beside the one that is allowed",
    async (url) => {
      const { problem } = await flow.api.post("/v1/tasks", { url });
      expect(problem).toMatchObject({ status: 422, errors: [{ path: "/url" }] });
    },
  );

  describe("a confirm", () => {
    const confirm = (id: string, attempt: number, headers: Record<string, string>) =>
      stranger.post(`/v1/tasks/${id}/confirm`, { attempt }, headers);
    const tokenOf = (headers: Readonly<Record<string, unknown>>) => ({
      "lapse-confirm-token": String(headers["lapse-confirm-token"]),
    });

    test("by the token of the attempt alone is 200, and a cancel is then 409", async () => {
      const { task, request, release } = await flow.running();
      expect((await confirm(task.id, 1, tokenOf(request.headers))).status).toBe(200);
      expect((await flow.api.delete(`/v1/tasks/${task.id}`)).status).toBe(409);
      release();
      await flow.reaches(task.id, "succeeded");
    });

    test("by another token, or of another task or attempt by it, is 401", async () => {
      const [one, other] = [await flow.running(), await flow.running()];
      const token = tokenOf(one.request.headers);
      for (const [id, attempt, headers] of [
        [one.task.id, 1, {}],
        [one.task.id, 1, { "lapse-confirm-token": "" }],
        [one.task.id, 1, { "lapse-confirm-token": `${token["lapse-confirm-token"]}x` }],
        [one.task.id, 2, token],
        [other.task.id, 1, token],
      ] as const)
        expect((await confirm(id, attempt, headers)).problem.status).toBe(401);
      expect((await flow.api.delete(`/v1/tasks/${one.task.id}`)).status).toBe(202);
      for (const { release } of [one, other]) release();
    });

    test("by the token of an attempt that another has followed is 409", async () => {
      const { task, hook, request, release } = await flow.running({ retry: promptRetry });
      release({ status: 500 }, { delayMs: 300 });
      const second = await hook.next();
      expect((await confirm(task.id, 1, tokenOf(request.headers))).status).toBe(409);
      expect((await confirm(task.id, 2, tokenOf(second.headers))).status).toBe(200);
      await flow.reaches(task.id, "succeeded");
    });

    test("after a cancel is 409 by the token as well", async () => {
      const { task, request, release } = await flow.running();
      await flow.api.delete(`/v1/tasks/${task.id}`);
      expect((await confirm(task.id, 1, tokenOf(request.headers))).problem.type).toBe(
        "urn:lapse:problem:confirm-refused",
      );
      release();
      await flow.reaches(task.id, "cancelled");
    });

    test("token lets nothing else be done", async () => {
      const { task, request, release } = await flow.running();
      expect((await stranger.delete(`/v1/tasks/${task.id}`, tokenOf(request.headers))).status).toBe(401);
      release();
    });
  });
});

describe("apart in two roles", () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let api: Flow;
  let dispatcher: TestService;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), startRedis()]);
    const shared = { databaseUrl: database.url, redis: redis.url as `redis://${string}` };
    api = await startFlow({ ...shared, config: { role: "api" } });
    dispatcher = await startTestService({ ...shared, config: { role: "dispatcher", host: "0.0.0.0" } });
  });
  afterAll(async () => {
    await api.stop();
    await dispatcher.stop();
    await redis.stop();
    await database.drop();
  });

  test("a task posted to the one is fired by the other, and never by both", async () => {
    const hook = api.hook();
    const tasks = await Promise.all(Array.from({ length: 20 }, () => api.create({ url: hook.url, delay: "50ms" })));
    for (const { id } of tasks) await api.reaches(id, "succeeded");
    expect(hook.requests).toHaveLength(tasks.length);
  });

  test.each(["/healthz", "/readyz"])("a dispatcher serves %s to whoever asks, by whatever name", async (path) => {
    expect((await dispatcher.api.get(path, { host: "dispatcher.internal:8080" })).status).toBe(200);
  });

  test.each(["/v1/tasks", "/openapi.json", "/docs", "/v1/audit"])("a dispatcher does not serve %s", async (path) => {
    expect((await dispatcher.api.get(path)).problem.type).toBe("urn:lapse:problem:no-such-route");
  });

  test("a dispatcher that other machines reach keeps its metrics to an admin key", async () => {
    expect((await dispatcher.api.get("/metrics", { host: "dispatcher.internal:8080" })).status).toBe(401);
  });
});

describe("without a Redis that answers", () => {
  let flow: Flow;

  beforeAll(async () => {
    flow = await startFlow({ redis: "away" });
  });
  afterAll(() => flow.stop());

  test("it is ready, and says degraded", async () => {
    const { status } = await until(
      async () => (await flow.api.get("/readyz")).as<{ status: string }>(),
      (ready) => ready.status === "degraded",
    );
    expect(status).toBe("degraded");
  });

  test("tasks fire at their time, and cancelled ones do not", async () => {
    const hook = flow.hook();
    const key = unique("key");
    const kept = await Promise.all([0, 50, 100, 300].map((ms) => flow.create({ url: hook.url, delay: `${ms}ms` })));
    await flow.create({ url: hook.url, delay: "200ms", key });
    expect((await flow.api.delete(`/v1/tasks/by-key/${key}`)).status).toBe(200);
    for (const { id } of kept)
      expect((await flow.reaches(id, "succeeded")).lastAttempt?.latenessMs).toBeLessThan(2_000);
    expect(hook.requests).toHaveLength(kept.length);
  });
});
