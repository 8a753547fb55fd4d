// Owns the facts about creates of schedules that come at once: who waits for nobody's lock waits for nobody.

import { Client } from "pg";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { everyHour } from "./scheduling.ts";

/** As in src/store/database.ts. */
const patientConnectionsMax = 8;

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

const create = (name: string) =>
  flow.api.post("/v1/schedules", { name, trigger: everyHour, url: "http://127.0.0.1:9/hook" });

test("two hundred are all made", async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, () => create(unique("schedule"))));
  expect(answers.map(({ status }) => status)).toEqual(Array(200).fill(201));
});

test("one with a name of its own is made while others wait for a lock, and those are told that it is locked or that too many wait", async () => {
  const held = unique("schedule");
  expect((await create(held)).status).toBe(201);
  const stranger = new Client({ connectionString: flow.service.databaseUrl });
  await stranger.connect();
  onTestFinished(() => stranger.end());
  await stranger.query("begin");
  await stranger.query("select from lapse.schedules where name = $1 for update", [held]);
  let isOver = false;
  const waiting = Promise.all(Array.from({ length: patientConnectionsMax + 2 }, () => create(held))).finally(() => {
    isOver = true;
  });
  for (let made = 0; made < 5; made += 1) expect((await create(unique("schedule"))).status).toBe(201);
  expect(isOver).toBe(false);
  const types = (await waiting).map(({ status, problem }) => `${status} ${problem.type}`);
  expect(new Set(types)).toEqual(new Set(["503 urn:lapse:problem:locked", "503 urn:lapse:problem:store-unavailable"]));
  await stranger.query("rollback");
  expect((await create(held)).status).toBe(200);
});
