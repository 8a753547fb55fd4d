// Owns the checks of a task's fields through the real service: each one's default, what it takes up to its bounds, and what it refuses.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Flow, startFlow, unique } from "../support/flow.ts";

let flow: Flow;
let url: string;

beforeAll(async () => {
  flow = await startFlow();
  url = flow.hook().url;
});
afterAll(() => flow.stop());

type Fields = Readonly<Record<string, unknown>>;

const retryDefaults = {
  maxAttempts: 10,
  backoff: "exponential",
  minDelay: "PT5S",
  maxDelay: "PT6H",
  factor: 3,
  jitter: 0.2,
};
const numbered = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, "v"]));
const payloadBytesMax = 256 * 1024;

describe("a task of which only the url is given", () => {
  test("has every default", async () => {
    const { task } = await flow.api.post("/v1/tasks", { url });
    expect(task).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      queue: "default",
      key: null,
      state: "scheduled",
      dueAt: expect.any(String),
      nextAttemptAt: task.dueAt,
      createdAt: expect.any(String),
      updatedAt: task.createdAt,
      finishedAt: null,
      url,
      method: "POST",
      headers: {},
      payload: null,
      timeout: "PT30S",
      retry: retryDefaults,
      misfireGrace: null,
      delivery: "at-least-once",
      maxReschedules: null,
      labels: {},
      scheduleId: null,
      attempts: 0,
      cancelRequested: false,
      version: 1,
      lastAttempt: null,
    });
  });

  test("has the place it can be read at, and its version as the tag", async () => {
    const answer = await flow.api.post("/v1/tasks", { url, delay: "1h" });
    expect(answer).toMatchObject({ status: 201, headers: { location: `/v1/tasks/${answer.task.id}`, etag: '"1"' } });
    expect((await flow.api.get(`/v1/tasks/${answer.task.id}`)).text).toBe(answer.text);
  });

  test("has times in RFC 3339, UTC, with milliseconds", async () => {
    const task = await flow.create();
    for (const time of [task.dueAt, task.nextAttemptAt, task.createdAt, task.updatedAt])
      expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });
});

describe("a field that is taken", () => {
  test.each<[string, Fields, Fields?]>([
    ["a queue of 128 characters", { queue: `A-z.0_9:${"q".repeat(120)}` }],
    ["a key of 512 characters, none of them ASCII", { key: "鍵🔑".repeat(256) }],
    ["a key with spaces, slashes and signs", { key: 'order 1042/a%b?c#d"e\\f:ö' }],
    ...["GET", "POST", "PUT", "PATCH", "DELETE"].map((method): [string, Fields] => [method, { method }]),
    ["headers, in their case", { headers: { "X-Shop": "main", authorization: "Bearer a b", "x-empty": "" } }],
    ["32 headers", { headers: numbered(32) }],
    ["a payload of null", { payload: null }],
    ["a payload that is no object", { payload: [1, "two", false, { "": [] }] }],
    ["an empty raw body", { body: "", contentType: "text/plain" }, { payload: null }],
    ["a raw body", { body: "a=1&b=ö\n", contentType: "application/x-www-form-urlencoded" }, { payload: null }],
    ["the shortest timeout", { timeout: "100ms" }, { timeout: "PT0.1S" }],
    ["the longest timeout", { timeout: "15m" }, { timeout: "PT15M" }],
    ["a retry of nothing", { retry: {} }, { retry: retryDefaults }],
    ["a retry in part", { retry: { maxAttempts: 1 } }, { retry: { ...retryDefaults, maxAttempts: 1 } }],
    [
      "a retry as a whole",
      { retry: { maxAttempts: 100, backoff: "fixed", minDelay: "0s", maxDelay: "1d", factor: 1, jitter: 1 } },
      { retry: { maxAttempts: 100, backoff: "fixed", minDelay: "PT0S", maxDelay: "P1D", factor: 1, jitter: 1 } },
    ],
    ["a misfireGrace of null", { misfireGrace: null }],
    ["the delivery at-most-once", { delivery: "at-most-once" }],
    ["no reschedule at all", { maxReschedules: 0 }],
    ["16 labels", { labels: numbered(16) }],
    ["labels of any text", { labels: { "a b/ö": "", c: "x\ny" } }],
  ])("%s", async (_name, given, shown = given) => {
    const task = await flow.create(given);
    expect(await flow.read(task.id)).toMatchObject(shown);
  });

  test.each([
    ["250ms", "PT0.25S"],
    ["45s", "PT45S"],
    ["90m", "PT1H30M"],
    ["1h30m", "PT1H30M"],
    ["PT1H30M", "PT1H30M"],
    ["48h", "P2D"],
    ["P1W", "P7D"],
    ["2d", "P2D"],
    ["1d1ms", "P1DT0.001S"],
    ["PT0.0001S", "PT0.001S"],
    ["PT1.5M", "PT1M30S"],
  ])("the duration %s, which goes out as %s", async (misfireGrace, shown) => {
    expect((await flow.create({ misfireGrace })).misfireGrace).toBe(shown);
  });

  test.each([
    ["payload", { payload: "x".repeat(payloadBytesMax - 2) }],
    ["body", { body: "x".repeat(payloadBytesMax), contentType: "text/plain" }],
  ])("a %s of 256 KiB", async (_name, fields) => {
    expect((await flow.create(fields)).state).toBe("scheduled");
  });
});

describe("a field that is refused", () => {
  test.each<[string, Fields, string]>([
    ["no url", { url: undefined }, "/url"],
    ["a url of another scheme", { url: "ftp://shop.example/a" }, "/url"],
    ["a relative url", { url: "/hooks" }, "/url"],
    ["a url with a password", { url: "https://a:b@shop.example/" }, "/url"],
    ["a url that is no string", { url: 1 }, "/url"],
    ["a url of 2,049 characters", { url: `https://shop.example/${"a".repeat(2_028)}` }, "/url"],
    ["dueAt and delay", { dueAt: "2126-01-01T00:00:00Z", delay: "1h" }, "/delay"],
    ["a dueAt that is no time", { dueAt: "tomorrow" }, "/dueAt"],
    ["a dueAt on a day that is not there", { dueAt: "2027-02-30T00:00:00Z" }, "/dueAt"],
    [
      "a dueAt of more than 10 years ahead",
      { dueAt: new Date(Date.now() + 3_654 * 86_400_000).toISOString() },
      "/dueAt",
    ],
    ["a delay of more than 10 years", { delay: "3654d" }, "/delay"],
    ["a delay as a number", { delay: 30 }, "/delay"],
    ["a delay without its unit", { delay: "30" }, "/delay"],
    ["a delay below zero", { delay: "-1s" }, "/delay"],
    ["a delay of months", { delay: "P1M" }, "/delay"],
    ["an empty delay", { delay: "PT" }, "/delay"],
    ["a timezone without dueAt", { delay: "1h", timezone: "Europe/Berlin" }, "/timezone"],
    ["a timezone beside an offset", { dueAt: "2027-01-01T00:00:00Z", timezone: "UTC" }, "/timezone"],
    ["an unknown timezone", { dueAt: "2027-01-01T00:00:00", timezone: "Mars/Olympus" }, "/timezone"],
    ["an empty queue", { queue: "" }, "/queue"],
    ["a queue of 129 characters", { queue: "q".repeat(129) }, "/queue"],
    ["a queue with a space", { queue: "a b" }, "/queue"],
    ["an empty key", { key: "" }, "/key"],
    ["a key of 513 characters", { key: "k".repeat(513) }, "/key"],
    ["a key with a line break", { key: "a\nb" }, "/key"],
    ["an unknown onConflict", { onConflict: "ignore" }, "/onConflict"],
    ["an unknown method", { method: "TRACE" }, "/method"],
    ["a method in lower case", { method: "post" }, "/method"],
    ["headers that are no object", { headers: ["a"] }, "/headers"],
    ["a header that is no string", { headers: { a: 1 } }, "/headers/a"],
    ["a header with a line break", { headers: { a: "b\r\nc: d" } }, "/headers/a"],
    ["a header beyond Latin-1", { headers: { a: "€" } }, "/headers/a"],
    ["a header whose name is none", { headers: { "a b": "c" } }, "/headers/a b"],
    ["33 headers", { headers: numbered(33) }, "/headers/x-32"],
    ["payload and body", { payload: 1, body: "a", contentType: "text/plain" }, "/body"],
    ["a body without its type", { body: "a" }, "/contentType"],
    ["a type without its body", { contentType: "text/plain" }, "/contentType"],
    ["a type that is none", { body: "a", contentType: "text" }, "/contentType"],
    ["a body that is no string", { body: { a: 1 }, contentType: "text/plain" }, "/body"],
    ["a timeout below 100 ms", { timeout: "99ms" }, "/timeout"],
    ["a timeout above 15 min", { timeout: "15m1s" }, "/timeout"],
    ["a timeout as a number", { timeout: 30 }, "/timeout"],
    ["no attempt", { retry: { maxAttempts: 0 } }, "/retry/maxAttempts"],
    ["101 attempts", { retry: { maxAttempts: 101 } }, "/retry/maxAttempts"],
    ["half an attempt", { retry: { maxAttempts: 1.5 } }, "/retry/maxAttempts"],
    ["an unknown backoff", { retry: { backoff: "linear" } }, "/retry/backoff"],
    ["a minDelay above the maxDelay", { retry: { minDelay: "2h", maxDelay: "1h" } }, "/retry/minDelay"],
    ["a minDelay as a number", { retry: { minDelay: 5 } }, "/retry/minDelay"],
    ["a factor below 1", { retry: { factor: 0.5 } }, "/retry/factor"],
    ["a jitter above 1", { retry: { jitter: 1.1 } }, "/retry/jitter"],
    ["an unknown field of retry", { retry: { delay: "1s" } }, "/retry/delay"],
    ["a misfireGrace as a number", { misfireGrace: 60 }, "/misfireGrace"],
    ["an unknown delivery", { delivery: "exactly-once" }, "/delivery"],
    ["a maxReschedules below 0", { maxReschedules: -1 }, "/maxReschedules"],
    ["17 labels", { labels: numbered(17) }, "/labels"],
    ["a label that is no string", { labels: { a: 1 } }, "/labels/a"],
    ["a label with NUL", { labels: { a: "\0" } }, "/labels/a"],
    ["a payload with NUL", { payload: { deep: ["a\0b"] } }, "/payload/deep/0"],
    ["a payload with a lone surrogate", { payload: { a: "\ud800" } }, "/payload/a"],
    ["a raw body with NUL", { body: "\0", contentType: "text/plain" }, "/body"],
    ["an unknown field", { callback: "a" }, "/callback"],
  ])("%s", async (_name, fields, path) => {
    const answer = await flow.api.post("/v1/tasks", { url, ...fields });
    expect(answer.status).toBe(422);
    expect(answer.problem.type).toBe("urn:lapse:problem:validation-failed");
    expect(answer.problem.errors?.map((error) => error.path)).toContain(path);
  });

  const hopByHop = ["Connection", "keep-alive", "TE", "trailer", "transfer-encoding", "upgrade", "proxy-authorization"];
  const ownHeaders = ["webhook-id", "Webhook-Signature", "webhook-anything", "lapse-attempt", "Lapse-Anything"];

  test.each(["host", "content-length", ...hopByHop, ...ownHeaders])("the header %s", async (name) => {
    const { problem } = await flow.api.post("/v1/tasks", { url, headers: { [name]: "1" } });
    expect(problem).toMatchObject({ status: 422, errors: [{ path: `/headers/${name}` }] });
  });

  test.each([
    ["payload", { payload: "x".repeat(payloadBytesMax - 1) }],
    ["body", { body: "ö".repeat(payloadBytesMax / 2 + 1), contentType: "text/plain" }],
  ])("a %s of more than 256 KiB", async (_name, fields) => {
    expect((await flow.api.post("/v1/tasks", { url, ...fields })).problem).toMatchObject({
      status: 413,
      type: "urn:lapse:problem:too-large",
    });
  });

  test("a bare number as a duration, with a hint at its unit", async () => {
    const { problem } = await flow.api.post("/v1/tasks", { url, delay: 30 });
    expect(problem.errors?.[0]?.message).toMatch(/seconds or milliseconds/);
  });

  test("all of them at once, each by its path", async () => {
    const fields = { url: "x", dueAt: "y", timeout: 1, retry: { factor: 0 }, labels: { a: 1 }, payload: "\0", z: 1 };
    const { problem } = await flow.api.post("/v1/tasks", fields);
    expect(problem.errors?.map(({ path }) => path).toSorted()).toEqual(
      ["/dueAt", "/labels/a", "/payload", "/retry/factor", "/timeout", "/url", "/z"].toSorted(),
    );
  });

  test("leaves no task behind", async () => {
    const key = unique("refused");
    expect((await flow.api.post("/v1/tasks", { url, key, timeout: "1ms" })).status).toBe(422);
    expect((await flow.api.get(`/v1/tasks/by-key/${key}`)).status).toBe(404);
  });
});
