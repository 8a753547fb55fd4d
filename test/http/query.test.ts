// Owns the checks of listings' queries and of cursors.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ApiProblem } from "../../src/http/problem.ts";
import { decodeCursor, encodeCursor, nextLink, readQuery } from "../../src/http/query.ts";
import { listQuery, queueQuery } from "../../src/http/schemas/calls.ts";

const list = (query: string): unknown => readQuery(`/v1/tasks?${query}`, listQuery);
const defaults = { order: "dueAt", limit: 50 };

function faults(read: () => unknown): string[] {
  try {
    read();
  } catch (error) {
    if (error instanceof ApiProblem)
      return (error.details.errors ?? []).map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}

describe("a listing's query", () => {
  test.each<[string, object]>([
    ["", {}],
    ["state=scheduled", { state: ["scheduled"] }],
    ["state=scheduled,paused", { state: ["scheduled", "paused"] }],
    ["state=scheduled&state=paused&state=paused", { state: ["scheduled", "paused"] }],
    ["label.customer=c-17&label.a%20b=x%3Dy", { labels: { customer: "c-17", "a b": "x=y" } }],
    ["key=a%2Fb%25&keyPrefix=a", { key: "a/b%", keyPrefix: "a" }],
    ["dueAfter=2026-11-21T10:30:00%2B08:00", { dueAfter: Date.parse("2026-11-21T02:30:00Z") }],
    ["dueBefore=2026-11-21T10:30:00+08:00", { dueBefore: Date.parse("2026-11-21T02:30:00Z") }],
    ["order=-createdAt&limit=500", { order: "-createdAt", limit: 500 }],
    ["limit=1", { limit: 1 }],
    ["scheduleId=01937A52-6C80-7A3E-8F1D-2F6A1C3B9E57", { scheduleId: "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57" }],
  ])("%s is read as %j", (query, read) => {
    expect(list(query)).toEqual({ ...defaults, ...read });
  });

  test.each([
    ["limit=0", "/limit: must be a whole number from 1 to 500"],
    ["limit=501", "/limit: must be a whole number from 1 to 500"],
    ["limit=1e2", "/limit: must be a whole number from 1 to 500"],
    ["limit=5&limit=6", "/limit: must be given once only"],
    ["queue=a&queue=b", "/queue: must be given once only"],
    ["label.a=1&label.a=2", "/label.a: must be given once only"],
    ["stat=scheduled", "/stat: is not a field here"],
    ["labels=a", "/labels: is not a field here"],
    ["dueAfter=2026-11-21T10:30:00", "/dueAfter: needs an offset, such as Z or +08:00"],
    ["key=%00", "/key: may have only printable characters"],
    ["order=createdAt", '/order: must be "dueAt" or "-createdAt"'],
    ["scheduleId=1", "/scheduleId: must be an id (a UUID)"],
    [`cursor=${"a".repeat(513)}`, "/cursor: must have at most 512 characters"],
  ])("%s is refused", (query, fault) => {
    expect(faults(() => list(query))).toContain(fault);
  });

  test("has every state named in its fault", () => {
    expect(faults(() => list("state=scheduled,done"))).toEqual([
      "/state: must be one or more of scheduled, paused, running, succeeded, failed, cancelled, missed, separated by commas",
    ]);
  });

  test("has all its faults told at once", () => {
    expect(faults(() => list("limit=0&x=1&state=done&queue=a&queue=b"))).toHaveLength(4);
  });
});

test("the queue of a key is the default one unless it is named", () => {
  expect(readQuery("/v1/tasks/by-key/a", queueQuery)).toEqual({ queue: "default" });
  expect(readQuery("/v1/tasks/by-key/a?queue=mail", queueQuery)).toEqual({ queue: "mail" });
});

describe("a cursor", () => {
  test("comes back as it went out", () => {
    const cursor = fc.record({
      dueAt: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
      id: fc.uuid(),
    });
    fc.assert(
      fc.property(cursor, fc.constantFrom("dueAt" as const, "-createdAt" as const), (given, order) => {
        expect(decodeCursor(encodeCursor(order, given), order)).toEqual(given);
      }),
    );
  });

  test("of another order is refused", () => {
    const cursor = encodeCursor("dueAt", { dueAt: 1, id: "01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57" });
    expect(faults(() => decodeCursor(cursor, "-createdAt"))).toEqual([
      "/cursor: belongs to a listing with order=dueAt",
    ]);
  });

  test("that is none of ours is refused, whatever it is", () => {
    const encoded = fc.oneof(
      fc.string(),
      fc.base64String(),
      fc.json().map((json) => Buffer.from(json).toString("base64url")),
      fc.constant(Buffer.from('[2,"dueAt",1,"01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57"]').toString("base64url")),
      fc.constant(Buffer.from('[1,"dueAt",1,"x"]').toString("base64url")),
      fc.constant(Buffer.from('[1,"dueAt",1e15,"01937a52-6c80-7a3e-8f1d-2f6a1c3b9e57"]').toString("base64url")),
    );
    fc.assert(
      fc.property(encoded, (text) => {
        expect(faults(() => decodeCursor(text, "dueAt"))).toEqual(["/cursor: must be a nextCursor of this listing"]);
      }),
    );
  });

  test("is linked with the query it belongs to", () => {
    expect(nextLink("/v1/tasks?state=paused&cursor=old&label.a=b%26c", "new")).toBe(
      '</v1/tasks?state=paused&cursor=new&label.a=b%26c>; rel="next"',
    );
    expect(nextLink("/v1/tasks", "new")).toBe('</v1/tasks?cursor=new>; rel="next"');
  });
});
