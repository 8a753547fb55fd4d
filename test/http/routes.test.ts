// Owns the checks of what handlers make of requests and of intake's outcomes. What the stores promise is not asked here.

import request from "supertest";
import { describe, expect, test } from "vitest";
import { createApp } from "../../src/http/app.ts";
import { StoreUnavailableError } from "../../src/store/errors.ts";
import type { TaskRequest } from "../../src/task/new-task.ts";
import { knownId, knownKey, knownTask, stubParts, taskOf } from "./stub-parts.ts";

const api = request(createApp(stubParts()));
const url = "https://shop.example/hooks";
const json = "application/json";

function post(path: string, body: string): request.Test {
  return api.post(path).set("content-type", json).send(body);
}

describe("POST /v1/tasks", () => {
  test("answers 201 with the place and the version of the task", async () => {
    const answer = await post("/v1/tasks", JSON.stringify({ url })).expect(201).expect("content-type", json);
    expect(answer.headers).toMatchObject({
      location: `/v1/tasks/${knownId}`,
      etag: '"1"',
      "cache-control": "no-store",
    });
  });

  test("keeps every digit, the order and the spelling of a payload", async () => {
    const payload = '{"id": 12345678901234567890, "price": 1.10, "2": 0, "1": 0}';
    const answer = await post("/v1/tasks", `{"url":"${url}","payload":${payload}}`).expect(201);
    expect(answer.text).toContain(`"payload":${payload},`);
  });

  test("hands on a valid traceparent", async () => {
    const seen: TaskRequest[] = [];
    const { intake } = stubParts();
    const accept = async (task: TaskRequest) => ({ kind: "created", task: taskOf(task) }) as const;
    const app = createApp(
      stubParts({ intake: { ...intake, accept: (task) => accept(seen[seen.push(task) - 1] ?? task) } }),
    );
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await request(app).post("/v1/tasks").set("traceparent", traceparent).send({ url }).expect(201);
    expect(seen[0]?.traceparent).toBe(traceparent);
  });

  test("answers a malformed Idempotency-Key with 400", async () => {
    const answer = await post("/v1/tasks", JSON.stringify({ url })).set("idempotency-key", "a b").expect(400);
    expect(answer.body).toMatchObject({ type: "urn:lapse:problem:malformed-request" });
  });

  test.each([
    [{ kind: "conflict", task: knownTask }, 409, "key-conflict"],
    [{ kind: "locked" }, 503, "locked"],
  ] as const)("answers the outcome %j with %i", async (outcome, status, name) => {
    const { intake } = stubParts();
    const app = createApp(stubParts({ intake: { ...intake, accept: async () => outcome } }));
    const answer = await request(app).post("/v1/tasks").send({ url }).expect(status);
    expect(answer.body).toMatchObject({
      type: `urn:lapse:problem:${name}`,
      ...(status === 409 ? { id: knownId, state: "scheduled" } : {}),
    });
    if (status === 503) expect(answer.headers["retry-after"]).toBe("1");
  });

  test.each([
    [{ kind: "mismatch" }, 422, "idempotency-key-reused"],
    [{ kind: "in-progress" }, 409, "idempotency-in-progress"],
  ] as const)("answers a key's %j with %i", async (outcome, status, name) => {
    const { intake } = stubParts();
    const app = createApp(stubParts({ intake: { ...intake, acceptOnce: async () => outcome } }));
    const answer = await request(app).post("/v1/tasks").set("idempotency-key", "k").send({ url }).expect(status);
    expect(answer.body).toMatchObject({ type: `urn:lapse:problem:${name}` });
  });

  test("gives a kept answer again as it was, and says so", async () => {
    const { intake } = stubParts();
    const answer = { status: 201, headers: { location: "/v1/tasks/x", etag: '"7"' }, body: '{"first":true}' };
    const app = createApp(
      stubParts({ intake: { ...intake, acceptOnce: async () => ({ kind: "answered", answer, replayed: true }) } }),
    );
    const replay = await request(app).post("/v1/tasks").set("idempotency-key", "k").send({ url }).expect(201);
    expect(replay.headers).toMatchObject({ ...answer.headers, "idempotency-replayed": "true", "content-type": json });
    expect(replay.text).toBe(answer.body);
  });

  test("is a 503 where Postgres is away, without a word of where it was", async () => {
    const { intake } = stubParts();
    const lost = async (): Promise<never> => {
      throw new StoreUnavailableError(new Error("connect ECONNREFUSED 10.0.0.7:5432"));
    };
    const app = createApp(stubParts({ intake: { ...intake, accept: lost } }));
    const answer = await request(app).post("/v1/tasks").send({ url }).expect(503).expect("retry-after", "2");
    expect(answer.text).not.toContain("10.0.0.7");
  });
});

describe("POST /v1/tasks/batch", () => {
  const tasks = [{ url, payload: [1] }, { url: "x", key: "" }, { url, payload: "\0" }, { url }];

  test("answers each task by itself, in order", async () => {
    const answer = await post("/v1/tasks/batch", JSON.stringify({ tasks })).expect(200);
    const body = answer.body as { items: { status: number; problem?: { errors: { path: string }[] } }[] };
    expect(body.items.map(({ status }) => status)).toEqual([201, 422, 422, 201]);
    expect(body.items[1]?.problem?.errors.map(({ path }) => path)).toEqual(["/tasks/1/url", "/tasks/1/key"]);
    expect(body.items[2]?.problem?.errors.map(({ path }) => path)).toEqual(["/tasks/2/payload"]);
  });

  test("refuses all where it is atomic and one is faulty, every fault with its path", async () => {
    const answer = await post("/v1/tasks/batch", JSON.stringify({ tasks, atomic: true })).expect(422);
    const body = answer.body as { errors: { path: string }[] };
    expect(body.errors.map(({ path }) => path)).toEqual(["/tasks/1/url", "/tasks/1/key", "/tasks/2/payload"]);
  });

  test("refuses all where it is atomic and a key is taken", async () => {
    const { intake } = stubParts();
    const acceptMany = async () => [
      { kind: "created", task: knownTask } as const,
      { kind: "conflict", task: knownTask } as const,
    ];
    const app = createApp(stubParts({ intake: { ...intake, acceptMany } }));
    const body = { atomic: true, tasks: [{ url }, { url, key: knownKey }] };
    const answer = await request(app).post("/v1/tasks/batch").send(body).expect(409);
    expect(answer.body).toMatchObject({ type: "urn:lapse:problem:key-conflict", errors: [{ path: "/tasks/1/key" }] });
  });

  test("answers a payload over 256 KiB with a 413 of its own", async () => {
    const large = { url, payload: "a".repeat(256 * 1024) };
    const answer = await post("/v1/tasks/batch", JSON.stringify({ tasks: [large, { url }] })).expect(200);
    expect(answer.body).toMatchObject({
      items: [{ status: 413, problem: { errors: [{ path: "/tasks/0/payload" }] } }, { status: 201 }],
    });
  });

  test("is refused as a whole for a fault outside its tasks", async () => {
    const answer = await post("/v1/tasks/batch", JSON.stringify({ tasks: [{ url }], atomic: 1, more: "\0" })).expect(
      422,
    );
    const body = answer.body as { errors: { path: string }[] };
    expect(body.errors.map(({ path }) => path)).toEqual(["/atomic", "/more", "/more"]);
  });
});

describe("one task", () => {
  test.each(["not-an-id", "01937a52-6c80-7a3e-8f1d-000000000000"])("of the id %s is 404", async (id) => {
    const calls = [
      api.get(`/v1/tasks/${id}`),
      api.get(`/v1/tasks/${id}/attempts`),
      ...(id === "not-an-id" ? [api.delete(`/v1/tasks/${id}`), api.post(`/v1/tasks/${id}/pause`)] : []),
    ];
    for (const call of calls)
      expect((await call.expect(404)).body).toMatchObject({ type: "urn:lapse:problem:task-not-found" });
  });

  test("is found by an id in upper case", async () => {
    expect((await api.get(`/v1/tasks/${knownId.toUpperCase()}`)).headers.etag).toBe('"1"');
  });

  test("is found by its key, percent-encoded", async () => {
    const asked: string[] = [];
    const { tasks } = stubParts();
    const readByKey = async (queue: string, key: string) => (asked.push(queue, key) > 0 ? knownTask : null);
    const app = createApp(stubParts({ tasks: { ...tasks, readByKey } }));
    await request(app).get("/v1/tasks/by-key/a%2Fb%25c%20%C3%A9?queue=mail").expect(200);
    expect(asked).toEqual(["mail", "a/b%c é"]);
  });

  test.each(["%00", "a".repeat(513), "%0a"])("of the key %s, which none can have, is 404", async (key) => {
    expect((await api.get(`/v1/tasks/by-key/${key}`)).status).toBe(404);
  });

  test.each([
    [{ kind: "too-late", task: { ...knownTask, state: "running" } }, 202, {}],
    [
      { kind: "refused", task: { ...knownTask, state: "succeeded" } },
      409,
      { type: "urn:lapse:problem:task-ended", state: "succeeded" },
    ],
    [
      { kind: "refused", task: { ...knownTask, state: "running" } },
      409,
      { type: "urn:lapse:problem:task-confirmed", state: "running" },
    ],
    [{ kind: "not-found" }, 404, { type: "urn:lapse:problem:task-not-found" }],
  ] as const)("that a cancel finds %j is answered with %i", async (outcome, status, body) => {
    const { intake } = stubParts();
    const app = createApp(stubParts({ intake: { ...intake, cancel: async () => outcome } }));
    expect((await request(app).delete(`/v1/tasks/${knownId}`).expect(status)).body).toMatchObject(body);
  });

  test.each([
    [{ kind: "wrong-state", task: knownTask }, 409, "task-state"],
    [{ kind: "version-mismatch", task: knownTask }, 412, "version-mismatch"],
    [{ kind: "key-conflict", holder: knownTask }, 409, "key-conflict"],
    [{ kind: "key-conflict", holder: null }, 409, "key-conflict"],
    [{ kind: "not-found" }, 404, "task-not-found"],
  ] as const)("that a change finds %j is answered with %i", async (outcome, status, name) => {
    const { intake } = stubParts();
    const app = createApp(stubParts({ intake: { ...intake, change: async () => outcome } }));
    const answer = await request(app).patch(`/v1/tasks/${knownId}`).send({ delay: "1m" }).expect(status);
    expect(answer.body).toMatchObject({ type: `urn:lapse:problem:${name}` });
  });
});
