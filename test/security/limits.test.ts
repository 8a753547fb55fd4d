// Owns the limits of the API that belong to no field of a task (security.md, D8; those are in test/http): each holds at N and not at N + 1.

import request from "supertest";
import { describe, expect, test } from "vitest";
import { createApp } from "../../src/http/app.ts";
import * as limits from "../../src/http/limits.ts";
import { knownId, stubParts } from "../http/stub-parts.ts";

const api = request(createApp(stubParts()));
const tooLarge = { status: 413, type: "urn:lapse:problem:too-large" };
const id = "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57";

describe("the bytes of a body", () => {
  test.each([
    ["a task", "/v1/tasks", limits.taskBytesMax, {}],
    ["a batch", "/v1/tasks/batch", limits.batchBytesMax, {}],
    ["a bulk call", "/v1/tasks/pause", limits.bulkBytesMax, { ids: [id] }],
    ["a bulk cancel", "/v1/tasks/cancel", limits.bulkBytesMax, { ids: [id] }],
    ["a confirm", `/v1/tasks/${knownId}/confirm`, limits.confirmBytesMax, { attempt: 1 }],
  ])("of %s", async (_name, path, bytesMax, body) => {
    const text = JSON.stringify(body);
    const post = (bytes: number) =>
      api
        .post(path)
        .set("content-type", "application/json")
        .send(text + " ".repeat(bytes - text.length));
    expect((await post(bytesMax)).status).not.toBe(413);
    expect((await post(bytesMax + 1)).body).toMatchObject(tooLarge);
  });

  test("of a change", async () => {
    const patch = (bytes: number) =>
      api
        .patch(`/v1/tasks/${knownId}`)
        .set("content-type", "application/json")
        .send(`{"delay":"1h"}${" ".repeat(bytes - 14)}`);
    expect((await patch(limits.taskBytesMax)).status).toBe(200);
    expect((await patch(limits.taskBytesMax + 1)).body).toMatchObject(tooLarge);
  });
});

describe("a listing", () => {
  test.each([
    ["limit, most", `limit=${limits.pageCountMax}`, `limit=${limits.pageCountMax + 1}`],
    ["limit, least", "limit=1", "limit=0"],
    ["queue", `queue=${"q".repeat(limits.queueCharsMax)}`, `queue=${"q".repeat(limits.queueCharsMax + 1)}`],
    ["key", `key=${"k".repeat(limits.keyCharsMax)}`, `key=${"k".repeat(limits.keyCharsMax + 1)}`],
    ["keyPrefix", `keyPrefix=${"k".repeat(limits.keyCharsMax)}`, `keyPrefix=${"k".repeat(limits.keyCharsMax + 1)}`],
    [
      "a label's value",
      `label.a=${"v".repeat(limits.labelValueCharsMax)}`,
      `label.a=${"v".repeat(limits.labelValueCharsMax + 1)}`,
    ],
  ])("%s", async (_name, within, past) => {
    expect((await api.get(`/v1/tasks?${within}`)).status).toBe(200);
    expect((await api.get(`/v1/tasks?${past}`)).status).toBe(422);
  });

  test("cursor: one beyond its length is refused as one, not read", async () => {
    const refused = async (chars: number) =>
      (await api.get(`/v1/tasks?cursor=${"A".repeat(chars)}`)).body as {
        status: number;
        errors: { message: string }[];
      };
    const [within, past] = [await refused(limits.cursorCharsMax), await refused(limits.cursorCharsMax + 1)];
    expect([within.status, past.status]).toEqual([422, 422]);
    expect(past.errors[0]?.message).not.toBe(within.errors[0]?.message);
  });
});

test("an Idempotency-Key", async () => {
  const post = (chars: number) =>
    api.post("/v1/tasks").set("idempotency-key", "k".repeat(chars)).send({ url: "https://shop.example/" });
  expect((await post(limits.idempotencyKeyCharsMax)).status).toBe(201);
  expect((await post(limits.idempotencyKeyCharsMax + 1)).status).toBe(400);
});

test("faults are listed up to a limit", async () => {
  const labels = Object.fromEntries(Array.from({ length: 2 * limits.faultsMax }, (_, i) => [`l${i}`, 7]));
  const answer = await api.post("/v1/tasks").send({ url: "https://shop.example/", labels });
  expect((answer.body as { errors: unknown[] }).errors.length).toBeLessThanOrEqual(limits.faultsMax);
});
