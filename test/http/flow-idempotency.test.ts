// Owns the checks of Idempotency-Key through the real service: what is replayed, what is refused, and what is not kept.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiAnswer } from "../support/api.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";

let flow: Flow;
let url: string;

beforeAll(async () => {
  flow = await startFlow();
  url = flow.hook().url;
});
afterAll(() => flow.stop());

const parallel = 20;

function post(key: string, fields: object, path = "/v1/tasks"): Promise<ApiAnswer> {
  return flow.api.post(path, fields, { "idempotency-key": key });
}

async function countOf(label: string): Promise<number> {
  return (await flow.api.get(`/v1/tasks?label.of=${label}`)).as<{ items: unknown[] }>().items.length;
}

describe("the same key and fields", () => {
  test("replay the first answer: status, headers and every byte", async () => {
    const [key, of] = [unique("once"), unique("of")];
    const text = `{"url":"${url}","delay":"1h","labels":{"of":"${of}"},"payload":{"id": 12345678901234567890}}`;
    const headers = { "idempotency-key": key };
    const first = await flow.api.call("POST", "/v1/tasks", { text, headers });
    const again = await flow.api.call("POST", "/v1/tasks", { text, headers });
    expect([again.status, again.text]).toEqual([201, first.text]);
    expect(again.text).toContain('"payload":{"id": 12345678901234567890}');
    const { location, etag } = first.headers;
    expect(again.headers).toMatchObject({ location, etag, "idempotency-replayed": "true" });
    expect(first.headers["idempotency-replayed"]).toBeUndefined();
    expect(await countOf(of)).toBe(1);
  });

  test("replay it as it was, whatever became of the task", async () => {
    const key = unique("once");
    const first = await post(key, { url, delay: "1h" });
    await flow.api.delete(`/v1/tasks/${first.task.id}`);
    expect((await post(key, { url, delay: "1h" })).text).toBe(first.text);
  });

  test("are the same with defaults spelt out, and the key in quotes", async () => {
    const key = unique("once");
    const first = await post(key, { url, delay: "1h" });
    expect((await post(`"${key}"`, { url, delay: "1h", queue: "default" })).text).toBe(first.text);
  });

  test("of 1,000 posts at once make one task and one answer", async () => {
    const [key, of] = [unique("once"), unique("of")];
    const fields = { url, delay: "1h", labels: { of } };
    const answers = await Promise.all(Array.from({ length: 1_000 }, () => post(key, fields)));
    expect(answers.every(({ status }) => status === 201)).toBe(true);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.filter(({ headers }) => headers["idempotency-replayed"] === undefined)).toHaveLength(1);
    expect(await countOf(of)).toBe(1);
  });

  test("fire their task once", async () => {
    const hook = flow.hook();
    const key = unique("once");
    const [{ task }] = await Promise.all([post(key, { url: hook.url }), post(key, { url: hook.url })]);
    await flow.reaches(task.id, "succeeded");
    await flow.reaches((await flow.create({ url, delay: "50ms" })).id, "succeeded");
    expect(hook.requests).toHaveLength(1);
  });

  test("replay a 409, also once the task that stood has ended", async () => {
    const [key, taskKey] = [unique("once"), unique("key")];
    const { id } = await flow.create({ key: taskKey });
    const first = await post(key, { url, key: taskKey });
    expect(first.problem).toMatchObject({ status: 409, type: "urn:lapse:problem:key-conflict" });
    await flow.api.delete(`/v1/tasks/${id}`);
    const again = await post(key, { url, key: taskKey });
    expect([again.status, again.text]).toEqual([409, first.text]);
    expect(again.headers["idempotency-replayed"]).toBe("true");
  });

  test("replay a 200", async () => {
    const [key, taskKey] = [unique("once"), unique("key")];
    await flow.create({ key: taskKey });
    const first = await post(key, { url, key: taskKey, onConflict: "keep" });
    const again = await post(key, { url, key: taskKey, onConflict: "keep" });
    expect([first.status, again.status, again.text]).toEqual([200, 200, first.text]);
  });
});

describe("the same key with other fields", () => {
  test("are 422, and store nothing", async () => {
    const [key, of] = [unique("once"), unique("of")];
    await post(key, { url, delay: "1h" });
    const { problem } = await post(key, { url, delay: "1h", labels: { of } });
    expect(problem).toMatchObject({ status: 422, type: "urn:lapse:problem:idempotency-key-reused" });
    expect(await countOf(of)).toBe(0);
  });

  test("at once let one of them through", async () => {
    const key = unique("once");
    const posts = Array.from({ length: parallel }, (_, payload) => post(key, { url, delay: "1h", payload }));
    const statuses = (await Promise.all(posts)).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([201, ...Array.from({ length: parallel - 1 }, () => 422)]);
  });

  test("are another request on another path", async () => {
    const key = unique("once");
    await post(key, { url, delay: "1h" });
    expect((await post(key, { tasks: [{ url, delay: "1h" }] }, "/v1/tasks/batch")).status).toBe(200);
  });

  test("are welcome where the first was refused with 422: that is not kept", async () => {
    const key = unique("once");
    expect((await post(key, { url, delay: 30 })).status).toBe(422);
    expect((await post(key, { url, delay: "30s" })).status).toBe(201);
  });
});

describe("a batch", () => {
  test("is replayed as a whole", async () => {
    const [key, of] = [unique("once"), unique("of")];
    const fields = { tasks: [{ url, delay: "1h", labels: { of } }, { url: "x" }] };
    const first = await post(key, fields, "/v1/tasks/batch");
    const again = await post(key, fields, "/v1/tasks/batch");
    expect(again.text).toBe(first.text);
    expect(again.headers["idempotency-replayed"]).toBe("true");
    expect(await countOf(of)).toBe(1);
  });

  test("that was refused as a whole is replayed too", async () => {
    const [key, taskKey] = [unique("once"), unique("key")];
    const { id } = await flow.create({ key: taskKey });
    const fields = {
      atomic: true,
      tasks: [
        { url, delay: "1h" },
        { url, key: taskKey },
      ],
    };
    const first = await post(key, fields, "/v1/tasks/batch");
    await flow.api.delete(`/v1/tasks/${id}`);
    const again = await post(key, fields, "/v1/tasks/batch");
    expect([first.status, again.status, again.text]).toEqual([409, 409, first.text]);
  });

  test("with other tasks is 422", async () => {
    const key = unique("once");
    await post(key, { tasks: [{ url, delay: "1h" }] }, "/v1/tasks/batch");
    const { problem } = await post(key, { tasks: [{ url, delay: "2h" }] }, "/v1/tasks/batch");
    expect(problem.type).toBe("urn:lapse:problem:idempotency-key-reused");
  });

  test("of many at once makes its tasks once", async () => {
    const [key, of] = [unique("once"), unique("of")];
    const fields = { atomic: true, tasks: [1, 2, 3].map((payload) => ({ url, delay: "1h", labels: { of }, payload })) };
    const answers = await Promise.all(Array.from({ length: parallel }, () => post(key, fields, "/v1/tasks/batch")));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(await countOf(of)).toBe(3);
  });
});

describe("a header that cannot be used", () => {
  test.each(["a b", `"${"k".repeat(256)}"`, "é", '"open'])("%s is 400", async (key) => {
    const headers = ["idempotency-key", Buffer.from(key).toString("latin1")];
    const answer = await flow.api.call("POST", "/v1/tasks", { body: { url }, headers });
    expect(answer.problem).toMatchObject({ status: 400, type: "urn:lapse:problem:malformed-request" });
  });

  test("given twice is 400", async () => {
    const headers = ["idempotency-key", "a", "idempotency-key", "a"];
    const answer = await flow.api.call("POST", "/v1/tasks", { body: { url }, headers });
    expect(answer.problem.status).toBe(400);
  });
});
