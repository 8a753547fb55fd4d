// Owns the checks of batches through the real service: an answer for each task, or all or none.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ProblemJson, TaskJson } from "../support/api.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";

let flow: Flow;
let url: string;

beforeAll(async () => {
  flow = await startFlow();
  url = flow.hook().url;
});
afterAll(() => flow.stop());

interface Item {
  readonly status: number;
  readonly task?: TaskJson;
  readonly problem?: ProblemJson;
}

const countMax = 1_000;
const path = "/v1/tasks/batch";

async function batch(tasks: readonly unknown[], atomic?: boolean): Promise<Item[]> {
  const answer = await flow.api.post(path, { tasks, ...(atomic === undefined ? {} : { atomic }) });
  expect(answer.status).toBe(200);
  return answer.as<{ items: Item[] }>().items;
}

async function countOf(label: string): Promise<number> {
  return (await flow.api.get(`/v1/tasks?label.of=${label}`)).as<{ items: unknown[] }>().items.length;
}

const paths = (problem: ProblemJson | undefined): string[] => (problem?.errors ?? []).map((error) => error.path);

describe("a batch", () => {
  test("answers each task by itself, in order", async () => {
    const key = unique("key");
    const { id } = await flow.create({ key });
    const items = await batch([
      { url, delay: "1h", payload: 1 },
      { url: "x", timeout: 1 },
      { url, key, payload: "another" },
      { url, key, onConflict: "keep" },
      { url, key, onConflict: "replace", delay: "2h", payload: "replaced" },
      { url, delay: "1h", payload: "x".repeat(256 * 1024) },
      "no task",
    ]);
    expect(items.map(({ status }) => status)).toEqual([201, 422, 409, 200, 200, 413, 422]);
    expect(items[0]?.task?.payload).toBe(1);
    expect(paths(items[1]?.problem).toSorted()).toEqual(["/tasks/1/timeout", "/tasks/1/url"]);
    expect(items[2]?.problem).toMatchObject({ type: "urn:lapse:problem:key-conflict", id, state: "scheduled" });
    expect(items[3]?.task?.id).toBe(id);
    expect(items[4]?.task).toMatchObject({ id, payload: "replaced", version: 2 });
    expect(paths(items[5]?.problem)).toEqual(["/tasks/5/payload"]);
    expect(paths(items[6]?.problem)).toEqual(["/tasks/6"]);
  });

  test("whose keys are all taken answers each of its tasks, however many", async () => {
    const prefix = unique("key");
    const tasks = Array.from({ length: countMax }, (_, i) => ({ url, delay: "1h", key: `${prefix}-${i}` }));
    await batch(tasks);
    const again = await batch(tasks.map((task, i) => (i % 2 === 0 ? task : { ...task, payload: "another" })));
    expect(again.map(({ status }) => status)).toEqual(tasks.map((_, i) => (i % 2 === 0 ? 200 : 409)));
  });

  test("keeps every digit of each payload, in the task that it belongs to", async () => {
    const tasks = ["12345678901234567890", "1.10", '{"a": [1e400, -0.0]}', "null"].map(
      (payload) => `{"url":"${url}","delay":"1h","payload":${payload}}`,
    );
    const answer = await flow.api.call("POST", path, { text: `{"tasks":[${tasks.join()}, {"url":"${url}"}]}` });
    const shown = [...answer.text.matchAll(/"payload":(.*?),"timeout"/g)].map((match) => match[1]);
    expect(shown).toEqual(["12345678901234567890", "1.10", '{"a": [1e400, -0.0]}', "null", "null"]);
  });

  test("refuses strings that cannot be stored in the task that has them alone", async () => {
    const items = await batch([
      { url, delay: "1h" },
      { url, payload: { a: ["\0"] } },
      { url, payload: "\ud800" },
    ]);
    expect(items.map(({ status }) => status)).toEqual([201, 422, 422]);
    expect(paths(items[1]?.problem)).toEqual(["/tasks/1/payload/a/0"]);
    expect(paths(items[2]?.problem)).toEqual(["/tasks/2/payload"]);
  });

  test.each([{}, { "idempotency-key": unique("deep") }])(
    "survives nesting of any depth in a task that is refused: %j",
    async (headers) => {
      const deep = "[".repeat(100_000) + "]".repeat(100_000);
      const text = `{"tasks":[{"url":"x","payload":${deep}},{"url":"${url}","delay":"1h","payload":${deep}}]}`;
      const answer = await flow.api.call("POST", path, { text, headers });
      expect(answer.as<{ items: Item[] }>().items.map(({ status }) => status)).toEqual([422, 201]);
    },
  );

  test.each([false, true])("with the same key twice has one task of it (atomic: %s)", async (atomic) => {
    const [same, other] = [unique("key"), unique("key")];
    const one = { url, delay: "1h", key: same };
    const answer = await flow.api.post(path, { atomic, tasks: [one, one, { ...one, key: other, payload: 1 }] });
    const { items } = answer.as<{ items: Item[] }>();
    expect(items.map(({ status }) => status)).toEqual([201, 200, 201]);
    expect(items[1]?.task?.id).toBe(items[0]?.task?.id);
  });

  test("with one key for different tasks refuses all but one", async () => {
    const key = unique("key");
    const items = await batch([1, 2, 3].map((payload) => ({ url, delay: "1h", key, payload })));
    expect(items.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409, 409]);
  });

  test("fires its tasks", async () => {
    const hook = flow.hook();
    const items = await batch(Array.from({ length: 50 }, (_, payload) => ({ url: hook.url, payload })));
    for (const { task } of items) await flow.reaches(task?.id ?? "", "succeeded");
    expect(hook.requests.map((request) => Number(request.body)).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, i) => i),
    );
  });

  test("takes 1,000 tasks, each with an id of its own", async () => {
    const items = await batch(Array.from({ length: countMax }, () => ({ url, delay: "1h" })));
    expect(new Set(items.map(({ task }) => task?.id)).size).toBe(countMax);
  });

  test.each<[string, unknown, string]>([
    ["1,001 tasks", { tasks: Array.from({ length: countMax + 1 }, () => ({ url: "x" })) }, "/tasks"],
    ["no tasks", { tasks: [] }, "/tasks"],
    ["tasks that are no list", { tasks: {} }, "/tasks"],
    ["none at all", {}, "/tasks"],
    ["an unknown field", { tasks: [{ url: "x" }], all: true }, "/all"],
    ["an atomic that is no boolean", { tasks: [{ url: "x" }], atomic: 1 }, "/atomic"],
  ])("with %s is 422", async (_name, body, fault) => {
    const { problem } = await flow.api.post(path, body);
    expect(problem.status).toBe(422);
    expect(paths(problem)).toEqual([fault]);
  });

  test("of more than 16 MiB is 413", async () => {
    const answer = await flow.api.post(path, { tasks: [{ url, payload: "x".repeat(16 * 1024 * 1024) }] });
    expect(answer.problem.type).toBe("urn:lapse:problem:too-large");
  });
});

describe("an atomic batch", () => {
  test("stores all", async () => {
    const of = unique("of");
    const items = await batch(
      Array.from({ length: 20 }, (_, payload) => ({ url, delay: "1h", payload, labels: { of } })),
      true,
    );
    expect(items.map(({ task }) => task?.payload)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(await countOf(of)).toBe(20);
  });

  test("with faults is 422, lists those of all tasks, and stores none", async () => {
    const of = unique("of");
    const good = { url, delay: "1h", labels: { of } };
    const tasks = [good, { ...good, url: "x" }, good, { ...good, timeout: 1, payload: "\0" }];
    const { problem } = await flow.api.post(path, { atomic: true, tasks });
    expect(problem).toMatchObject({ status: 422, type: "urn:lapse:problem:validation-failed" });
    expect(paths(problem).toSorted()).toEqual(["/tasks/1/url", "/tasks/3/payload", "/tasks/3/timeout"]);
    expect(await countOf(of)).toBe(0);
  });

  test("with taken keys is 409, names each, and stores none", async () => {
    const [of, one, two] = [unique("of"), unique("key"), unique("key")];
    await flow.create({ key: one });
    await flow.create({ key: two });
    const good = { url, delay: "1h", labels: { of } };
    const tasks = [good, { ...good, key: one }, good, { ...good, key: two }];
    const { problem } = await flow.api.post(path, { atomic: true, tasks });
    expect(problem).toMatchObject({ status: 409, type: "urn:lapse:problem:key-conflict" });
    expect(paths(problem)).toEqual(["/tasks/1/key", "/tasks/3/key"]);
    expect(await countOf(of)).toBe(0);
  });

  test("that is refused changes no task that stands", async () => {
    const [one, two] = [unique("key"), unique("key")];
    const standing = await flow.create({ key: one });
    await flow.create({ key: two });
    const tasks = [
      { url, key: one, onConflict: "replace", payload: "new" },
      { url, key: two },
    ];
    expect((await flow.api.post(path, { atomic: true, tasks })).status).toBe(409);
    expect(await flow.read(standing.id)).toEqual(standing);
  });

  test("that is refused fires nothing", async () => {
    const hook = flow.hook();
    const key = unique("key");
    await flow.create({ key });
    await flow.api.post(path, { atomic: true, tasks: [{ url: hook.url }, { url, key }] });
    await flow.reaches((await flow.create({ url, delay: "100ms" })).id, "succeeded");
    expect(hook.requests).toHaveLength(0);
  });

  test("of which many race for one key lets one through", async () => {
    const [of, key] = [unique("of"), unique("key")];
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, payload) => {
        const task = { url, delay: "1h", labels: { of }, payload };
        return flow.api.post(path, { atomic: true, tasks: [task, { ...task, key }] });
      }),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      200,
      ...Array.from({ length: 9 }, () => 409),
    ]);
    expect(await countOf(of)).toBe(2);
  });
});
