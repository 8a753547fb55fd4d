// Owns the checks of the wiring: what a request meets on its way to a handler, and how answers leave. What the stores promise is not asked
// here.

import request from "supertest";
import { describe, expect, test } from "vitest";
import { createApp } from "../../src/http/app.ts";
import { batchBytesMax, taskBytesMax } from "../../src/http/limits.ts";
import { apiKey, confirmToken, knownId, stubParts } from "./stub-parts.ts";

const api = request(createApp(stubParts()));
const url = "https://shop.example/hooks";
const json = "application/json";
const problemJson = "application/problem+json";

function post(path: string, body: string, contentType = json): request.Test {
  return api.post(path).set("content-type", contentType).send(body);
}

describe("what no route takes", () => {
  test.each(["/nothing", "/v1", "/v1/tasks/a/b/c", "/V1/tasks", "/favicon.ico"])("%s is 404", async (path) => {
    const answer = await api.get(path).expect(404).expect("content-type", problemJson);
    expect(answer.body).toMatchObject({ type: "urn:lapse:problem:no-such-route", status: 404 });
  });

  test.each([
    ["put", "/v1/tasks", "POST, GET, HEAD"],
    ["get", "/v1/tasks/batch", "POST"],
    ["post", `/v1/tasks/${knownId}`, "DELETE, GET, HEAD, PATCH"],
    ["post", "/v1/tasks/by-key/a", "DELETE, GET, HEAD"],
    ["delete", "/healthz", "GET, HEAD"],
    ["options", "/v1/tasks", "POST, GET, HEAD"],
  ] as const)("%s %s is 405 and says what is taken: %s", async (method, path, allow) => {
    const answer = await api[method](path).expect(405).expect("content-type", problemJson).expect("allow", allow);
    expect(answer.body).toMatchObject({ type: "urn:lapse:problem:method-not-allowed", status: 405 });
  });

  test("a URL that cannot be decoded is 400", async () => {
    const answer = await api.get("/v1/tasks/by-key/%ff").expect(400).expect("content-type", problemJson);
    expect(answer.body).toMatchObject({ type: "urn:lapse:problem:malformed-request" });
  });
});

describe("a body", () => {
  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=latin1",
    "application/jsonx",
    "",
  ])("of type %j is 415", async (contentType) => {
    const answer = await post("/v1/tasks", "{}", contentType).expect(415).expect("content-type", problemJson);
    expect(answer.body).toMatchObject({ type: "urn:lapse:problem:unsupported-media-type" });
  });

  test.each([json, "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])(
    "of type %s is read",
    async (contentType) => {
      expect((await post("/v1/tasks", JSON.stringify({ url }), contentType)).status).toBe(201);
    },
  );

  test("that is compressed is 415", async () => {
    expect((await post("/v1/tasks", "{}").set("content-encoding", "gzip")).status).toBe(415);
  });

  test.each(["", " ", "{", '{"a":}', "{'a':1}", "{}{}", '{"a":"\n"}', "\ufeff{}", "NaN"])(
    "%j is malformed JSON: 400",
    async (body) => {
      const answer = await post("/v1/tasks", body).expect(400).expect("content-type", problemJson);
      expect(answer.body).toMatchObject({ type: "urn:lapse:problem:malformed-json", status: 400 });
    },
  );

  test("is not quoted in the answer", async () => {
    const answer = await post("/v1/tasks", '{"secret": hunter2}').expect(400);
    expect(answer.text).not.toContain("hunter2");
  });

  test("that is not UTF-8 is 400", async () => {
    const call = api.post("/v1/tasks").set("content-type", json);
    call.write(Buffer.from('{"url":"\xe9"}', "latin1"));
    expect((await call).body).toMatchObject({ status: 400, detail: "The body is not valid UTF-8." });
  });

  test.each([
    ["/v1/tasks", taskBytesMax],
    ["/v1/tasks/batch", batchBytesMax],
  ])("of %s may have its limit and not one byte more", async (path, bytesMax) => {
    await post(path, `[1]${" ".repeat(bytesMax - 3)}`).expect(422);
    const answer = await post(path, `[1]${" ".repeat(bytesMax - 2)}`)
      .expect(413)
      .expect("content-type", problemJson);
    expect(answer.body).toMatchObject({ type: "urn:lapse:problem:too-large" });
  });

  test("that is too large is 413 also where its length was not said", async () => {
    const chunked = api.post("/v1/tasks").set("content-type", json).set("transfer-encoding", "chunked");
    chunked.write(" ".repeat(taskBytesMax));
    chunked.write(" ");
    const answer = await chunked;
    expect(answer.status).toBe(413);
  });

  test("of a batch with 100,000 open brackets is read", async () => {
    const payload = "[".repeat(100_000) + "]".repeat(100_000);
    const answer = await post("/v1/tasks/batch", `{"tasks":[{"url":"${url}","payload":${payload}}]}`).expect(200);
    expect(answer.text).toContain(payload);
  });
});

describe("with a key", () => {
  const keyed = request(createApp(stubParts({ access: { apiKey, loopbackOnly: false } })));

  test.each(["/v1/tasks", `/v1/tasks/${knownId}`, "/v1/audit", "/v1/signing-secrets", "/metrics"])(
    "%s needs it",
    async (path) => {
      const refused = await keyed.get(path).expect(401).expect("content-type", problemJson);
      expect(refused.headers["www-authenticate"]).toMatch(/^Bearer/);
      await keyed.get(path).set("authorization", `Bearer ${apiKey}`).expect(200);
    },
  );

  test.each(["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/rapidoc-min.js"])(
    "%s needs none",
    async (path) => {
      expect((await keyed.get(path)).status).toBe(200);
    },
  );

  test("a body is not read before it", async () => {
    expect((await keyed.post("/v1/tasks").set("content-type", json).send("{")).status).toBe(401);
  });

  test("a confirm takes the token of its attempt, and no other", async () => {
    const confirm = (token: string, attempt: number) =>
      keyed.post(`/v1/tasks/${knownId}/confirm`).set("lapse-confirm-token", token).send({ attempt });
    expect((await confirm(confirmToken, 1)).status).toBe(200);
    expect((await confirm(confirmToken, 2)).status).toBe(401);
    expect((await confirm("another", 1)).status).toBe(401);
    const cancel = keyed.delete(`/v1/tasks/${knownId}`).set("lapse-confirm-token", confirmToken);
    expect((await cancel).status).toBe(401);
  });
});

describe("without a key, on loopback", () => {
  test("a page of another site is refused", async () => {
    const foreign = [
      api.post("/v1/tasks").set("origin", "https://evil.example").send({ url }),
      api.get("/v1/tasks").set("host", "evil.example"),
      api.post("/v1/tasks").set("sec-fetch-site", "cross-site").send({ url }),
    ];
    for (const call of foreign) expect((await call).status).toBe(403);
  });
});

describe("a dispatcher", () => {
  const dispatcher = request(createApp(stubParts({ role: "dispatcher" })));

  test.each(["/healthz", "/readyz", "/metrics"])("serves %s", async (path) => {
    expect((await dispatcher.get(path)).status).toBe(200);
  });

  test.each(["/v1/tasks", "/openapi.json", "/docs", "/", "/v1/audit"])("serves nothing at %s", async (path) => {
    expect((await dispatcher.get(path)).status).toBe(404);
  });
});

describe("readiness", () => {
  test("says degraded where Redis is away, still 200", async () => {
    const readiness = async () => ({ ready: true, degraded: true, checks: { redis: "away" }, held: 3 });
    const answer = await request(createApp(stubParts({ readiness })))
      .get("/readyz")
      .expect(200);
    expect(answer.body).toEqual({ status: "degraded", checks: { redis: "away" }, held: 3 });
  });

  test("is a 503 problem where Postgres is away", async () => {
    const readiness = async () => ({ ready: false, degraded: false, checks: { postgres: "away" } });
    const answer = await request(createApp(stubParts({ readiness })))
      .get("/readyz")
      .expect(503);
    expect(answer.body).toMatchObject({ type: "urn:lapse:problem:not-ready", checks: { postgres: "away" } });
  });
});

describe("every answer", () => {
  test("has a strict policy and says nothing of Express", async () => {
    for (const path of ["/v1/tasks", "/nothing", "/healthz"]) {
      const { headers } = await api.get(path);
      expect(headers["content-security-policy"]).toBe(
        "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
      );
      expect(headers["x-content-type-options"]).toBe("nosniff");
      expect(headers).not.toHaveProperty("x-powered-by");
    }
  });

  test("is counted by its route's template", async () => {
    const counted: object[] = [];
    const { metrics } = stubParts();
    const app = request(
      createApp(stubParts({ metrics: { ...metrics, httpRequest: (labels) => void counted.push(labels) } })),
    );
    await app.get(`/v1/tasks/${knownId}`);
    await app.get("/v1/tasks/x");
    await app.get("/nothing");
    await app.put("/v1/tasks");
    expect(counted).toEqual([
      { route: "/v1/tasks/{id}", method: "GET", status: 200 },
      { route: "/v1/tasks/{id}", method: "GET", status: 404 },
      { route: "unmatched", method: "GET", status: 404 },
      { route: "unmatched", method: "PUT", status: 405 },
    ]);
  });

  test("to a HEAD has the headers and no body", async () => {
    const answer = await api.head(`/v1/tasks/${knownId}`).expect(200).expect("etag", '"1"');
    expect(answer.text).toBeUndefined();
  });
});
