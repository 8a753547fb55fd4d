// Owns the checks of the other bodies and queries: bulk filters, confirm, batch, waits and listings, each limit at N and one past it.

import { describe, expect, test } from "vitest";
import type { z } from "zod";
import { faultsOf } from "../../src/http/faults.ts";
import * as limits from "../../src/http/limits.ts";
import { batchBody, bulkCancel, bulkFilter, cancelQuery, confirmBody } from "../../src/http/schemas/calls.ts";

function faults(schema: z.ZodType, value: unknown): string[] {
  const read = schema.safeParse(value);
  return read.success ? [] : faultsOf(read.error).map(({ path, message }) => `${path}: ${message}`);
}

const id = "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57";
const many = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);

describe("a bulk filter", () => {
  const needsCondition = [": must have at least one of ids, keys, labels and held"];

  test.each([bulkFilter, bulkCancel])("needs a condition: an empty one would mean everything", (schema) => {
    expect(faults(schema, {})).toEqual(needsCondition);
    expect(faults(schema, { queue: "default" })).toEqual(needsCondition);
    expect(faults(schema, { dryRun: true })).toEqual(needsCondition);
  });

  test.each<[object, string]>([
    [{ ids: [] }, "/ids: must have at least 1 item"],
    [{ keys: [] }, "/keys: must have at least 1 item"],
    [{ labels: {} }, "/labels: must have at least 1 label"],
    // An empty list is no missing one: its program found nothing, and did not mean all of the labels.
    [{ ids: [], labels: { a: "b" } }, "/ids: must have at least 1 item"],
    [{ ids: ["42"] }, "/ids/0: must be an id (a UUID)"],
    [{ keys: ["a", ""] }, "/keys/1: must have at least 1 character"],
    [{ ids: [id], all: true }, "/all: is not a field here"],
  ])("refuses %j", (filter, fault) => {
    expect(faults(bulkFilter, filter)).toEqual([fault]);
  });

  test("takes 10,000 ids or keys and not one more", () => {
    expect(faults(bulkFilter, { ids: many(limits.bulkCountMax, id) })).toEqual([]);
    expect(faults(bulkFilter, { ids: many(limits.bulkCountMax + 1, id) })).toEqual([
      "/ids: must have at most 10000 items",
    ]);
    expect(faults(bulkFilter, { keys: many(limits.bulkCountMax, "k") })).toEqual([]);
    expect(faults(bulkFilter, { keys: many(limits.bulkCountMax + 1, "k") })).toEqual([
      "/keys: must have at most 10000 items",
    ]);
  });

  test("reads ids in upper case as lower", () => {
    expect(bulkFilter.parse({ ids: [id.toUpperCase()] }).ids).toEqual([id]);
  });
});

describe("a tombstone", () => {
  test("needs keys", () => {
    expect(faults(bulkCancel, { labels: { a: "b" }, tombstone: "10m" })).toEqual([
      "/tombstone: is allowed only with keys",
    ]);
    expect(bulkCancel.parse({ keys: ["k"], tombstone: "10m" }).tombstone).toBe(600_000);
  });

  test("lasts 1 ms to 365 days", () => {
    for (const tombstone of ["1ms", "365d"]) expect(faults(bulkCancel, { keys: ["k"], tombstone })).toEqual([]);
    expect(faults(bulkCancel, { keys: ["k"], tombstone: "0s" })).toEqual(["/tombstone: must be at least PT0.001S"]);
    expect(faults(bulkCancel, { keys: ["k"], tombstone: "365d1ms" })).toEqual(["/tombstone: must be at most P365D"]);
  });

  test("belongs to a cancel alone", () => {
    expect(faults(bulkFilter, { keys: ["k"], tombstone: "10m" })).toEqual(["/tombstone: is not a field here"]);
  });
});

test("a confirm names an attempt from 1 to what the store can hold", () => {
  for (const attempt of [1, limits.integerMax]) expect(faults(confirmBody, { attempt })).toEqual([]);
  for (const attempt of [0, limits.integerMax + 1, 1.5, "1", undefined])
    expect(faults(confirmBody, { attempt })).toHaveLength(1);
});

test("a batch has 1 to 1,000 tasks", () => {
  for (const count of [1, limits.batchCountMax]) expect(faults(batchBody, { tasks: many(count, {}) })).toEqual([]);
  expect(faults(batchBody, { tasks: [] })).toEqual(["/tasks: must have at least 1 item"]);
  expect(faults(batchBody, { tasks: many(limits.batchCountMax + 1, {}) })).toEqual([
    "/tasks: must have at most 1000 items",
  ]);
});

test("a cancel waits for at most 30 s", () => {
  expect(cancelQuery.parse({ wait: "30s" }).wait).toBe(30_000);
  expect(cancelQuery.parse({ wait: "0s" }).wait).toBe(0);
  expect(faults(cancelQuery, { wait: "30001ms" })).toEqual(["/wait: must be at most PT30S"]);
});
