// Owns the checks that a key which is confined to queues writes into no other, and learns nothing by trying.

import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiAnswer, TaskJson } from "../support/api.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { importAll } from "../support/import-client.ts";
import { type KeyHolder, makeHolder, said } from "./key-holders.ts";

const apiKey = `key-${randomBytes(16).toString("hex")}`;
const [ownQueue, secondQueue, otherQueue] = ["own", "own-too", "other"];
const url = "https://shop.example/hooks";

let flow: Flow;
let confined: KeyHolder;
/** A task of the other queue. */
let other: TaskJson;

beforeAll(async () => {
  flow = await startFlow({ config: { apiKey } });
  confined = await makeHolder(flow.api, flow.service.url, {
    scopes: ["tasks:read", "tasks:write", "queues:write"],
    queues: [ownQueue, secondQueue],
  });
  other = await flow.create({ queue: otherQueue, key: unique("other") });
});
afterAll(async () => {
  await confined.api.close();
  await flow.stop();
});

async function expectUntouched(): Promise<void> {
  expect(await flow.read(other.id)).toEqual(other);
}

describe("POST /v1/tasks/cancel", () => {
  test("with a tombstone for another queue is 403, whatever is there, and leaves none", async () => {
    const key = unique("to-come");
    const body = { keys: [key], tombstone: "10m" };
    const taken = { ...body, keys: [other.key] };
    const answers = [
      await confined.api.post("/v1/tasks/cancel", { ...body, queue: otherQueue }),
      await confined.api.post("/v1/tasks/cancel", { ...taken, queue: otherQueue }),
      await confined.api.post("/v1/tasks/cancel", { ...body, queue: "nowhere" }),
      await confined.api.post("/v1/tasks/cancel", body),
    ];
    expect(answers[0]?.problem).toMatchObject({ status: 403, errors: [{ path: "/queue" }] });
    expect(new Set(answers.map((answer) => JSON.stringify(said(answer)))).size).toBe(1);
    expect((await flow.create({ queue: otherQueue, key })).state).toBe("scheduled");
    expect((await flow.create({ key })).state).toBe("scheduled");
    await expectUntouched();
  });

  test("with a tombstone for its own queue stops what comes there, and nothing elsewhere", async () => {
    const key = unique("to-come");
    await confined.api.post("/v1/tasks/cancel", { keys: [key], queue: ownQueue, tombstone: "10m" });
    expect((await flow.create({ queue: ownQueue, key })).state).toBe("cancelled");
    expect((await flow.create({ queue: otherQueue, key })).state).toBe("scheduled");
  });
});

describe("a create", () => {
  const refused = { status: 403, type: "urn:lapse:problem:forbidden", errors: [{ path: "/queue" }] };

  test("in another queue is 403, whatever is there, and makes neither task nor queue", async () => {
    const { key } = other;
    const nowhere = unique("nowhere");
    const answers: ApiAnswer[] = [];
    for (const fields of [
      { queue: otherQueue },
      { queue: otherQueue, key },
      { queue: otherQueue, key, onConflict: "keep" },
      { queue: otherQueue, key, onConflict: "replace" },
      { queue: nowhere },
      {},
    ]) {
      for (const headers of [{}, { "idempotency-key": unique("once") }])
        answers.push(await confined.api.post("/v1/tasks", { url, delay: "1h", ...fields }, headers));
    }
    expect(answers[0]?.problem).toMatchObject(refused);
    expect(new Set(answers.map((answer) => JSON.stringify(said(answer)))).size).toBe(1);
    expect((await flow.api.get("/v1/audit")).text).not.toContain(nowhere);
    await expectUntouched();
  });

  test("of a batch is refused one by one, or as a whole where it is atomic", async () => {
    const shop = unique("shop");
    const tasks = [ownQueue, otherQueue, secondQueue].map((queue) => ({ url, delay: "1h", queue, labels: { shop } }));
    const atomic = await confined.api.post("/v1/tasks/batch", { tasks, atomic: true });
    expect(atomic.problem).toMatchObject({ ...refused, errors: [{ path: "/tasks/1/queue" }] });
    const faulty = [...tasks, { url: "x" }];
    const both = await confined.api.post("/v1/tasks/batch", { tasks: faulty, atomic: true });
    expect(both.problem).toMatchObject({ status: 422, errors: [{ path: "/tasks/1/queue" }, { path: "/tasks/3/url" }] });
    expect((await flow.api.get(`/v1/tasks?label.shop=${shop}`)).json).toEqual({ items: [], nextCursor: null });
    const single = (await confined.api.post("/v1/tasks/batch", { tasks })).as<{ items: { status: number }[] }>();
    expect(single.items).toMatchObject([
      { status: 201 },
      { status: 403, problem: { ...refused, errors: [{ path: "/tasks/1/queue" }] } },
      { status: 201 },
    ]);
    expect((await flow.api.get(`/v1/tasks?label.shop=${shop}&queue=${otherQueue}`)).json).toMatchObject({ items: [] });
  });

  test("of an import is refused line by line, whatever is there", async () => {
    const { key } = other;
    const shop = unique("shop");
    const fields = [ownQueue, otherQueue, unique("nowhere"), secondQueue].map((queue) => ({ queue, labels: { shop } }));
    const lines = [...fields, { queue: otherQueue, key, onConflict: "replace" }].map((more) =>
      JSON.stringify({ url, delay: "1h", ...more }),
    );
    const told = await importAll(flow.service.url, lines.join("\n"), { apiKey: confined.secret });
    expect(told).toMatchObject([
      { line: 2, problem: refused },
      { line: 3, problem: refused },
      { line: 5, problem: refused },
      { accepted: 2, refused: 3, done: true },
    ]);
    expect(new Set(told.slice(0, 3).map(({ problem }) => JSON.stringify(problem))).size).toBe(1);
    expect((await flow.api.get(`/v1/tasks?label.shop=${shop}`)).as<{ items: unknown[] }>().items).toHaveLength(2);
    await expectUntouched();
  });

  test("under another key's Idempotency-Key replays nothing of it", async () => {
    const headers = { "idempotency-key": unique("once") };
    const theirs = await flow.api.post("/v1/tasks", { url, delay: "1h", queue: otherQueue }, headers);
    const mine = await confined.api.post("/v1/tasks", { url, delay: "1h", queue: ownQueue }, headers);
    expect([theirs.status, mine.status]).toEqual([201, 201]);
    expect(mine.task.queue).toBe(ownQueue);
  });

  test("in its own queue meets no key of another", async () => {
    const { key } = other;
    const fields = { url, delay: "1h", queue: secondQueue, key };
    const made = await confined.api.post("/v1/tasks", fields);
    expect(made.status).toBe(201);
    expect(
      (await confined.api.post("/v1/tasks", { ...fields, delay: "2h", onConflict: "replace" })).task,
    ).toMatchObject({
      id: made.task.id,
      queue: secondQueue,
    });
    await flow.api.delete(`/v1/tasks/${made.task.id}`);
    await expectUntouched();
  });
});

test("a task of its own cannot be moved to another queue", async () => {
  const { id } = await flow.create({ queue: ownQueue });
  const answer = await confined.api.patch(`/v1/tasks/${id}`, { queue: otherQueue, delay: "2h" });
  expect(answer.problem).toMatchObject({ status: 422, errors: [{ path: "/queue" }] });
  expect((await flow.read(id)).queue).toBe(ownQueue);
});
