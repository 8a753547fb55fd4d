// Owns the figures: accept, drain and lateness, each on a service just started.

import { setTimeout as sleep } from "node:timers/promises";
import { percentile, post, type Rig } from "./rig.ts";

const acceptConnections = 50;
const acceptMs = 8_000;
const warmUpMs = 2_000;
const drainTasks = 20_000;
const batchTasks = 1_000;
const drainLeadMs = 8_000;
const ratePerSecond = 200;
const latenessSeconds = 20;
const latenessLeadMs = 1_000;
const arrivalTimeoutMs = 120_000;

type Figure = Readonly<Record<string, unknown>>;

/** Closed loop: each of 50 connections posts one task after another, due in a month. */
export async function measureAccept(rig: Rig): Promise<Figure> {
  let accepted = 0;
  const loops = (untilMs: number): Promise<void[]> =>
    Promise.all(
      Array.from({ length: acceptConnections }, async (_, i) => {
        for (let n = 0; Date.now() < untilMs; n += 1) {
          await post(rig, {
            url: rig.receiverUrl,
            delay: "30d",
            key: `order-${i}-${untilMs}-${n}`,
            payload: { orderId: n },
          });
          accepted += 1;
        }
      }),
    );
  await loops(Date.now() + warmUpMs);
  accepted = 0;
  const startedAt = performance.now();
  await loops(Date.now() + acceptMs);
  return {
    acceptedPerSecond: Math.round((accepted * 1_000) / (performance.now() - startedAt)),
    connections: acceptConnections,
  };
}

/** 20,000 tasks due at one instant, from the first arrival to the last. */
export async function measureDrain(rig: Rig): Promise<Figure> {
  const dueAt = new Date(Date.now() + drainLeadMs).toISOString();
  for (let made = 0; made < drainTasks; made += batchTasks) {
    const tasks = Array.from({ length: batchTasks }, (_, i) => ({
      url: rig.receiverUrl,
      dueAt,
      payload: { orderId: made + i },
    }));
    const { statusCode, body } = await rig.api.request({
      path: "/v1/tasks/batch",
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ tasks }),
    });
    await body.dump();
    if (statusCode !== 200) throw new Error(`POST /v1/tasks/batch: ${statusCode}`);
  }
  if (Date.now() > Date.parse(dueAt)) throw new Error("the tasks were due before all were accepted");
  const { count, firstAt, lastAt } = await rig.arrivals(drainTasks, arrivalTimeoutMs);
  return { drainedPerSecond: Math.round((count * 1_000) / (lastAt - firstAt)), tasks: count };
}

/** Open loop: a task each 5 ms whatever the answers do, due a second later; what counts is arrival minus due time. */
export async function measureLateness(rig: Rig): Promise<Figure> {
  const total = ratePerSecond * latenessSeconds;
  const startedAt = performance.now();
  const posts: Promise<void>[] = [];
  for (let n = 0; n < total; n += 1) {
    const waitMs = startedAt + (n * 1_000) / ratePerSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    posts.push(post(rig, { url: rig.receiverUrl, delay: `${latenessLeadMs}ms`, payload: { orderId: n } }));
  }
  await Promise.all(posts);
  const { latenessMs } = await rig.arrivals(total, arrivalTimeoutMs);
  return {
    ratePerSecond,
    tasks: latenessMs.length,
    latenessMs: { p50: percentile(latenessMs, 0.5), p99: percentile(latenessMs, 0.99), max: percentile(latenessMs, 1) },
  };
}
