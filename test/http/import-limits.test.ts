// Owns the facts about imports that go on for long, stand still, are not read, or are too many. Nothing is stored; the times are a test's own.

import express from "express";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ImportLimits, importLimits } from "../../src/http/importer.ts";
import { importsMax } from "../../src/http/limits.ts";
import type { ApiParts } from "../../src/http/parts.ts";
import { importRoute } from "../../src/http/routes/import.ts";
import { createTaskSchemas } from "../../src/http/schemas/task-input.ts";
import { mountRoutes } from "../../src/http/serve.ts";
import { type HttpServer, listen, serverLimits } from "../../src/http/server.ts";
import type { TaskRequest } from "../../src/task/new-task.ts";
import { openRaw } from "../security/raw-http.ts";
import { importAll, type ImportCall, openImport } from "../support/import-client.ts";
import { stubParts } from "./stub-parts.ts";

const task = `${JSON.stringify({ url: "https://shop.example/hooks" })}\n`;
const requestTimeoutMs = 400;
const lineMsMax = 600;
const own = { lineMsMax, unreadBytesMax: 64 * 1024, unreadMsMax: 300, discardMsMax: 1_000 };
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function serve(given: Partial<ApiParts> = {}, limits: Partial<ImportLimits> = own): Promise<HttpServer> {
  const parts = stubParts(given);
  const app = express();
  mountRoutes(app, [importRoute(parts, createTaskSchemas(parts), { ...importLimits, ...limits })], parts);
  const short = { ...serverLimits, headersTimeoutMs: 300, requestTimeoutMs, checkMs: 50 };
  return listen(app, { host: "127.0.0.1", port: 0 }, short);
}

let server: HttpServer;
beforeAll(async () => {
  server = await serve();
});
afterAll(() => server.close());

test("an import that keeps moving may take longer than any other request", async () => {
  const call = openImport(server.url);
  const rounds = 12;
  for (let i = 0; i < rounds; i += 1) {
    await call.send(task);
    await pause((3 * requestTimeoutMs) / rounds);
  }
  call.end();
  expect(await call.ended).toEqual([{ accepted: rounds, refused: 0, done: true }]);
});

test.each([
  ["bytes of a line without its end", "a"],
  ["blank lines", "\n"],
  ["nothing", ""],
])("one that brings %s for too long is told so and cut off", async (_name, drip) => {
  const head = `POST /v1/tasks/import HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n`;
  const connection = openRaw(server.url);
  connection.socket.write(head + task);
  const timer = setInterval(() => connection.socket.write(drip), 20);
  const said = await connection.closed().finally(() => clearInterval(timer));
  expect(said).toContain(
    '{"accepted":1,"refused":0,"done":false,"line":2,"problem":{"type":"urn:lapse:problem:request-timeout"',
  );
});

test("the time that Lapse takes itself is not counted as its client's", async () => {
  const { intake } = stubParts();
  const acceptTogether: typeof intake.acceptTogether = async (given) => {
    await pause(2 * lineMsMax);
    return intake.acceptTogether(given);
  };
  const slow = await serve({ intake: { ...intake, acceptTogether } }, { ...own, writesMax: 1, togetherMax: 1 });
  expect(await importAll(slow.url, task.repeat(3))).toEqual([{ accepted: 3, refused: 0, done: true }]);
  await slow.close();
});

describe("under way", () => {
  /** Serves with an accept that answers nothing until `release`; `asked`: what came to it. */
  async function serveHeld(limits: Partial<ImportLimits>) {
    const { intake } = stubParts();
    const asked: TaskRequest[] = [];
    const released = Promise.withResolvers<void>();
    const acceptTogether: typeof intake.acceptTogether = async (given) => {
      asked.push(...given);
      await released.promise;
      return intake.acceptTogether(given);
    };
    return { held: await serve({ intake: { ...intake, acceptTogether } }, limits), asked, release: released.resolve };
  }
  const settleMs = 300;

  test.each([
    ["lines", { togetherMax: 5, writesMax: 3 }, 15],
    // A line is counted without its end, so that four are a little less, and five are full.
    ["bytes", { togetherBytesMax: 4 * task.length, writesMax: 3 }, 15],
  ])("are so many %s at most", async (_name, limits, most) => {
    const { held, asked, release } = await serveHeld(limits);
    const call = openImport(held.url);
    const count = 500;
    await call.send(task.repeat(count));
    call.end();
    await expect.poll(() => asked.length).toBe(most);
    await pause(settleMs);
    expect(asked.length).toBe(most);
    release();
    expect((await call.ended).at(-1)).toEqual({ accepted: count, refused: 0, done: true });
    await held.close();
  });

  test("is one line of a key at a time, and all of other keys", async () => {
    const { held, asked, release } = await serveHeld({});
    const call = openImport(held.url);
    const keys = ["a", "b", "a", "c", "a"];
    await call.send(keys.map((key) => JSON.stringify({ url: "https://shop.example", key })).join("\n"));
    call.end();
    await expect.poll(() => asked.length).toBe(3);
    await pause(settleMs);
    expect(asked.map(({ key }) => key)).toEqual(["a", "b", "c"]);
    release();
    expect((await call.ended).at(-1)).toEqual({ accepted: keys.length, refused: 0, done: true });
    expect(asked.map(({ key }) => key)).toEqual(["a", "b", "c", "a", "a"]);
    await held.close();
  });
});

test("after an import the same connection has the time of any other request, and no more", async () => {
  const connection = openRaw(server.url);
  const head = `POST /v1/tasks/import HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n`;
  connection.socket.write(`${head}Content-Length: ${task.length}\r\n\r\n${task}`);
  await expect.poll(() => connection.received()).toContain('"done":true');
  connection.socket.write(`${head.replace("import", "none").replace("x-ndjson", "json")}Content-Length: 100\r\n\r\n`);
  const timer = setInterval(() => connection.socket.write("a"), 20);
  const said = await connection.closed().finally(() => clearInterval(timer));
  expect(said).toContain("HTTP/1.1 408");
});

describe("where the answer is not read", () => {
  /** More than the answer holds and the sockets between take, both ways. */
  const many = 200_000;
  const refusedLine = `{}${" ".repeat(200)}\n`;

  async function sendMany(call: ImportCall, count: number): Promise<void> {
    for (let i = 0; i < count; i += 5_000) await call.send(refusedLine.repeat(5_000));
    call.end();
  }

  test("the import stops, and a client that reads once it has sent all is told where", async () => {
    const call = openImport(server.url, { isReadLater: true });
    await sendMany(call, many);
    call.read();
    const told = await call.ended;
    const last = told.at(-1);
    expect(last).toMatchObject({ accepted: 0, done: false, problem: { type: "urn:lapse:problem:answer-not-read" } });
    const refused = told.filter(({ line, done }) => line !== undefined && done === undefined);
    expect(refused.map(({ line }) => line)).toEqual(Array.from({ length: refused.length }, (_, i) => i + 1));
    expect([last?.refused, last?.line]).toEqual([refused.length, refused.length + 1]);
    expect(refused.length).toBeLessThan(many);
  });

  test("a client that reads as it sends is told of every line", async () => {
    const call = openImport(server.url);
    const count = many / 10;
    await sendMany(call, count);
    expect((await call.ended).at(-1)).toEqual({ accepted: 0, refused: count, done: true });
  });
});

test("a process takes so many imports at once, and not one more", async () => {
  const calls = Array.from({ length: importsMax }, () => openImport(server.url));
  expect(await Promise.all(calls.map(({ status }) => status))).toEqual(calls.map(() => 200));
  const past = openImport(server.url);
  expect(await past.status).toBe(503);
  past.destroy();
  for (const call of calls) call.end();
  await Promise.all(calls.map(({ ended }) => ended));
  expect(await importAll(server.url, task)).toMatchObject([{ done: true }]);
});

test("one whose API key is revoked ends, and says so", async () => {
  let isRevoked = false;
  const { apiKeys } = stubParts();
  const known = await apiKeys.holder("the-key-of-checkout");
  const holder = async () =>
    isRevoked || known === null ? null : { ...known, scopes: ["tasks:write"] as const, queues: null };
  const guarded = await serve(
    { access: { apiKey: "root", loopbackOnly: true }, apiKeys: { ...apiKeys, holder } },
    { ...own, lineMsMax: 30_000 },
  );
  const call = openImport(guarded.url, { apiKey: "some-key" });
  await call.send(task.repeat(1_000));
  await call.next(({ accepted }) => accepted === 1_000);
  isRevoked = true;
  expect((await call.ended).at(-1)).toMatchObject({
    accepted: 1_000,
    done: false,
    line: 1_001,
    problem: { type: "urn:lapse:problem:unauthorized" },
  });
  call.destroy();
  await guarded.close();
});

test("in production the limits are these", () => {
  expect(importLimits).toEqual({
    lineBytesMax: 2_097_152,
    lineMsMax: 60_000,
    togetherMax: 500,
    togetherBytesMax: 1_048_576,
    writesMax: 3,
    unreadBytesMax: 4_194_304,
    unreadMsMax: 60_000,
    discardMsMax: 60_000,
  });
});
