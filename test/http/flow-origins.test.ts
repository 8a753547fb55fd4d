// Owns the checks of receivers that do not answer: what they may hold, when they are parked, and that nobody else is harmed.

import { afterAll, beforeAll, expect, test } from "vitest";
import { findFreePort } from "../../src/embedded/free-port.ts";
import { parkAfterMs, probeMsMax, probeMsMin } from "../../src/dispatch/origin.ts";
import type { TaskJson } from "../support/api.ts";
import { type Flow, promptRetry, startFlow, until } from "../support/flow.ts";
import { startReceiver } from "../support/receiver.ts";

/** More than a queue has slots. */
const many = 150;
const roundedMs = 1_000;
let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

async function createMany(count: number, fields: object): Promise<string[]> {
  const tasks = Array.from({ length: count }, () => fields);
  const answer = await flow.api.post("/v1/tasks/batch", { tasks });
  return answer.as<{ items: { task: TaskJson }[] }>().items.map(({ task }) => task.id);
}

async function metric(name: string): Promise<number> {
  const { text } = await flow.api.get("/metrics");
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
}

test(
  "a receiver that refuses every call for 30 s is parked without an attempt counted, probed, and resumed once it answers",
  async () => {
    const port = await findFreePort();
    const url = `http://127.0.0.1:${port}/`;
    // Two calls a second for as long as it takes to be parked.
    const retry = { backoff: "fixed", minDelay: "500ms", maxDelay: "500ms", jitter: 0, maxAttempts: 100 } as const;
    const first = await flow.create({ url, delay: "0s", retry });
    await until(
      () => metric("lapse_origins_parked"),
      (parked) => parked === 1,
      parkAfterMs + 15_000,
    );
    const asked = Date.now();
    const ids = await createMany(20, { url, retry: promptRetry });
    const waiting = await until(
      () => Promise.all([first.id, ...ids].map((id) => flow.read(id))),
      (tasks) => tasks.every((task) => Date.parse(task.nextAttemptAt) > asked + roundedMs),
    );
    for (const task of waiting.slice(1)) expect(task).toMatchObject({ state: "scheduled", attempts: 0, version: 1 });
    for (const task of waiting) {
      const waitMs = Date.parse(task.nextAttemptAt) - asked;
      expect(waitMs).toBeLessThan(2 * probeMsMin + roundedMs);
      expect(waitMs).toBeLessThan(probeMsMax);
    }
    const back = await startReceiver({ port });
    await until(
      () => Promise.all(waiting.map(({ id }) => flow.read(id))),
      (tasks) => tasks.every((task) => task.state === "succeeded"),
      2 * probeMsMin + 15_000,
    );
    expect(back.requests).toHaveLength(waiting.length);
    expect(await metric("lapse_origins_parked")).toBe(0);
    await back.close();
  },
  parkAfterMs + 60_000,
);

test("a receiver that never answers holds half of a queue, and another's tasks go on", async () => {
  const silent = await startReceiver({ answer: { hang: true } });
  const hook = flow.hook();
  const dueAt = new Date(Date.now() + 1_000).toISOString();
  const queue = "shared-by-two";
  await flow.create({ url: hook.url, queue, delay: "0s" });
  const lost = await createMany(many, { url: silent.url, queue, dueAt });
  const ids = await createMany(many, { url: hook.url, queue, dueAt });
  // Long before the first of the others times out, after 30 s.
  for (const id of ids) await flow.reaches(id, "succeeded");
  // Half of the queue's slots, though far fewer were held at first.
  await until(
    () => silent.requests.length,
    (count) => count >= 50,
  );
  expect(silent.requests).toHaveLength(50);
  const states = await Promise.all(lost.map(async (id) => (await flow.read(id)).state));
  expect(new Set(states)).toEqual(new Set(["running", "scheduled"]));
  await silent.close();
});
