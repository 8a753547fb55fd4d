// Owns the checks of what a task may be made of: each limit at N and one past it, and all faults told at once.

import { describe, expect, test } from "vitest";
import * as limits from "../../src/http/limits.ts";
import { faultsOf } from "../../src/http/faults.ts";
import { createTaskSchemas } from "../../src/http/schemas/task-input.ts";
import { nowMs, stubParts } from "./stub-parts.ts";

const { newTask, taskChanges } = createTaskSchemas(stubParts());
const url = "https://shop.example/hooks";

/** `path: message` of each fault. */
function faults(fields: object, schema: typeof newTask | typeof taskChanges = newTask): string[] {
  const read = schema.safeParse(schema === newTask ? { url, ...fields } : fields);
  return read.success ? [] : faultsOf(read.error).map(({ path, message }) => `${path}: ${message}`);
}

const chars = (count: number, char = "a"): string => char.repeat(count);
const labels = (count: number): object => Object.fromEntries(Array.from({ length: count }, (_, n) => [`l${n}`, "v"]));
const dueIn = (ms: number): string => new Date(nowMs + ms).toISOString();

describe("each limit holds at N and not one past it", () => {
  const table: [name: string, path: string, within: object, past: object][] = [
    [
      "url",
      "/url",
      { url: `${url}/${chars(limits.urlCharsMax - url.length - 1)}` },
      { url: `${url}/${chars(limits.urlCharsMax - url.length)}` },
    ],
    ["queue", "/queue", { queue: chars(limits.queueCharsMax) }, { queue: chars(limits.queueCharsMax + 1) }],
    ["queue, shortest", "/queue", { queue: "a" }, { queue: "" }],
    ["key", "/key", { key: chars(limits.keyCharsMax) }, { key: chars(limits.keyCharsMax + 1) }],
    [
      "key, in code points",
      "/key",
      { key: chars(limits.keyCharsMax, "😀") },
      { key: chars(limits.keyCharsMax + 1, "😀") },
    ],
    ["key, shortest", "/key", { key: " " }, { key: "" }],
    ["delay", "/delay", { delay: "P3653D" }, { delay: "P3653DT0.001S" }],
    ["dueAt", "/dueAt", { dueAt: dueIn(limits.dueAheadMaxMs) }, { dueAt: dueIn(limits.dueAheadMaxMs + 1) }],
    ["timeout, longest", "/timeout", { timeout: "15m" }, { timeout: "15m1ms" }],
    ["timeout, shortest", "/timeout", { timeout: "100ms" }, { timeout: "99ms" }],
    ["misfireGrace, longest", "/misfireGrace", { misfireGrace: "P3653D" }, { misfireGrace: "P3653DT1S" }],
    ["misfireGrace, shortest", "/misfireGrace", { misfireGrace: "1ms" }, { misfireGrace: "0s" }],
    [
      "maxReschedules",
      "/maxReschedules",
      { maxReschedules: limits.reschedulesMax },
      { maxReschedules: limits.reschedulesMax + 1 },
    ],
    ["maxReschedules, least", "/maxReschedules", { maxReschedules: 0 }, { maxReschedules: -1 }],
    ["labels", "/labels", { labels: labels(limits.labelsCountMax) }, { labels: labels(limits.labelsCountMax + 1) }],
    [
      "a label's value",
      "/labels/a",
      { labels: { a: chars(limits.labelValueCharsMax) } },
      { labels: { a: chars(limits.labelValueCharsMax + 1) } },
    ],
    [
      "a label's name",
      `/labels/${chars(limits.labelNameCharsMax + 1)}`,
      { labels: { [chars(limits.labelNameCharsMax)]: "" } },
      { labels: { [chars(limits.labelNameCharsMax + 1)]: "" } },
    ],
    [
      "contentType",
      "/contentType",
      { body: "", contentType: `a/${chars(limits.contentTypeCharsMax - 2)}` },
      { body: "", contentType: `a/${chars(limits.contentTypeCharsMax - 1)}` },
    ],
    [
      "maxAttempts, most",
      "/retry/maxAttempts",
      { retry: { maxAttempts: limits.attemptsMax } },
      { retry: { maxAttempts: limits.attemptsMax + 1 } },
    ],
    ["maxAttempts, least", "/retry/maxAttempts", { retry: { maxAttempts: 1 } }, { retry: { maxAttempts: 0 } }],
    [
      "factor, most",
      "/retry/factor",
      { retry: { factor: limits.retryFactorMax } },
      { retry: { factor: limits.retryFactorMax + 0.1 } },
    ],
    ["factor, least", "/retry/factor", { retry: { factor: 1 } }, { retry: { factor: 0.9 } }],
    ["jitter, most", "/retry/jitter", { retry: { jitter: 1 } }, { retry: { jitter: 1.01 } }],
    ["jitter, least", "/retry/jitter", { retry: { jitter: 0 } }, { retry: { jitter: -0.01 } }],
    ["maxDelay", "/retry/maxDelay", { retry: { maxDelay: "30d" } }, { retry: { maxDelay: "30d1ms" } }],
    [
      "minDelay",
      "/retry/minDelay",
      { retry: { minDelay: "30d", maxDelay: "30d" } },
      { retry: { minDelay: "30d1ms", maxDelay: "30d" } },
    ],
    ["minDelay under maxDelay", "/retry/minDelay", { retry: { minDelay: "6h" } }, { retry: { minDelay: "6h1ms" } }],
  ];

  test.each(table)("%s", (_name, path, within, past) => {
    expect(faults(within)).toEqual([]);
    expect(faults(past)).toEqual([expect.stringMatching(new RegExp(`^${path}: `))]);
  });
});

describe("what a task may not be made of", () => {
  test.each<[object, string]>([
    [
      { delay: 30 },
      '/delay: needs a unit, as a string: a bare number could mean seconds or milliseconds (write "30s" or "30ms")',
    ],
    [{ timeout: null }, "/timeout: must be a string"],
    [{ dueAt: "2026-11-21T10:00:00Z", delay: "1s" }, "/delay: must not be given together with dueAt"],
    [
      { dueAt: "2026-11-21T10:00:00Z", timezone: "UTC" },
      "/timezone: is allowed only with a dueAt in local time, without an offset",
    ],
    [{ timezone: "UTC" }, "/timezone: is allowed only with a dueAt in local time, without an offset"],
    [
      { dueAt: "2026-11-21T10:00:00", timezone: "Mars/X" },
      "/timezone: must be a time zone of the IANA database, such as Asia/Shanghai",
    ],
    [
      { dueAt: "2027-03-14T02:30:00", timezone: "America/New_York" },
      "/dueAt: does not exist in America/New_York: its clocks skip this time",
    ],
    [{ dueAt: "2037-11-21T10:00:00" }, "/dueAt: must be at most 10 years ahead"],
    [{ dueAt: 1795226400 }, "/dueAt: must be a string"],
    [{ key: "a\nb" }, "/key: may have only printable characters"],
    [{ key: "a\u2028b" }, "/key: may have only printable characters"],
    [{ key: "\ud800" }, "/key: may have only printable characters"],
    [{ queue: "a/b" }, "/queue: may have only letters, digits and . _ : -"],
    [{ method: "HEAD" }, '/method: must be "GET" or "POST" or "PUT" or "PATCH" or "DELETE"'],
    [{ payload: 1, body: "x", contentType: "text/plain" }, "/body: must not be given together with payload"],
    [{ payload: null, body: "x", contentType: "text/plain" }, "/body: must not be given together with payload"],
    [{ body: "x" }, "/contentType: is required with body"],
    [{ contentType: "text/plain" }, "/contentType: is allowed only with body"],
    [
      { body: "x", contentType: "text/plain\r\nx: y" },
      "/contentType: must be a media type, such as text/plain; charset=utf-8",
    ],
    [{ headers: { Host: "x" } }, "/headers/Host: must not be set"],
    [{ headers: { a: 1 } }, "/headers/a: must be a string"],
    [{ headers: [] }, "/headers: must be an object"],
    [JSON.parse('{"headers":{"__proto__":"x"}}') as object, "/headers/__proto__: is not allowed as a name"],
    [{ labels: { "": "x" } }, "/labels/: must have a name"],
    [{ labels: { "a\tb": "x" } }, "/labels/a\tb: must have a name of printable characters"],
    [{ retry: { attempts: 3 } }, "/retry/attempts: is not a field here"],
    [{ retry: { maxAttempts: 1.5 } }, "/retry/maxAttempts: must be a whole number"],
    [{ retry: { maxAttempts: "3" } }, "/retry/maxAttempts: must be a number"],
    [{ url: "ftp://x" }, "/url: must be an http or https URL"],
    [{ onConflict: "ignore" }, '/onConflict: must be "reject" or "keep" or "replace"'],
    [{ scheduledFor: "x" }, "/scheduledFor: is not a field here"],
  ])("%j", (fields, fault) => {
    expect(faults(fields)).toEqual([fault]);
  });

  test.each([[null], [[]], ["text"], [1]])("%j, which is no object", (value) => {
    const read = newTask.safeParse(value);
    expect(read.success ? [] : faultsOf(read.error)).toEqual([{ path: "", message: "must be an object" }]);
  });
});

test("all faults are told at once, those across fields too", () => {
  const paths = faults({
    url: undefined,
    dueAt: "2026-11-21T10:00:00Z",
    delay: 5,
    maxReschedules: 0.5,
    retry: { jitter: 2, x: 1 },
    labels: { a: 1 },
    y: 1,
  }).map((fault) => fault.split(":")[0]);
  // Which comes first is no promise.
  const expected = ["/url", "/delay", "/delay", "/retry/jitter", "/retry/x", "/maxReschedules", "/labels/a", "/y"];
  expect(paths).toHaveLength(expected.length);
  expect(paths).toEqual(expect.arrayContaining(expected));
});

test.each([null, 0, [], {}, { kind: "local" }, { kind: "instant" }])("a due time that is %j is a fault", (dueAt) => {
  for (const schema of [newTask, taskChanges])
    expect(faults({ dueAt, timezone: "Asia/Shanghai" }, schema)).toEqual(["/dueAt: must be a string"]);
});

test("fields left out take their defaults, but for those that their queue may have a word on", () => {
  expect(newTask.parse({ url })).toEqual({
    url,
    queue: "default",
    key: null,
    onConflict: "reject",
    method: "POST",
    headers: {},
    delivery: "at-least-once",
    maxReschedules: null,
    labels: {},
  });
});

test("fields left out of retry take their defaults", () => {
  expect(newTask.parse({ url, retry: { maxAttempts: 3 } }).retry).toEqual({
    maxAttempts: 3,
    backoff: "exponential",
    minDelayMs: 5_000,
    maxDelayMs: 21_600_000,
    factor: 3,
    jitter: 0.2,
  });
});

describe("a change", () => {
  test("of nothing is refused", () => {
    expect(faults({}, taskChanges)).toEqual([": must change at least one field"]);
  });

  test.each(["queue", "key", "method", "onConflict", "misfireGrace", "delivery", "maxReschedules", "state"])(
    "of %s is refused",
    (field) => {
      expect(faults({ delay: "1s", [field]: "x" }, taskChanges)).toEqual([`/${field}: is not a field here`]);
    },
  );

  test("leaves out what it does not name", () => {
    expect(taskChanges.parse({ labels: { a: "b" } })).toEqual({ labels: { a: "b" } });
  });

  test("obeys the rules across fields", () => {
    expect(faults({ dueAt: "2026-11-21T10:00:00Z", delay: "1s" }, taskChanges)).toEqual([
      "/delay: must not be given together with dueAt",
    ]);
  });
});
