// Owns a random walk: many callers do whatever the API lets them do to tasks that fall due, fail and end meanwhile. Each answer must fit the
// contract, and in the end callers, receiver and store must tell the same story. The seed is in the name of a failure.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ApiAnswer, AttemptJson, TaskJson } from "../support/api.ts";
import { type Flow, promptRetry, startFlow, unique } from "../support/flow.ts";

const taskCount = 60;
const stepsPerTask = 12;
const pauseMsMax = 25;
const seed = Math.floor(Math.random() * 2 ** 32);

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

/** mulberry32: numbers from 0 up to 1, the same for the same seed. */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Step =
  | "pause"
  | "resume"
  | "run"
  | "retry"
  | "cancel"
  | "cancelByKey"
  | "patch"
  | "replace"
  | "read"
  | "bulkCancel";
/** Cancels are rare, so that tasks get to do something first. */
const cancels: readonly Step[] = ["cancel", "cancelByKey", "bulkCancel"];
const others: readonly Step[] = ["pause", "resume", "run", "retry", "patch", "replace", "read"];
const cancelShare = 0.07;

/** The states that a 200 of each step may show; a task that is due at once may already run when it is read again. */
const shown: Readonly<Partial<Record<Step, readonly string[]>>> = {
  pause: ["paused"],
  resume: ["scheduled"],
  run: ["scheduled"],
  retry: ["scheduled"],
  cancel: ["cancelled"],
  cancelByKey: ["cancelled"],
  patch: ["scheduled", "paused"],
};

interface Walk {
  readonly task: TaskJson;
  /** When the first cancel was answered with 200, by this host's clock. */
  cancelledAt: number | null;
}

function take(step: Step, { id, key, url }: TaskJson): Promise<ApiAnswer> {
  const path = `/v1/tasks/${id}`;
  switch (step) {
    case "cancel":
      return flow.api.delete(path);
    case "cancelByKey":
      return flow.api.delete(`/v1/tasks/by-key/${key}`);
    case "bulkCancel":
      return flow.api.post("/v1/tasks/cancel", { keys: [key] });
    case "patch":
      return flow.api.patch(path, { delay: "10ms", payload: step });
    case "replace":
      return flow.api.post("/v1/tasks", { url, key, onConflict: "replace", delay: "10ms", retry: promptRetry });
    case "read":
      return flow.api.get(path);
    default:
      return flow.api.post(`${path}/${step}`);
  }
}

async function walk(task: TaskJson, random: () => number): Promise<Walk> {
  let cancelledAt: number | null = null;
  let version = task.version;
  for (let taken = 0; taken < stepsPerTask; taken += 1) {
    await sleep(random() * pauseMsMax);
    const from = random() < cancelShare ? cancels : others;
    const step = from[Math.floor(random() * from.length)] ?? "read";
    const answer = await take(step, task);
    const story = `${step} answered ${answer.status} ${answer.text}`;
    must([200, 201, 202, 409].includes(answer.status), story);
    if (step === "bulkCancel") {
      if (answer.as<{ cancelled: string[] }>().cancelled.includes(task.id))
        cancelledAt ??= performance.timeOrigin + performance.now();
      continue;
    }
    // A replace of what has ended makes another task, which is cancelled so that it does not come into this one's story.
    if (answer.status === 201) {
      await flow.api.delete(`/v1/tasks/${answer.task.id}?wait=10s`);
      continue;
    }
    if (answer.status !== 200) continue;
    const allowed = shown[step];
    if (answer.task.id !== task.id) continue;
    must(allowed === undefined || allowed.includes(answer.task.state), story);
    must(answer.task.version >= version, `${story}, after version ${version}`);
    version = answer.task.version;
    if (answer.task.state === "cancelled") cancelledAt ??= performance.timeOrigin + performance.now();
  }
  // Whatever was left paused goes on, and whatever was put off comes.
  await flow.api.post(`/v1/tasks/${task.id}/resume`);
  return { task, cancelledAt };
}

async function judge({ task, cancelledAt }: Walk): Promise<void> {
  const ended = await flow.reaches(task.id, "succeeded", "failed", "cancelled");
  const { items } = (await flow.api.get(`/v1/tasks/${task.id}/attempts`)).as<{ items: AttemptJson[] }>();
  const numbers = Array.from({ length: ended.attempts }, (_, i) => i + 1);
  const seen = flow.receiver.requests.filter(({ headers }) => headers["webhook-id"] === task.id);
  expect({
    recorded: items.map(({ number }) => number),
    received: seen.map(({ headers }) => Number(headers["lapse-attempt"])),
    isOpen: items.some(({ outcome, finishedAt }) => outcome === null || finishedAt === null),
    state: ended.state,
    afterCancel: seen.filter(({ arrivedAt }) => cancelledAt !== null && arrivedAt > cancelledAt),
  }).toEqual({
    recorded: numbers,
    received: numbers,
    isOpen: false,
    state: cancelledAt === null ? ended.state : "cancelled",
    afterCancel: [],
  });
}

function must(holds: boolean, story: string): void {
  if (!holds) throw new Error(`That does not fit the contract: ${story}`);
}

test(`whatever callers do, and whenever, all tell the same story in the end (seed ${seed})`, async () => {
  const random = randomFrom(seed);
  const hook = flow.hook(() => ({ status: random() < 0.6 ? 500 : 200, delayMs: random() * pauseMsMax }));
  const walks = await Promise.all(
    Array.from({ length: taskCount }, async (_, i) => {
      const retry = { ...promptRetry, maxAttempts: 5 };
      const task = await flow.create({ url: hook.url, key: unique("walk"), delay: `${i * 3}ms`, retry });
      return walk(task, randomFrom(seed + i));
    }),
  );
  for (const each of walks) await judge(each);
  expect((await flow.api.get("/v1/audit")).json).toMatchObject({ balanced: true, overdueCount: 0 });
});
