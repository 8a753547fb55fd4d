// Owns the facts about the stream: who is told of what, coming back after a lost connection, and what a process takes on at most.

import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventStreamsMax } from "../../src/events/event-feed.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type Flow, startFlow, unique, until } from "../support/flow.ts";
import { startTestService, type TestService } from "../support/service.ts";
import { type Listener, listen } from "./listen.ts";
import pg from "pg";

let database: TestDatabase;
let flow: Flow;
/** Another process's stand-in on the same database. */
let second: TestService;
beforeAll(async () => {
  database = await createDatabase();
  flow = await startFlow({ databaseUrl: database.url });
  second = await startTestService({ databaseUrl: database.url });
});
afterAll(async () => {
  await second.stop();
  await flow.stop();
  await database.drop();
});

const tasksOf = ({ events }: Pick<Listener, "events">): (string | null)[] => events.map(({ taskId }) => taskId);

describe("a stream", () => {
  test("says at once where it stands, how to come back, and that nobody may keep it", async () => {
    const stream = await listen(flow.service.url);
    expect(stream.headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    expect(stream.lastId).toMatch(/^\d+-\d+-\d+$/);
    await stream.close();
  });

  test("tells of the types and the queue that were asked for alone", async () => {
    const [queue, other] = [unique("q"), unique("q")];
    const [all, typed, queued] = await Promise.all([
      listen(flow.service.url),
      listen(flow.service.url, { query: "?type=task.paused&type=task.resumed,task.failed" }),
      listen(second.url, { query: `?queue=${queue}` }),
    ]);
    const one = await flow.create({ queue });
    const two = await flow.create({ queue: other });
    await flow.api.post(`/v1/tasks/${one.id}/pause`);
    await flow.api.post(`/v1/tasks/${two.id}/pause`);
    await Promise.all([all.saw(["task.paused"], two.id), typed.saw(["task.paused"], two.id)]);
    await queued.saw(["task.paused"], one.id);
    expect(typed.events.map(({ type }) => type)).toEqual(["task.paused", "task.paused"]);
    expect(new Set(tasksOf(queued))).toEqual(new Set([one.id]));
    await Promise.all([all.close(), typed.close(), queued.close()]);
  });

  test("refuses types that there are none of, and says which there are", async () => {
    const { problem } = await flow.api.get("/v1/events?type=task.created,task.done&lastEventId=1-1-1");
    expect(problem).toMatchObject({ status: 422, errors: [{ path: "/type" }] });
  });

  test("ends when its key is revoked", async () => {
    const key = await flow.api.post("/v1/api-keys", { name: "k", scopes: ["tasks:read"] });
    const { id, secret } = key.as<{ id: string; secret: string }>();
    const stream = await listen(second.url, { apiKey: secret });
    await flow.api.delete(`/v1/api-keys/${id}`);
    const isEnded = await until(
      () => stream.isEnded,
      (ended) => ended,
    );
    expect(isEnded).toBe(true);
    await stream.close();
  });

  test("answers HEAD without one", async () => {
    expect((await flow.api.call("HEAD", "/v1/events")).status).toBe(200);
  });

  test("that is lost again and again, under load and at either process, misses nothing and repeats nothing", async () => {
    const queue = unique("load");
    const urls = [flow.service.url, second.url];
    const made: string[] = [];
    const progress = { isOver: false };
    const load = async (api: Flow["api"]): Promise<void> => {
      for (let n = 0; n < 40; n += 1) {
        const tasks = Array.from({ length: 5 }, () => ({
          url: flow.hook().url,
          delay: n % 2 === 0 ? "0s" : "1h",
          queue,
        }));
        const { items } = (await api.post("/v1/tasks/batch", { tasks })).as<{ items: { task: { id: string } }[] }>();
        made.push(...items.map(({ task }) => task.id));
      }
    };
    let stream = await listen(flow.service.url, { query: `?queue=${queue}` });
    const parts: Listener[] = [stream];
    const loaded = Promise.all([load(flow.api), load(second.api)]).then(() => (progress.isOver = true));
    for (let turn = 1; !progress.isOver; turn += 1) {
      const seen = stream.events.length;
      await until(
        () => stream.events.length > seen || progress.isOver,
        (moved) => moved,
      );
      await stream.close();
      stream = await listen(urls[turn % 2] ?? "", { query: `?queue=${queue}`, lastEventId: stream.lastId });
      parts.push(stream);
    }
    await loaded;
    const all = (): Listener["events"] => parts.flatMap(({ events }) => events);
    const counts = async (): Promise<Record<string, number>> => {
      const client = new pg.Client({ connectionString: database.url });
      await client.connect();
      const { rows } = await client.query<{ state: string; count: number }>(
        "select state, count(*)::int as count from lapse.tasks where queue = $1 group by state",
        [queue],
      );
      await client.end();
      return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
    };
    const stored = await until(counts, ({ succeeded }) => succeeded === made.length / 2, 30_000);
    expect(stored).toEqual({ scheduled: made.length / 2, succeeded: made.length / 2 });
    const idsOf = (type: string): string[] =>
      all()
        .filter((event) => event.type === type)
        .map(({ taskId }) => taskId ?? "");
    await until(
      () => idsOf("task.succeeded").length,
      (count) => count >= made.length / 2,
    );
    expect(idsOf("task.created").toSorted()).toEqual(made.toSorted());
    expect(new Set(idsOf("task.succeeded")).size).toBe(made.length / 2);
    expect(new Set(all().map(({ id }) => id)).size).toBe(all().length);
    expect(parts.length).toBeGreaterThan(3);
    expect(parts.every(({ names }) => !names.includes("reset"))).toBe(true);
    await stream.close();
  }, 60_000);

  test("that was not told of anything yet goes on from where it began, by header or by query", async () => {
    const queue = unique("quiet");
    const stream = await listen(flow.service.url, { query: `?queue=${queue}` });
    await stream.close();
    const { id } = await flow.create({ queue });
    const byHeader = await listen(second.url, { query: `?queue=${queue}`, lastEventId: stream.lastId });
    const byQuery = await listen(second.url, { query: `?queue=${queue}&lastEventId=${stream.lastId}` });
    for (const again of [byHeader, byQuery]) {
      expect((await again.saw(["task.created"])).map(({ taskId }) => taskId)).toEqual([id]);
      await again.close();
    }
  });

  test.each(["no-id", "1-1-1", "999999999999999-1-1", "1-2-3-4"])(
    "begins with a reset after the id %j, and goes on from now",
    async (lastEventId) => {
      const before = await flow.create();
      const stream = await listen(flow.service.url, { lastEventId });
      const { id } = await flow.create();
      await stream.saw(["task.created"], id);
      expect(stream.names[0]).toBe("reset");
      expect(tasksOf(stream)).not.toContain(before.id);
      await stream.close();
    },
  );
});

describe("a process", () => {
  test("has 100 streams and no more, and room again when one ends", async () => {
    const streams = await Promise.all(Array.from({ length: eventStreamsMax }, () => listen(second.url)));
    const refused = await second.api.get("/v1/events");
    expect(refused.problem).toMatchObject({ status: 503, type: "urn:lapse:problem:too-many-streams" });
    expect(refused.headers["retry-after"]).toBe("5");
    expect((await second.api.get("/metrics")).text).toContain(`lapse_event_streams ${eventStreamsMax}`);
    const last = streams.pop();
    await last?.close();
    const opened = await until(
      async () => (await listen(second.url).catch(() => [])) satisfies Listener | [],
      (next) => "events" in next,
    );
    if ("events" in opened) streams.push(opened);
    const { id } = await flow.create();
    await Promise.all(streams.map((stream) => stream.saw(["task.created"], id)));
    await Promise.all(streams.map((stream) => stream.close()));
  });

  test("tells the others in time while a reader does not read", async () => {
    const slow = httpRequest(`${second.url}/v1/events`);
    slow.end();
    await new Promise((resolve) => slow.on("response", (response) => resolve(response.pause())));
    const fast = await listen(second.url);
    const labels = { long: "x".repeat(250) };
    const made = new Set<string>();
    for (let n = 0; n < 10; n += 1) {
      const tasks = Array.from({ length: 500 }, () => ({ url: "http://127.0.0.1:1/", delay: "1h", labels }));
      const { items } = (await second.api.post("/v1/tasks/batch", { tasks })).as<{
        items: { task: { id: string } }[];
      }>();
      for (const { task } of items) made.add(task.id);
    }
    await until(
      () => made.difference(new Set(tasksOf(fast))).size,
      (untold) => untold === 0,
    );
    expect(fast.events.length).toBeGreaterThanOrEqual(5_000);
    slow.destroy();
    await fast.close();
  });

  test("ends its streams when it drains, and their clients go on elsewhere", async () => {
    const third = await startTestService({ databaseUrl: database.url });
    const stream = await listen(third.url);
    const startedMs = performance.now();
    expect(await third.stop()).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(4_000);
    await until(
      () => stream.isEnded,
      (isEnded) => isEnded,
    );
    const { id } = await flow.create();
    const again = await listen(second.url, { lastEventId: stream.lastId });
    await again.saw(["task.created"], id);
    await Promise.all([stream.close(), again.close()]);
  });
});
