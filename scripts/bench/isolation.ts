// Owns the figure of isolation: what a receiver that never answers costs the tasks of another in the same queue.

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Lateness, latenessAmong } from "./receiver.ts";
import type { Rig } from "./rig.ts";

const tasks = 2_000;
const leadMs = 5_000;
const ratePerSecond = 200;
const arrivalTimeoutMs = 120_000;

type Figure = Readonly<Record<string, unknown>>;

/**
 * Half of 2,000 tasks go to another origin, first one that answers, then one that never does (with the default timeout of 30 s): the
 * lateness of the first half in both runs, spread over 10 s and all due at one instant.
 */
export async function measureIsolation(rig: Rig): Promise<Figure> {
  const answering = createServer((request, response) =>
    request.resume().on("end", () => response.writeHead(204).end()),
  );
  const silent = createServer(() => undefined);
  const answeringUrl = await listen(answering);
  const silentUrl = await listen(silent);
  const spreadBeside = async (url: string) => latenessAmong(await spread(rig, url));
  const burstBeside = async (url: string) => latenessAmong(await burst(rig, url));
  const calm = { spread: await spreadBeside(answeringUrl), burst: await burstBeside(answeringUrl) };
  const harmed = { burst: await burstBeside(silentUrl), spread: await spreadBeside(silentUrl) };
  for (const server of [answering, silent]) server.close().closeAllConnections();
  return {
    tasks,
    spread: { besideAnswering: calm.spread, besideSilent: harmed.spread, p99Ratio: ratio(calm.spread, harmed.spread) },
    burst: { besideAnswering: calm.burst, besideSilent: harmed.burst, p99Ratio: ratio(calm.burst, harmed.burst) },
  };
}

/** Open loop, 200 a second by turns, each due a moment later. */
async function spread({ service, receiver }: Rig, otherUrl: string): Promise<readonly number[]> {
  const startedAt = performance.now();
  const posts: Promise<void>[] = [];
  for (let n = 0; n < tasks; n += 1) {
    const waitMs = startedAt + (n * 1_000) / ratePerSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    posts.push(service.accept({ url: n % 2 === 0 ? receiver.url : otherUrl, delay: "1s" }));
  }
  await Promise.all(posts);
  return (await receiver.arrivals(tasks / 2, arrivalTimeoutMs)).latenessMs;
}

/** All due at one instant. */
async function burst({ service, receiver }: Rig, otherUrl: string): Promise<readonly number[]> {
  const dueAt = new Date(Date.now() + leadMs).toISOString();
  await Promise.all(
    Array.from({ length: tasks }, (_, n) => service.accept({ url: n % 2 === 0 ? receiver.url : otherUrl, dueAt })),
  );
  return (await receiver.arrivals(tasks / 2, arrivalTimeoutMs)).latenessMs;
}

function ratio(calm: Lateness, harmed: Lateness): number {
  return Math.round((harmed.p99 / calm.p99) * 100) / 100;
}

async function listen(server: ReturnType<typeof createServer>): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
