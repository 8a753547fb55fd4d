// Owns the checks that a key which is confined to queues sees and changes no other: each is to it as one that there never was.

import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { callRoute, type KeyHolder, makeHolder, nameOf, routes, said } from "./key-holders.ts";

const [ownQueue, otherQueue] = ["own", "theirs"];
let flow: Flow;
let confined: KeyHolder;

beforeAll(async () => {
  flow = await startFlow({ config: { apiKey: `key-${randomBytes(16).toString("hex")}` } });
  confined = await makeHolder(flow.api, flow.service.url, {
    scopes: ["tasks:read", "queues:write"],
    queues: [ownQueue],
  });
});
afterAll(async () => {
  await confined.api.close();
  await flow.stop();
});

describe.each(
  routes.filter(({ path }) => path.startsWith("/v1/queues/")).map((route) => [nameOf(route), route] as const),
)("%s", (_name, route) => {
  test("answers for another queue as for none, and leaves it alone", async () => {
    const task = await flow.create({ queue: otherQueue });
    const before = (await flow.api.get(`/v1/queues/${otherQueue}`)).json;
    const none = unique("none");
    const answer = await callRoute(confined.api, route, { name: otherQueue });
    expect(answer.problem).toMatchObject({ status: route.method === "put" ? 403 : 404 });
    expect(said(answer)).toEqual(said(await callRoute(confined.api, route, { name: none })));
    expect((await flow.api.get(`/v1/queues/${otherQueue}`)).json).toEqual(before);
    expect(await flow.read(task.id)).toEqual(task);
  });

  test("does what it does for its own queue", async () => {
    await flow.create({ queue: ownQueue });
    expect((await callRoute(confined.api, route, { name: ownQueue })).status).toBe(200);
  });
});

test("GET /v1/queues lists the key's own queues alone", async () => {
  await flow.create({ queue: ownQueue });
  const { items } = (await confined.api.get("/v1/queues")).as<{ items: { name: string }[] }>();
  const names = items.map(({ name }) => name);
  expect(names).toContain(ownQueue);
  expect(names.filter((name) => name !== ownQueue)).toEqual([]);
});

test("reading needs tasks:read, and changing queues:write", async () => {
  const reader = await makeHolder(flow.api, flow.service.url, { scopes: ["tasks:read"] });
  const writer = await makeHolder(flow.api, flow.service.url, { scopes: ["tasks:write"] });
  await flow.create({ queue: ownQueue });
  for (const route of routes.filter(({ path }) => path.startsWith("/v1/queues"))) {
    const isRead = route.method === "get";
    expect((await callRoute(reader.api, route, { name: ownQueue })).status).toBe(isRead ? 200 : 403);
    expect((await callRoute(writer.api, route, { name: ownQueue })).status).toBe(403);
  }
  await Promise.all([reader.api.close(), writer.api.close()]);
});
