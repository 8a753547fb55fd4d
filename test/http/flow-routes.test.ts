// Owns the check that every operation of the OpenAPI document is served by the real service: each is called here once, and its answer held
// to the document. The table fails where the document has an operation that it does not name, and the reverse.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiAnswer } from "../support/api.ts";
import { type Flow, startFlow, unique } from "../support/flow.ts";
import { listen } from "../events/listen.ts";
import { taskIn } from "../support/states.ts";

let flow: Flow;

beforeAll(async () => {
  flow = await startFlow();
});
afterAll(() => flow.stop());

interface Operation {
  readonly operationId: string;
}

const idIn = async (state: "scheduled" | "paused" | "failed"): Promise<string> => (await taskIn(flow, state)).id;
const get = (path: string) => (): Promise<ApiAnswer> => flow.api.get(path);
const makeKey = (): Promise<ApiAnswer> => flow.api.post("/v1/api-keys", { name: "k", scopes: ["tasks:read"] });
const usedQueue = async (): Promise<string> => (await flow.create({ queue: unique("queue") })).queue;
const url = "https://shop.example/hooks";
const subscribe = (): Promise<ApiAnswer> => flow.api.post("/v1/subscriptions", { url, types: ["schedule.ended"] });
const trigger = { type: "interval", every: "1h" };
const makeSchedule = (): Promise<ApiAnswer> => flow.api.post("/v1/schedules", { name: unique("name"), trigger, url });
const schedulePath = async (): Promise<string> => `/v1/schedules/${(await makeSchedule()).as<{ id: string }>().id}`;

/** By operationId: the status that is expected, and the call. */
const calls: Readonly<Record<string, readonly [number, () => Promise<Pick<ApiAnswer, "status">>]>> = {
  createTask: [201, () => flow.api.post("/v1/tasks", { url, delay: "1h" })],
  createTasks: [200, () => flow.api.post("/v1/tasks/batch", { tasks: [{ url, delay: "1h" }, { url: "x" }] })],
  listTasks: [200, get("/v1/tasks?limit=1")],
  getTask: [200, async () => flow.api.get(`/v1/tasks/${await idIn("scheduled")}`)],
  listAttempts: [200, async () => flow.api.get(`/v1/tasks/${await idIn("failed")}/attempts`)],
  getTaskByKey: [200, async () => flow.api.get(`/v1/tasks/by-key/${(await flow.create({ key: unique("key") })).key}`)],
  cancelTask: [200, async () => flow.api.delete(`/v1/tasks/${await idIn("scheduled")}?wait=1s`)],
  cancelTaskByKey: [
    200,
    async () => flow.api.delete(`/v1/tasks/by-key/${(await flow.create({ key: unique("key") })).key}?queue=default`),
  ],
  confirmAttempt: [
    200,
    async () => {
      const { task, release } = await flow.running();
      const answer = await flow.api.post(`/v1/tasks/${task.id}/confirm`, { attempt: 1 });
      release();
      return answer;
    },
  ],
  changeTask: [
    200,
    async () => flow.api.patch(`/v1/tasks/${await idIn("scheduled")}`, { delay: "2h" }, { "if-match": '"1"' }),
  ],
  pauseTask: [200, async () => flow.api.post(`/v1/tasks/${await idIn("scheduled")}/pause`)],
  resumeTask: [200, async () => flow.api.post(`/v1/tasks/${await idIn("paused")}/resume`)],
  runTask: [200, async () => flow.api.post(`/v1/tasks/${await idIn("scheduled")}/run`)],
  retryTask: [200, async () => flow.api.post(`/v1/tasks/${await idIn("failed")}/retry`)],
  cancelTasks: [200, () => flow.api.post("/v1/tasks/cancel", { keys: [unique("key")], tombstone: "1m" })],
  pauseTasks: [
    200,
    async () => flow.api.post("/v1/tasks/pause", { ids: [await idIn("scheduled"), await idIn("failed")] }),
  ],
  resumeTasks: [
    200,
    async () => flow.api.post("/v1/tasks/resume", { ids: [await idIn("paused"), await idIn("failed")] }),
  ],
  retryTasks: [
    200,
    async () => flow.api.post("/v1/tasks/retry", { ids: [await idIn("failed"), await idIn("paused")] }),
  ],
  createSchedule: [201, () => makeSchedule()],
  listSchedules: [200, get("/v1/schedules?limit=1")],
  previewTrigger: [200, () => flow.api.post("/v1/schedules/preview", { trigger })],
  getSchedule: [200, async () => flow.api.get(await schedulePath())],
  changeSchedule: [200, async () => flow.api.patch(await schedulePath(), { maxInstances: 2 }, { "if-match": '"1"' })],
  deleteSchedule: [204, async () => flow.api.delete(await schedulePath())],
  pauseSchedule: [200, async () => flow.api.post(`${await schedulePath()}/pause`)],
  resumeSchedule: [200, async () => flow.api.post(`${await schedulePath()}/resume`)],
  runSchedule: [201, async () => flow.api.post(`${await schedulePath()}/run`)],
  listQueues: [200, get("/v1/queues")],
  getQueue: [200, get("/v1/queues/default")],
  changeQueue: [200, () => flow.api.put(`/v1/queues/${unique("queue")}`, { rateLimit: { limit: 1, per: "1s" } })],
  pauseQueue: [200, async () => flow.api.post(`/v1/queues/${await usedQueue()}/pause`)],
  resumeQueue: [200, async () => flow.api.post(`/v1/queues/${await usedQueue()}/resume`)],
  purgeQueue: [200, async () => flow.api.post(`/v1/queues/${await usedQueue()}/purge`)],
  getQueueStats: [200, get("/v1/queues/default/stats")],
  forecastQueue: [200, get("/v1/queues/default/forecast?bucket=15m")],
  importTasks: [
    200,
    () =>
      flow.api.call("POST", "/v1/tasks/import", { text: "{}\n", headers: { "content-type": "application/x-ndjson" } }),
  ],
  createApiKey: [201, () => makeKey()],
  listApiKeys: [200, get("/v1/api-keys")],
  revokeApiKey: [204, async () => flow.api.delete(`/v1/api-keys/${(await makeKey()).as<{ id: string }>().id}`)],
  streamEvents: [
    200,
    async () => {
      await (await listen(flow.service.url, { query: "?queue=default&type=task.created,task.failed" })).close();
      return { status: 200 };
    },
  ],
  createSubscription: [201, () => subscribe()],
  listSubscriptions: [200, get("/v1/subscriptions")],
  getSubscription: [200, async () => flow.api.get(`/v1/subscriptions/${(await subscribe()).as<{ id: string }>().id}`)],
  deleteSubscription: [
    204,
    async () => flow.api.delete(`/v1/subscriptions/${(await subscribe()).as<{ id: string }>().id}`),
  ],
  getAudit: [200, get("/v1/audit")],
  getSigningSecrets: [200, get("/v1/signing-secrets")],
  getHealth: [200, get("/healthz")],
  getReadiness: [200, get("/readyz")],
  getMetrics: [200, get("/metrics")],
  getOpenApi: [200, get("/openapi.json")],
  getRoot: [302, get("/")],
  getDocs: [200, get("/docs")],
  getDocsScript: [200, get("/docs/rapidoc-min.js")],
};

async function operationIds(): Promise<string[]> {
  const document = (await flow.api.get("/openapi.json")).as<{ paths: Record<string, Record<string, Operation>> }>();
  return Object.values(document.paths)
    .flatMap((path) => Object.values(path))
    .map(({ operationId }) => operationId);
}

describe("every operation of the document", () => {
  test("is called here, and nothing else", async () => {
    expect((await operationIds()).toSorted()).toEqual(Object.keys(calls).toSorted());
  });

  test.each(Object.entries(calls))("%s is served as documented", async (_operationId, [status, call]) => {
    expect((await call()).status).toBe(status);
  });
});
