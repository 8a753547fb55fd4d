// Owns the flows that every engine must bear: each call of the API that is hot or has a statement of its own, through to its webhook.

import { expect } from "vitest";
import type { ReceivedRequest, ReceiverAnswer } from "../support/receiver.ts";
import type { Answered, Caller } from "./caller.ts";
import type { World } from "./world.ts";

const soonCount = 60;
const laterCount = 30;
const pageSize = 7;
const quickRetry = { minDelay: "100ms", backoff: "fixed", jitter: 0 };

/** Runs the flows side by side on processes that are up; every task it makes ends. Whether the promises hold is the caller's to judge. */
export async function runHotFlows({ caller, receiver }: World): Promise<void> {
  receiver.answer((request) => answerTo(request, caller));
  const { url } = receiver;
  await Promise.all([
    acceptAndList(caller, url),
    cancelByKey(caller, url),
    retry(caller, url),
    confirm(caller, url),
    change(caller, url),
    batch(caller, url),
  ]);
}

/** `/again` fails a first attempt, `/confirm` asks before it acts. */
async function answerTo({ path, headers }: ReceivedRequest, caller: Caller): Promise<ReceiverAnswer> {
  const attempt = Number(headers["lapse-attempt"]);
  const id = String(headers["webhook-id"]);
  if (path === "/again" && attempt === 1) return { status: 500 };
  if (path !== "/confirm") return {};
  const confirmed = await caller.call("POST", `/v1/tasks/${id}/confirm`, { attempt });
  const cancelled = await caller.cancel({ id });
  // Both answers come back as the attempt's snippet.
  return { body: `${confirmed.status} ${cancelled.status}` };
}

async function acceptAndList(caller: Caller, url: string): Promise<void> {
  const soon = Array.from({ length: soonCount }, (_, i) =>
    caller.accept({ url, key: `soon-${i}`, queue: `list-${i % 2}`, delay: `${i * 10}ms`, labels: { flow: "list" } }),
  );
  const ids = (await Promise.all(soon)).map(idOf);
  await Promise.all(ids.map((id) => untilState(caller, id, "succeeded")));
  const listed: string[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const after: string = cursor === "" ? "" : `&cursor=${cursor}`;
    const page = await bodyOf(
      caller.call("GET", `/v1/tasks?state=succeeded&label.flow=list&keyPrefix=soon-&limit=${pageSize}${after}`),
    );
    listed.push(...(page["items"] as { id: string }[]).map(({ id }) => id));
    cursor = page["nextCursor"] as string | null;
  }
  expect(listed.toSorted()).toEqual(ids.toSorted());
  const byKey = await caller.call("GET", "/v1/tasks/by-key/soon-1?queue=list-1");
  expect(byKey.task).toMatchObject({ id: ids[1], state: "succeeded" });
}

async function cancelByKey(caller: Caller, url: string): Promise<void> {
  const keys = Array.from({ length: laterCount }, (_, i) => `later-${i}`);
  await Promise.all(keys.map((key) => caller.accept({ url, key, delay: "1h", labels: { flow: "cancel" } })));
  const half = keys.slice(laterCount / 2);
  const cancelled = await Promise.all(half.map((key) => caller.cancel({ key })));
  expect(new Set(cancelled.map((answer) => answer.status))).toEqual(new Set([200]));
  const again = await caller.cancel({ key: half[0] ?? "" });
  expect(again).toMatchObject({ status: 200, task: { state: "cancelled" } });
  const bulk = await bodyOf(caller.call("POST", "/v1/tasks/cancel", { labels: { flow: "cancel" }, queue: "default" }));
  expect(bulk["cancelled"]).toHaveLength(laterCount / 2);
  for (const id of bulk["cancelled"] as string[]) await caller.cancel({ id });
  await caller.call("POST", "/v1/tasks/cancel", { keys: ["early"], tombstone: "10m" });
  expect(await caller.accept({ url, key: "early" })).toMatchObject({ status: 201, task: { state: "cancelled" } });
  await caller.cancel({ key: "early" });
}

async function retry(caller: Caller, url: string): Promise<void> {
  const retried = await caller.accept({ url: `${url}/again`, retry: quickRetry });
  const failed = await caller.accept({ url: `${url}/again`, key: "retried", retry: { maxAttempts: 1 } });
  await untilState(caller, idOf(failed), "failed", "unread");
  expect((await caller.change(idOf(failed), "retry")).status).toBe(200);
  await Promise.all([retried, failed].map((answer) => untilState(caller, idOf(answer), "succeeded")));
  const attempts = await bodyOf(caller.call("GET", `/v1/tasks/${idOf(retried)}/attempts`));
  expect(attempts["items"]).toMatchObject([
    { number: 1, outcome: "failed", status: 500 },
    { number: 2, outcome: "succeeded", status: 200 },
  ]);
}

async function confirm(caller: Caller, url: string): Promise<void> {
  const asked = await caller.accept({ url: `${url}/confirm` });
  await untilState(caller, idOf(asked), "succeeded");
  const attempts = await bodyOf(caller.call("GET", `/v1/tasks/${idOf(asked)}/attempts`));
  expect(attempts["items"]).toMatchObject([{ responseSnippet: "200 409" }]);
}

/** Statements of changes: pause, resume, run, PATCH, replace. */
async function change(caller: Caller, url: string): Promise<void> {
  const id = idOf(await caller.accept({ url, key: "changed", delay: "1h" }));
  expect((await caller.change(id, "pause")).task?.state).toBe("paused");
  expect((await caller.change(id, "resume")).task?.state).toBe("scheduled");
  expect((await caller.change(id, { delay: "2h" })).status).toBe(200);
  expect((await caller.accept({ url, key: "changed", delay: "3h", onConflict: "replace" })).status).toBe(200);
  expect((await caller.change(id, "run")).status).toBe(200);
  await untilState(caller, id, "succeeded");
}

async function batch(caller: Caller, url: string): Promise<void> {
  const tasks = Array.from({ length: 5 }, (_, i) => ({ url, key: `batch-${i}` }));
  const stored = await bodyOf(caller.call("POST", "/v1/tasks/batch", { tasks, atomic: true }));
  const items = stored["items"] as { status: number; task: { id: string } }[];
  expect(items.map((item) => item.status)).toEqual(tasks.map(() => 201));
  await Promise.all(items.map(({ task }) => untilState(caller, task.id, "succeeded")));
}

/** Waits by reading; the last answer is written down as told, unless the state is not the last one. */
async function untilState(caller: Caller, id: string, state: string, how: "read" | "unread" = "read"): Promise<void> {
  await expect
    .poll(async () => (await caller.call("GET", `/v1/tasks/${id}`)).task?.state, { timeout: 10_000 })
    .toBe(state);
  if (how === "read") await caller.read(id);
}

function idOf(answer: Answered): string {
  expect(answer.status).toBe(201);
  return answer.task?.id ?? "";
}

async function bodyOf(calling: Promise<Answered>): Promise<Record<string, unknown>> {
  const { status, body } = await calling;
  expect(status).toBe(200);
  return JSON.parse(body) as Record<string, unknown>;
}
