// Owns what callers do over Lapse's API, from a process of their own, as cheaply as a client can: load and service share the cores.

import { type Dispatcher, Pool } from "undici";
import { callers, type Producer, payloadOf, type Servers } from "./contender.ts";
import { openPool } from "./pg-pool.ts";

interface Answer {
  readonly status: number;
  readonly text: string;
}
interface BatchAnswer {
  readonly items: readonly { readonly status: number; readonly task: { readonly id: string } }[];
}

/** `countSql`: a row of `live` and `succeeded`. */
export function openHttpProducer(servers: Servers, address: string, countSql: string): Producer {
  const api = new Pool(address, { connections: callers });
  const database = openPool(servers.databaseUrl, 1);
  return {
    async add(task) {
      const { url, number } = task;
      const dueAt = new Date(task.dueAt).toISOString();
      const body = { url, dueAt, key: `order-${number}:payment-timeout`, payload: payloadOf(task) };
      expect(await send(api, "POST", { path: "/v1/tasks", body }), 201);
    },
    async addMany(tasks) {
      const body = {
        tasks: tasks.map((task) => ({
          url: task.url,
          dueAt: new Date(task.dueAt).toISOString(),
          payload: payloadOf(task),
        })),
      };
      const answer = expect(await send(api, "POST", { path: "/v1/tasks/batch", body }), 200);
      const { items } = JSON.parse(answer.text) as BatchAnswer;
      if (items.length !== tasks.length || items.some(({ status }) => status !== 201))
        throw new Error(`POST /v1/tasks/batch: not all of ${tasks.length} tasks were accepted`);
      return items.map(({ task }) => task.id);
    },
    async cancel(id) {
      expect(await send(api, "DELETE", { path: `/v1/tasks/${id}` }), 200);
    },
    async counts() {
      const { rows } = await database.query<{ live: number; succeeded: number }>(countSql);
      return rows[0] ?? { live: 0, succeeded: 0 };
    },
    async close() {
      await api.destroy();
      await database.end();
    },
  };
}

function expect(answer: Answer, status: number): Answer {
  if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status} ${answer.text}`);
  return answer;
}

/** By undici's dispatch: its `request` costs a stream for each answer. */
function send(api: Pool, method: "POST" | "DELETE", { path, body }: { path: string; body?: unknown }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let status = 0;
    const chunks: Buffer[] = [];
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: () => undefined,
      onResponseStart: (_, statusCode) => {
        status = statusCode;
      },
      onResponseData: (_, chunk) => {
        chunks.push(chunk);
      },
      onResponseEnd: () => resolve({ status, text: Buffer.concat(chunks).toString() }),
      onResponseError: (_, error) => reject(error),
    };
    const content = body === undefined ? {} : { body: JSON.stringify(body), headers: jsonHeaders };
    api.dispatch({ path, method, ...content }, handler);
  });
}

const jsonHeaders = { "content-type": "application/json" };
