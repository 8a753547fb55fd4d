// Owns the checks that a key which is confined to queues cannot see or change schedules of any other: each route answers for another
// queue's schedule byte for byte as it does for one that there never was.

import { randomBytes } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeSchedule, readSchedule, type ScheduleJson } from "../schedule/scheduling.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { callRoute, type KeyHolder, makeHolder, nameOf, routes, said } from "./key-holders.ts";

const [ownQueue, otherQueue] = ["own", "other"];
let flow: Flow;
let confined: KeyHolder;
let other: ScheduleJson;

beforeAll(async () => {
  flow = await startFlow({ config: { apiKey: `key-${randomBytes(16).toString("hex")}` } });
  confined = await makeHolder(flow.api, flow.service.url, {
    scopes: ["tasks:read", "tasks:write"],
    queues: [ownQueue],
  });
  other = await makeSchedule(flow, { queue: otherQueue });
});
afterAll(async () => {
  await confined.api.close();
  await flow.stop();
});

const byId = routes.filter(({ path }) => path.startsWith("/v1/schedules/{id}"));

describe.each(byId.map((route) => [nameOf(route), route] as const))("%s", (_name, route) => {
  test("answers for a schedule of another queue as for none", async () => {
    const none = uuidv7();
    const answer = await callRoute(confined.api, route, { id: other.id });
    expect(answer.problem).toMatchObject({ status: 404, type: "urn:lapse:problem:schedule-not-found" });
    expect(said(answer, other.id)).toEqual(said(await callRoute(confined.api, route, { id: none }), none));
    expect(await readSchedule(flow, other.id)).toEqual(other);
  });

  test("does what it does for a schedule of its own queue", async () => {
    const own = await makeSchedule(flow, { queue: ownQueue });
    expect((await callRoute(confined.api, route, { id: own.id })).status).toBeLessThan(300);
  });
});

describe("POST /v1/schedules", () => {
  const post = (more: object) =>
    confined.api.post("/v1/schedules", { name: unique("name"), trigger: other.trigger, url: other.url, ...more });

  test("makes none in another queue", async () => {
    for (const queue of [otherQueue, undefined, "nowhere"])
      expect((await post({ queue })).problem).toMatchObject({ status: 403, errors: [{ path: "/queue" }] });
  });

  test.each(["reject", "keep", "replace"])("with onConflict %s tells nothing of who has a name", async (onConflict) => {
    const answer = await post({ queue: ownQueue, name: other.name, onConflict });
    expect(answer.problem).toMatchObject({ status: 409 });
    expect(answer.text).not.toContain(other.id);
    expect(await readSchedule(flow, other.id)).toEqual(other);
  });

  test("moves none into another queue", async () => {
    const own = await makeSchedule(flow, { queue: ownQueue });
    const moved = await confined.api.patch(`/v1/schedules/${own.id}`, { queue: otherQueue });
    expect(moved.problem).toMatchObject({ status: 403, errors: [{ path: "/queue" }] });
  });
});

test("GET /v1/schedules tells of no schedule of another queue", async () => {
  const own = await makeSchedule(flow, { queue: ownQueue });
  const list = async (query: string) => {
    const answer = await confined.api.get(`/v1/schedules?limit=500&${query}`);
    return answer.as<{ items: ScheduleJson[] }>().items;
  };
  expect(new Set((await list("")).map(({ queue }) => queue))).toEqual(new Set([ownQueue]));
  expect((await list(`name=${own.name}`)).map(({ id }) => id)).toEqual([own.id]);
  for (const query of [`name=${other.name}`, `queue=${otherQueue}`]) expect(await list(query)).toEqual([]);
});
