// Owns the checks of what operators call, through the real service, and of the shape of every refusal.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Flow, promptRetry, startFlow, unique } from "../support/flow.ts";
import { taskIn, waitingForRetry } from "../support/states.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

interface QueueAudit {
  readonly queue: string;
  readonly [count: string]: number | string;
}
interface Audit {
  readonly balanced: boolean;
  readonly queues: readonly QueueAudit[];
  readonly overdueCount: number;
  readonly overdue: readonly unknown[];
}

async function audit(): Promise<Audit> {
  return (await flow.api.get("/v1/audit")).as<Audit>();
}

describe("the audit", () => {
  test("counts a queue's tasks by how they stand, and balances", async () => {
    const queue = unique("audited");
    const states = ["scheduled", "paused", "running", "succeeded", "failed", "cancelled", "missed"] as const;
    for (const state of states) await taskIn(flow, state, { queue });
    await waitingForRetry(flow, { queue });
    const { balanced, queues } = await audit();
    expect(balanced).toBe(true);
    expect(queues.find((row) => row.queue === queue)).toEqual({
      queue,
      accepted: 8,
      succeeded: 1,
      failed: 1,
      cancelled: 1,
      missed: 1,
      live: 4,
      pruned: 0,
    });
  });

  test("counts tombstoned tasks as accepted and cancelled, and tombstones not at all", async () => {
    const [queue, key] = [unique("audited"), unique("key")];
    await flow.api.post("/v1/tasks/cancel", { keys: [key, unique("key")], queue, tombstone: "10m" });
    await flow.create({ key, queue });
    const counted = (await audit()).queues.find((row) => row.queue === queue);
    expect(counted).toMatchObject({ accepted: 1, cancelled: 1, live: 0 });
  });

  test("counts once what was accepted once: replays, conflicts, keeps and replaces are no arrivals", async () => {
    const [queue, key] = [unique("audited"), unique("key")];
    const { id, url } = await flow.create({ key, queue });
    const headers = { "idempotency-key": unique("once") };
    for (const onConflict of ["reject", "keep", "replace"])
      await flow.api.post("/v1/tasks", { url, key, queue, delay: "2h", onConflict });
    for (let times = 0; times < 3; times += 1) await flow.api.post("/v1/tasks", { url, queue, delay: "1h" }, headers);
    await flow.api.post("/v1/tasks/batch", {
      atomic: true,
      tasks: [
        { url, queue },
        { url, queue, key },
      ],
    });
    await flow.api.delete(`/v1/tasks/${id}`);
    expect((await audit()).queues.find((row) => row.queue === queue)).toMatchObject({
      accepted: 2,
      cancelled: 1,
      live: 1,
    });
  });

  test("goes on balancing after retries", async () => {
    const queue = unique("audited");
    const { id } = await taskIn(flow, "failed", { queue });
    await flow.api.post(`/v1/tasks/${id}/retry`);
    await flow.reaches(id, "failed", "succeeded");
    const { balanced, queues } = await audit();
    expect(balanced).toBe(true);
    expect(queues.find((row) => row.queue === queue)).toMatchObject({ accepted: 1 });
  });

  test("balances while many come and go", async () => {
    const hook = flow.hook([{ status: 500 }, {}]);
    const tasks = Array.from({ length: 100 }, () => ({ url: hook.url, retry: promptRetry }));
    const coming = Promise.all(tasks.map((task) => flow.api.post("/v1/tasks", task)));
    for (let looks = 0; looks < 10; looks += 1) expect((await audit()).balanced).toBe(true);
    for (const { task } of await coming) await flow.reaches(task.id, "succeeded");
    expect(await audit()).toMatchObject({ balanced: true, overdueCount: 0, overdue: [] });
  });
});

describe("what is public", () => {
  test("says that it is alive", async () => {
    expect((await flow.api.get("/healthz")).json).toEqual({ status: "alive" });
  });

  test("says that it is ready, and on what", async () => {
    expect((await flow.api.get("/readyz")).json).toMatchObject({
      status: "ready",
      checks: { postgres: "ok", redis: "ok" },
    });
  });

  test("measures: attempts by outcome, requests by route", async () => {
    const queue = unique("measured");
    await taskIn(flow, "succeeded", { queue });
    const { text, headers } = await flow.api.get("/metrics");
    expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toContain(`lapse_attempts_total{queue="${queue}",outcome="succeeded"} 1`);
    expect(text).toMatch(/lapse_http_request_duration_ms_count\{route="\/v1\/tasks",method="POST",status="2xx"\} \d+/);
    expect(text).toMatch(new RegExp(`lapse_lateness_ms_count\\{queue="${queue}"\\} 1`));
  });

  test("documents itself", async () => {
    expect((await flow.api.get("/openapi.json")).as<{ openapi: string }>().openapi).toMatch(/^3\.1\./);
    expect((await flow.api.get("/docs")).headers["content-type"]).toMatch(/^text\/html/);
    expect((await flow.api.get("/")).headers["location"]).toBe("/docs");
  });

  test("shows the signing secret that was made", async () => {
    const { secrets } = (await flow.api.get("/v1/signing-secrets")).as<{ secrets: string[] }>();
    expect(secrets).toEqual([expect.stringMatching(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/)]);
  });
});

describe("a problem", () => {
  const json = { "content-type": "application/json" };

  test.each([
    ["an unknown path", "GET", "/v1/nothing", {}, 404, "no-such-route"],
    ["an unknown task", "GET", "/v1/tasks/01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57", {}, 404, "task-not-found"],
    ["an id that is none", "GET", "/v1/tasks/42", {}, 404, "task-not-found"],
    ["a path that cannot be decoded", "GET", "/v1/tasks/by-key/%ff", {}, 400, "malformed-request"],
    ["malformed JSON", "POST", "/v1/tasks", { text: '{"url":' }, 400, "malformed-json"],
    ["an empty body", "POST", "/v1/tasks", { text: "", headers: json }, 400, "malformed-json"],
    ["a body that is no object", "POST", "/v1/tasks", { text: "[]" }, 422, "validation-failed"],
    [
      "another content type",
      "POST",
      "/v1/tasks",
      { text: "{}", headers: { "content-type": "text/plain" } },
      415,
      "unsupported-media-type",
    ],
    [
      "a compressed body",
      "POST",
      "/v1/tasks",
      { text: "{}", headers: { ...json, "content-encoding": "gzip" } },
      415,
      "unsupported-media-type",
    ],
    ["a body of 3 MiB", "POST", "/v1/tasks", { text: `"${"x".repeat(3 * 1024 * 1024)}"` }, 413, "too-large"],
    ["an unknown parameter", "GET", "/v1/tasks?page=2", {}, 422, "validation-failed"],
  ] as const)("of %s has its status and type", async (_name, method, path, options, status, type) => {
    const answer = await flow.api.call(method, path, options);
    expect(answer.problem).toMatchObject({
      type: `urn:lapse:problem:${type}`,
      status,
      title: expect.any(String),
      detail: expect.any(String),
    });
    expect(answer.status).toBe(status);
    expect(answer.headers["content-type"]).toBe("application/problem+json");
  });

  test.each([
    ["PUT", "/v1/tasks", ["GET", "HEAD", "POST"]],
    ["GET", "/v1/tasks/batch", ["POST"]],
    ["GET", "/v1/tasks/cancel", ["POST"]],
    ["POST", "/v1/tasks/01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57", ["DELETE", "GET", "HEAD", "PATCH"]],
    ["GET", "/v1/tasks/01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57/confirm", ["POST"]],
    ["PATCH", "/v1/tasks/by-key/a", ["DELETE", "GET", "HEAD"]],
    ["DELETE", "/healthz", ["GET", "HEAD"]],
  ] as const)("of %s %s, which is not taken, says what is", async (method, path, allowed) => {
    const answer = await flow.api.call(method, path);
    expect(answer.problem).toMatchObject({ status: 405, type: "urn:lapse:problem:method-not-allowed" });
    expect(String(answer.headers["allow"]).split(", ").toSorted()).toEqual(allowed);
  });

  test("answers HEAD like GET, without the body", async () => {
    const { id } = await flow.create();
    const answer = await flow.api.call("HEAD", `/v1/tasks/${id}`);
    expect([answer.status, answer.text, answer.headers["etag"]]).toEqual([200, "", '"1"']);
  });
});

test("an open API refuses what a web page of another site may have sent", async () => {
  const { url } = await flow.create();
  const post = (headers: Record<string, string>) => flow.api.post("/v1/tasks", { url, delay: "1h" }, headers);
  expect((await post({ host: "rebound.example" })).problem.type).toBe("urn:lapse:problem:foreign-host");
  expect((await post({ origin: "https://evil.example" })).problem.type).toBe("urn:lapse:problem:foreign-origin");
  expect((await post({ "sec-fetch-site": "cross-site" })).problem.status).toBe(403);
  expect((await post({ host: "localhost:8080" })).status).toBe(201);
});
