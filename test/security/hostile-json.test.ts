// Owns the facts about bodies made to do harm: deep nesting, members named after what objects inherit, names given twice, encodings.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { payloadBytesMax, taskBytesMax } from "../../src/http/limits.ts";
import type { ApiAnswer } from "../support/api.ts";
import { startTestService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startTestService({ redis: "away" });
});
afterAll(() => service.stop());

const url = "https://shop.example/";
const post = (text: string, headers = {}): Promise<ApiAnswer> =>
  service.api.call("POST", "/v1/tasks", { text, headers: { "content-type": "application/json", ...headers } });
/** A task's text with these members beside its url and delay. */
const task = (members: string): string => `{"url":"${url}","delay":"1h",${members}}`;
const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);

describe("nesting", () => {
  test("as deep as a payload may be long is stored and shown as it came", async () => {
    const payload = nested(payloadBytesMax / 2);
    const created = await fetch(`${service.url}/v1/tasks`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: task(`"payload":${payload}`),
    });
    expect(created.status).toBe(201);
    expect(await created.text()).toContain(`"payload":${payload},`);
  });

  test.each([
    ["the body", nested(taskBytesMax / 2), 422],
    ["a body that does not end", "[".repeat(taskBytesMax), 400],
    ["labels", task(`"labels":${nested(100_000)}`), 422],
    ["a label", task(`"labels":{"a":${nested(100_000)}}`), 422],
    ["objects", task(`"labels":${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`), 422],
    ["a member that no task has", task(`"x":${nested(500_000)}`), 422],
  ])("of %s is refused, and nothing breaks", async (_name, text, status) => {
    expect((await post(text)).status).toBe(status);
    expect((await service.api.get("/healthz")).status).toBe(200);
  });
});

describe("a name that objects inherit", () => {
  const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"];

  test.each(names)("%s is no field of a task", async (name) => {
    const { problem } = await post(task(`"${name}":{"polluted":true,"isAdmin":true}`));
    expect(problem).toMatchObject({ status: 422, errors: [{ path: expect.stringMatching(/^(\/.*)?$/) }] });
  });

  test.each(names)("%s is no field of a retry", async (name) => {
    expect((await post(task(`"retry":{"${name}":{"maxAttempts":1}}`))).status).toBe(422);
  });

  test("__proto__ is refused as a label", async () => {
    const { problem } = await post(task('"labels":{"__proto__":"x"}'));
    expect(problem).toMatchObject({ status: 422, errors: [{ path: "/labels/__proto__" }] });
  });

  test.each(names.slice(1))("%s is a label like any other", async (name) => {
    const created = await post(task(`"labels":{"${name}":"x"}`));
    expect(created.status).toBe(201);
    expect(created.text).toContain(`"labels":{"${name}":"x"}`);
    const listed = await service.api.get(`/v1/tasks?label.${name}=x`);
    expect(listed.text).toContain(created.task.id);
  });

  test.each(names)("%s as a header is sent, or refused, but not lost", async (name) => {
    const created = await post(task(`"headers":{"${name}":"x"}`));
    expect(created.status === 422 || created.text.includes(`"headers":{"${name}":"x"}`)).toBe(true);
  });

  test.each(names)("%s is no parameter", async (name) => {
    expect((await service.api.get(`/v1/tasks?${name}=x`)).status).toBe(422);
    expect((await service.api.get(`/v1/tasks?${name}[polluted]=x`)).status).toBe(422);
  });

  test("none of them has become a member of all objects", () => {
    for (const name of ["polluted", "isAdmin", "delay"]) expect(name in {}).toBe(false);
  });

  test("stays in a payload as it was written", async () => {
    const payload = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"isAdmin":true}}}';
    expect((await post(task(`"payload":${payload}`))).text).toContain(`"payload":${payload}`);
  });
});

describe("a member given twice", () => {
  test("counts as its last, in what is checked and in what is stored", async () => {
    const created = await post(task('"payload":{"paid":true},"payload":{"paid":false},"url":"https://last.example/"'));
    expect(created.task).toMatchObject({ url: "https://last.example/", payload: { paid: false } });
    expect(created.text).not.toContain('{"paid":true}');
  });

  test("and written with an escape, too", async () => {
    const created = await post(task('"payload":1,"\\u0070ayload":2'));
    expect(created.task.payload).toBe(2);
  });
});

test.each(["gzip", "br", "deflate", "GZIP", "identity, gzip", "x"])(
  "a body in %s is refused unread",
  async (encoding) => {
    const { problem } = await post(task('"payload":1'), { "content-encoding": encoding });
    expect(problem).toMatchObject({ status: 415, type: "urn:lapse:problem:unsupported-media-type" });
  },
);
