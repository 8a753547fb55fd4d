// Owns the checks of imports through the real service: what is accepted, what is refused and how it is told.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { taskBytesMax } from "../../src/http/limits.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { importAll, type ImportLine, openImport } from "../support/import-client.ts";

let flow: Flow;
let url: string;
let at: string;

beforeAll(async () => {
  flow = await startFlow();
  url = flow.hook().url;
  at = flow.service.url;
});
afterAll(() => flow.stop());

const task = (fields: object = {}): string => JSON.stringify({ url, delay: "1h", ...fields });
const problems = (told: readonly ImportLine[]) => told.filter(({ problem }) => problem !== undefined);
const countOf = async (queue: string): Promise<number> =>
  (await flow.api.get(`/v1/queues/${queue}/stats`)).as<{ counts: { scheduled: number } }>().counts.scheduled;

test("each line is a task; the refused ones are told by number, and the sums at the end", async () => {
  const queue = unique("queue");
  const told = await importAll(at, [task({ queue }), task({ queue, url: "x" }), "", task({ queue })].join("\n"));
  expect(told).toEqual([
    { line: 2, problem: expect.objectContaining({ status: 422, errors: [expect.objectContaining({ path: "/url" })] }) },
    { accepted: 2, refused: 1, done: true },
  ]);
  expect(await countOf(queue)).toBe(2);
});

test("nothing at all is an import of no tasks", async () => {
  expect(await importAll(at, "")).toEqual([{ accepted: 0, refused: 0, done: true }]);
});

test("after each 1,000 lines it says how far it is, between the refused ones", async () => {
  const lines = Array.from({ length: 2_500 }, (_, i) => (i === 998 || i === 1_000 ? "{}" : task()));
  const told = await importAll(at, lines.join("\n"));
  expect(told.map(({ line, accepted, refused }) => line ?? [accepted, refused])).toEqual([
    999,
    [999, 1],
    1_001,
    [1_998, 2],
    [2_498, 2],
  ]);
});

test("a line is refused with the problem that a POST of it is answered with", async () => {
  const bodies = [
    '{"url":"x","timeout":1,"other":2,"retry":{"maxAttempts":0}}',
    '{"url":',
    '{"url":"https://shop.example","payload":"\\u0000"}',
    "[]",
    "null",
    '"text"',
    `{"url":"https://shop.example","payload":"${"x".repeat(256 * 1024)}"}`,
    '{"url":"https://shop.example","queue":"lapse:own"}',
  ];
  const told = await importAll(at, bodies.join("\n"));
  const alone = await Promise.all(bodies.map((text) => flow.api.call("POST", "/v1/tasks", { text })));
  expect(problems(told)).toEqual(alone.map(({ problem }, i) => ({ line: i + 1, problem })));
  expect(told.at(-1)).toEqual({ accepted: 0, refused: bodies.length, done: true });
});

test("payloads keep every digit", async () => {
  const queue = unique("queue");
  const payload = '{"id": 12345678901234567890, "price": 1.10}';
  await importAll(at, `{"url":"${url}","delay":"1h","queue":"${queue}","payload":${payload}}\r\n`);
  expect((await flow.api.get(`/v1/tasks?queue=${queue}`)).text).toContain(`"payload":${payload},`);
});

test("a line may end in \\r\\n, a byte order mark may come first, and the last line needs no end", async () => {
  const told = await importAll(at, `\ufeff${task()}\r\n\r\n${task()}\r\n${task()}`);
  expect(told).toEqual([{ accepted: 3, refused: 0, done: true }]);
});

test("what is not UTF-8 is refused as its line alone", async () => {
  const bytes = Buffer.concat([Buffer.from(`${task()}\n"`), Buffer.from([0xff]), Buffer.from(`"\n${task()}\n`)]);
  const told = await importAll(at, bytes);
  expect(told).toMatchObject([{ line: 2, problem: { type: "urn:lapse:problem:malformed-json" } }, { accepted: 2 }]);
});

test("a line may be as long as the limit; a longer one is refused, and those after it are not", async () => {
  const padded = (bytes: number) => task() + " ".repeat(bytes - task().length);
  const lines = [padded(taskBytesMax), padded(taskBytesMax + 1), padded(5 * taskBytesMax), task()];
  const told = await importAll(at, lines.join("\r\n"));
  const tooLarge = { status: 413, type: "urn:lapse:problem:too-large" };
  expect(told).toMatchObject([
    { line: 2, problem: tooLarge },
    { line: 3, problem: tooLarge },
    { accepted: 2, refused: 2, done: true },
  ]);
});

describe("a key", () => {
  test("that is taken is met as the line's onConflict says", async () => {
    const key = unique("key");
    const { id } = await flow.create({ key, url, delay: "1h" });
    const told = await importAll(
      at,
      [
        task({ key }),
        task({ key, payload: 1 }),
        task({ key, payload: 1, onConflict: "keep" }),
        task({ key, payload: 2, onConflict: "replace" }),
      ].join("\n"),
    );
    expect(told).toMatchObject([
      { line: 2, problem: { status: 409, type: "urn:lapse:problem:key-conflict", id, state: "scheduled" } },
      { accepted: 3, refused: 1, done: true },
    ]);
    expect((await flow.read(id)).payload).toBe(2);
  });

  test("that many lines have is taken by them in their order", async () => {
    const key = unique("key");
    const lines = Array.from({ length: 60 }, (_, i) => task({ key, payload: i, onConflict: "replace" }));
    expect(await importAll(at, lines.join("\n"))).toEqual([{ accepted: 60, refused: 0, done: true }]);
    expect((await flow.api.get(`/v1/tasks/by-key/${key}`)).task).toMatchObject({ payload: 59, version: 60 });
  });

  test("makes it safe to import the same lines again", async () => {
    const queue = unique("queue");
    const lines = Array.from({ length: 1_200 }, (_, i) => task({ queue, key: `order-${i}` })).join("\n");
    for (const _ of [1, 2])
      expect((await importAll(at, lines)).at(-1)).toEqual({ accepted: 1_200, refused: 0, done: true });
    expect(await countOf(queue)).toBe(1_200);
  });

  test("with a tombstone makes a cancelled task, which is accepted", async () => {
    const key = unique("key");
    await flow.api.post("/v1/tasks/cancel", { keys: [key], tombstone: "10m" });
    expect(await importAll(at, task({ key }))).toEqual([{ accepted: 1, refused: 0, done: true }]);
    expect((await flow.api.get(`/v1/tasks/by-key/${key}`)).task.state).toBe("cancelled");
  });
});

describe("it streams", () => {
  test("a line is stored and answered while the next one is still to come", async () => {
    const key = unique("key");
    const call = openImport(at);
    await call.send(`${task({ key })}\n{}\n`);
    expect(await call.next(({ line }) => line === 2)).toMatchObject({ problem: { status: 422 } });
    expect((await flow.api.get(`/v1/tasks/by-key/${key}`)).status).toBe(200);
    await call.send(task());
    call.end();
    expect((await call.ended).at(-1)).toEqual({ accepted: 2, refused: 1, done: true });
  });

  test("a client that reads nothing before it has sent all is answered whole", async () => {
    const call = openImport(at, { isReadLater: true });
    const count = 4_000;
    for (let i = 0; i < count; i += 500) await call.send("{}\n".repeat(500));
    call.end();
    call.read();
    const told = await call.ended;
    expect(problems(told).map(({ line }) => line)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
    expect(told.at(-1)).toEqual({ accepted: 0, refused: count, done: true });
  });

  test("a client that goes away leaves what was accepted, and not the line it was in the midst of", async () => {
    const queue = unique("queue");
    const call = openImport(at);
    await call.send(`${`${task({ queue })}\n`.repeat(1_000)}${task({ queue }).slice(0, -1)}`);
    await call.next(({ accepted }) => accepted === 1_000);
    call.destroy();
    await expect(call.ended).rejects.toThrow(/aborted|socket hang up/);
    expect(await importAll(at, task())).toMatchObject([{ done: true }]);
    expect(await countOf(queue)).toBe(1_000);
  });
});

describe("what is no import is refused before its first line", () => {
  const body = { text: "{}" };
  const type = { "content-type": "application/x-ndjson" };
  test.each([
    [415, "unsupported-media-type", { "content-type": "application/json" }],
    [415, "unsupported-media-type", { ...type, "content-encoding": "gzip" }],
    [400, "malformed-request", { ...type, "idempotency-key": "a" }],
  ])("%i %s with the headers %j", async (status, name, headers) => {
    const answer = await flow.api.call("POST", "/v1/tasks/import", { ...body, headers });
    expect(answer.problem).toMatchObject({ status, type: `urn:lapse:problem:${name}` });
  });

  test("its type may say that it is UTF-8", async () => {
    const headers = { "content-type": "application/x-ndjson; charset=utf-8" };
    expect(await importAll(at, task(), { headers })).toMatchObject([{ accepted: 1, done: true }]);
  });
});
