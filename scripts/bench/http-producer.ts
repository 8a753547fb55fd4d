// Owns what callers do over Lapse's API, from a process of their own.

import { callers, type Producer, payloadOf, type Servers } from "./contender.ts";
import { type Answer, HttpLoad } from "./http-load.ts";
import { openPool } from "./pg-pool.ts";

interface BatchAnswer {
  readonly items: readonly { readonly status: number; readonly task: { readonly id: string } }[];
}

/** `countSql`: a row of `live` and `succeeded`. */
export function openHttpProducer(servers: Servers, address: string, countSql: string): Producer {
  const api = new HttpLoad(address, callers);
  const database = openPool(servers.databaseUrl, 1);
  return {
    async add(task) {
      const { url, number } = task;
      const dueAt = new Date(task.dueAt).toISOString();
      const body = { url, dueAt, key: `order-${number}:payment-timeout`, payload: payloadOf(task) };
      expect(await api.send("POST", "/v1/tasks", JSON.stringify(body)), 201);
    },
    prepareMany(tasks) {
      const json = JSON.stringify({
        tasks: tasks.map((task) => ({
          url: task.url,
          dueAt: new Date(task.dueAt).toISOString(),
          payload: payloadOf(task),
        })),
      });
      let answer: Answer | null = null;
      return {
        async send() {
          answer = expect(await api.send("POST", "/v1/tasks/batch", json), 200);
        },
        readIds() {
          const { items } = JSON.parse(answer?.readText() ?? '{"items":[]}') as BatchAnswer;
          if (items.length !== tasks.length || items.some(({ status }) => status !== 201))
            throw new Error(`POST /v1/tasks/batch: not all of ${tasks.length} tasks were accepted`);
          return items.map(({ task }) => task.id);
        },
      };
    },
    async cancel(id) {
      expect(await api.send("DELETE", `/v1/tasks/${id}`), 200);
    },
    async counts() {
      const { rows } = await database.query<{ live: number; succeeded: number }>(countSql);
      return rows[0] ?? { live: 0, succeeded: 0 };
    },
    async close() {
      api.close();
      await database.end();
    },
  };
}

function expect(answer: Answer, status: number): Answer {
  if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status} ${answer.readText()}`);
  return answer;
}
