// Owns the checks of a key's life through the real service, from its making to its revocation.

import { randomBytes } from "node:crypto";
import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiKeyNameCharsMax, apiKeyQueuesMax } from "../../src/http/limits.ts";
import { makeKey } from "../../src/intake/api-key-text.ts";
import { apiKeysMax } from "../../src/intake/api-keys.ts";
import type { Scope } from "../../src/task/scope.ts";
import { type ApiAnswer, createApi } from "../support/api.ts";
import { type Flow, startFlow, unique, until } from "../support/flow.ts";
import { startPostgres } from "../support/servers.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type KeyHolder, makeHolder } from "./key-holders.ts";

const apiKey = `key-${randomBytes(16).toString("hex")}`;
const revokedMsMax = 5_000;
const url = "https://shop.example/hooks";

let flow: Flow;
const holders: KeyHolder[] = [];

async function holderOf(...has: readonly Scope[]): Promise<KeyHolder> {
  const holder = await makeHolder(flow.api, flow.service.url, { scopes: has });
  holders.push(holder);
  return holder;
}

beforeAll(async () => {
  flow = await startFlow({ config: { apiKey } });
});
afterAll(async () => {
  await Promise.all(holders.map(({ api }) => api.close()));
  await flow.stop();
});

describe("a key", () => {
  test("is made with its secret, and shown without it from then on", async () => {
    const name = unique("checkout");
    const made = await flow.api.post("/v1/api-keys", { name, scopes: ["tasks:read", "tasks:write"], queues: ["a"] });
    const { id, secret } = made.as<{ id: string; secret: string }>();
    expect(made.status).toBe(201);
    expect(made.json).toEqual({ id, name, scopes: ["tasks:read", "tasks:write"], queues: ["a"], secret });
    expect(made.headers["location"]).toBe(`/v1/api-keys/${id}`);
    const listed = await flow.api.get("/v1/api-keys");
    expect(listed.as<{ items: { id: string }[] }>().items.find((key) => key.id === id)).toMatchObject({
      name,
      scopes: ["tasks:read", "tasks:write"],
      queues: ["a"],
      createdBy: "root",
      lastUsedAt: null,
    });
    expect(listed.text).not.toContain(secret.slice(20, 60));
  });

  test("has all queues where none are named, and each scope and queue once", async () => {
    const fields = { name: "k", scopes: ["tasks:read", "tasks:read"], queues: ["b", "a", "b"] };
    expect((await flow.api.post("/v1/api-keys", fields)).json).toMatchObject({
      scopes: ["tasks:read"],
      queues: ["b", "a"],
    });
    const { json } = await flow.api.post("/v1/api-keys", { name: "k", scopes: ["admin"], queues: null });
    expect(json).toMatchObject({ scopes: ["admin"], queues: null });
  });

  test("says when it expires, where it does", async () => {
    const made = await flow.api.post("/v1/api-keys", { name: "k", scopes: ["tasks:read"], expiresIn: "90d" });
    const { id, expiresAt } = made.as<{ id: string; expiresAt: string }>();
    expect(Math.abs(Date.parse(expiresAt) - Date.now() - 90 * 86_400_000)).toBeLessThan(60_000);
    const listed = (await flow.api.get("/v1/api-keys")).as<{ items: { id: string; expiresAt: string | null }[] }>();
    expect(listed.items.find((key) => key.id === id)?.expiresAt).toBe(expiresAt);
    const { api } = await makeHolder(flow.api, flow.service.url, { scopes: ["tasks:read"], expiresIn: "1s" });
    const refused = await until(
      () => api.get("/v1/tasks"),
      ({ status }) => status !== 200,
    );
    expect(refused.status).toBe(401);
    await api.close();
  });

  test("leaves its secret nowhere in the database", async () => {
    const { secret } = await holderOf("tasks:write");
    const client = new pg.Client({ connectionString: flow.service.databaseUrl });
    await client.connect();
    const tables = await client.query<{ name: string }>(
      "select format('%I.%I', table_schema, table_name) as name from information_schema.tables where table_schema = 'lapse'",
    );
    for (const { name } of tables.rows) {
      const found = await client.query(`select 1 from ${name} t where t::text like '%' || $1 || '%'`, [
        secret.slice(20, 60),
      ]);
      expect([name, found.rowCount]).toEqual([name, 0]);
    }
    expect(tables.rows.length).toBeGreaterThan(5);
    await client.end();
  });

  test("that is an admin makes and revokes others", async () => {
    const admin = await holderOf("admin");
    const other = await makeHolder(admin.api, flow.service.url, { scopes: ["tasks:read"] });
    holders.push(other);
    const listed = (await admin.api.get("/v1/api-keys")).as<{ items: { id: string; createdBy: string }[] }>().items;
    expect(listed.find(({ id }) => id === other.id)?.createdBy).toBe(admin.id);
    expect((await other.api.get("/v1/tasks")).status).toBe(200);
    const revoked = await admin.api.delete(`/v1/api-keys/${other.id}`);
    expect([revoked.status, revoked.text, revoked.headers["content-length"]]).toEqual([204, "", undefined]);
    expect((await other.api.get("/v1/tasks")).status).toBe(401);
    expect((await admin.api.delete(`/v1/api-keys/${other.id}`)).problem.type).toBe(
      "urn:lapse:problem:api-key-not-found",
    );
  });

  test("says when it was last used", async () => {
    const { id, api } = await holderOf("tasks:read");
    await api.get("/v1/tasks");
    const used = await until(
      async () =>
        (await flow.api.get("/v1/api-keys"))
          .as<{ items: { id: string; lastUsedAt: string | null }[] }>()
          .items.find((key) => key.id === id)?.lastUsedAt,
      (at) => at !== null && at !== undefined,
    );
    expect(Math.abs(Date.parse(used ?? "") - Date.now())).toBeLessThan(60_000);
  });

  const name = (chars: number) => "é".repeat(chars);
  const queues = (count: number) => Array.from({ length: count }, (_, i) => `q-${i}`);
  test.each([
    ["a name of as many characters as it may have", { name: name(apiKeyNameCharsMax) }, null],
    ["a name of one more", { name: name(apiKeyNameCharsMax + 1) }, "/name"],
    ["no name", { name: "" }, "/name"],
    ["a name with a control character", { name: "a\nb" }, "/name"],
    ["as many queues as it may have", { queues: queues(apiKeyQueuesMax) }, null],
    ["one more queue", { queues: queues(apiKeyQueuesMax + 1) }, "/queues"],
    ["a list of no queues", { queues: [] }, "/queues"],
    ["a queue that is no name", { queues: ["a b"] }, "/queues/0"],
    ["no scopes", { scopes: [] }, "/scopes"],
    ["a scope that there is not", { scopes: ["tasks:admin"] }, "/scopes/0"],
    ["queues and the scope admin", { scopes: ["tasks:read", "admin"], queues: ["a"] }, "/queues"],
    ["the shortest life", { expiresIn: "1s" }, null],
    ["a shorter life", { expiresIn: "999ms" }, "/expiresIn"],
    ["the longest life", { expiresIn: "3653d" }, null],
    ["a longer life", { expiresIn: "3654d" }, "/expiresIn"],
    ["a life without a unit", { expiresIn: 90 }, "/expiresIn"],
    ["a life without end", { expiresIn: null }, null],
    ["a field that there is not", { expiresAt: "2027-01-01T00:00:00Z" }, "/expiresAt"],
  ])("of %s is made or refused, as its limits say", async (_what, given, path) => {
    const answer = await flow.api.post("/v1/api-keys", { name: "k", scopes: ["tasks:read"], ...given });
    if (path === null) return expect(answer.status).toBe(201);
    expect(answer.problem).toMatchObject({ status: 422, errors: [{ path }] });
  });

  test("of whatever the Idempotency-Key was used by another one for has answers of its own", async () => {
    const [one, other] = [await holderOf("tasks:write"), await holderOf("tasks:write")];
    const headers = { "idempotency-key": unique("once") };
    const first = await one.api.post("/v1/tasks", { url, delay: "1h" }, headers);
    const second = await other.api.post("/v1/tasks", { url, delay: "2h" }, headers);
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.headers["idempotency-replayed"]).toBeUndefined();
    const again = await one.api.post("/v1/tasks", { url, delay: "1h" }, headers);
    expect(again.text).toBe(first.text);
  });

  test("without tasks:write confirms by the token of the attempt, and by no other", async () => {
    const reader = await holderOf("tasks:read");
    const { task, request, release } = await flow.running();
    const confirm = (token: string): Promise<ApiAnswer> =>
      reader.api.post(`/v1/tasks/${task.id}/confirm`, { attempt: 1 }, { "lapse-confirm-token": token });
    expect((await confirm("another")).problem.status).toBe(403);
    expect((await confirm(String(request.headers["lapse-confirm-token"]))).status).toBe(200);
    release();
  });

  test("is one of 1,000 at most", async () => {
    const client = new pg.Client({ connectionString: flow.service.databaseUrl });
    await client.connect();
    const { rows } = await client.query<{ count: string }>("select count(*) from lapse.api_keys");
    await client.query(
      `insert into lapse.api_keys (id, name, scopes, digest, created_by)
       select lpad(n::text, 8, '0'), 'filler', '{tasks:read}', sha256('k'), 'root' from generate_series(1, $1) n`,
      [apiKeysMax - 1 - Number(rows[0]?.count)],
    );
    const make = (): Promise<ApiAnswer> => flow.api.post("/v1/api-keys", { name: "k", scopes: ["tasks:read"] });
    expect((await make()).status).toBe(201);
    expect((await make()).problem).toMatchObject({ status: 409, type: "urn:lapse:problem:too-many-api-keys" });
    await client.query("delete from lapse.api_keys where name = 'filler'");
    await client.end();
  });
});

describe("several processes", () => {
  let second: TestService;

  beforeAll(async () => {
    const { databaseUrl } = flow.service;
    second = await startTestService({ databaseUrl, redis: "away", config: { apiKey, role: "api" } });
  });
  afterAll(() => second.stop());

  test("know a key at once wherever it was made, and refuse it within 5 s of its revocation", async () => {
    const { id, secret, api } = await holderOf("tasks:read");
    const there = await createApi(second.url, secret);
    expect([(await api.get("/v1/tasks")).status, (await there.get("/v1/tasks")).status]).toEqual([200, 200]);
    expect((await flow.api.delete(`/v1/api-keys/${id}`)).status).toBe(204);
    const revokedAt = performance.now();
    expect((await api.get("/v1/tasks")).status).toBe(401);
    await until(
      () => there.get("/v1/tasks"),
      ({ status }) => status === 401,
    );
    expect(performance.now() - revokedAt).toBeLessThan(revokedMsMax);
    await there.close();
  });

  test("let admins alone read the metrics of a dispatcher that other machines reach", async () => {
    const { databaseUrl } = flow.service;
    const config = { role: "dispatcher", host: "0.0.0.0" } as const;
    const dispatcher = await startTestService({ databaseUrl, redis: "away", config });
    const [admin, reader] = [await holderOf("admin"), await holderOf("tasks:read")];
    const metricsAs = async (secret: string): Promise<number> =>
      (await dispatcher.api.get("/metrics", { authorization: `Bearer ${secret}` })).status;
    expect([await metricsAs(admin.secret), await metricsAs(reader.secret), await metricsAs("none")]).toEqual([
      200, 403, 401,
    ]);
    await dispatcher.stop();
  });
});

describe("without LAPSE_API_KEY, on loopback", () => {
  let open: TestService;

  beforeAll(async () => {
    open = await startTestService({ redis: "away", config: { role: "api" } });
  });
  afterAll(() => open.stop());

  test("a caller without a key may do all, and one with a key what the key lets it", async () => {
    const holder = await makeHolder(open.api, open.url, { scopes: ["tasks:read"], queues: ["mail"] });
    const task = (await open.api.post("/v1/tasks", { url, delay: "1h" })).task;
    expect((await open.api.get(`/v1/tasks/${task.id}`)).status).toBe(200);
    expect((await holder.api.get(`/v1/tasks/${task.id}`)).status).toBe(404);
    expect((await holder.api.post("/v1/tasks", { url, queue: "mail" })).status).toBe(403);
    await holder.api.close();
  });

  test("a caller with a key that was revoked, or is none, may do nothing", async () => {
    const holder = await makeHolder(open.api, open.url, { scopes: ["admin"] });
    expect((await holder.api.get("/v1/api-keys")).status).toBe(200);
    await open.api.delete(`/v1/api-keys/${holder.id}`);
    expect((await holder.api.get("/v1/api-keys")).status).toBe(401);
    expect((await open.api.get("/v1/tasks", { authorization: `Bearer ${uuidv7()}` })).status).toBe(401);
    await holder.api.close();
  });
});

describe("with Postgres away", () => {
  test("a key that was just used still opens its routes, any other is 503, and what is no key is 401", async () => {
    const postgres = await startPostgres();
    const service = await startTestService({
      databaseUrl: postgres.url,
      redis: "away",
      config: { apiKey, role: "api" },
    });
    const used = await makeHolder(service.api, service.url, { scopes: ["admin"] });
    const unused = await makeHolder(service.api, service.url, { scopes: ["admin"] });
    // This route needs nothing of Postgres itself.
    const path = "/v1/signing-secrets";
    expect((await used.api.get(path)).status).toBe(200);
    postgres.kill("SIGKILL");
    // Its sessions outlive it for a moment.
    await until(
      () => service.api.get(path, { authorization: `Bearer ${makeKey().text}` }),
      ({ status }) => status === 503,
    );
    expect((await used.api.get(path)).status).toBe(200);
    const refused = await unused.api.get(path);
    expect(refused.problem).toMatchObject({ status: 503, type: "urn:lapse:problem:store-unavailable" });
    expect(refused.headers["retry-after"]).toBeDefined();
    expect((await service.api.get(path)).status).toBe(200);
    expect((await service.api.get(path, { authorization: "Bearer none" })).status).toBe(401);
    await until(
      () => used.api.get(path),
      ({ status }) => status === 503,
    );
    await Promise.all([used.api.close(), unused.api.close()]);
    await service.stop();
    await postgres.stop();
  });
});
