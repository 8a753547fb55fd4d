// Owns what callers do and are told: calls of the API, each written down with its answer.

import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import type { Told, ToldTask } from "./history.ts";

const connections = 100;
/** No answer of the API takes longer, also with a server away; a process that is stopped or killed never answers. */
const answerMsMax = 20_000;

/** Sooner than a Retry-After asks for: a caller that cannot wait. */
const repeatMs = 100;

export interface Answered {
  /** Null: no answer came. */
  readonly status: number | null;
  readonly body: string;
  readonly task: ToldTask | null;
  readonly tookMs: number;
  readonly answeredAt: number;
}

export interface Caller {
  readonly told: readonly Told[];
  readonly accept: (task: Readonly<Record<string, unknown>>) => Promise<Answered>;
  /** As a caller should after a 503 or no answer: again, with the same Idempotency-Key, until it is answered. */
  readonly acceptInsistently: (task: Readonly<Record<string, unknown>>, idempotencyKey: string) => Promise<Answered>;
  readonly cancel: (ref: { readonly id: string } | { readonly key: string }) => Promise<Answered>;
  /** A call on one task, such as `POST` of `/run`; a PATCH where there is a body. */
  change(
    id: string,
    action: "pause" | "resume" | "run" | "retry" | Readonly<Record<string, unknown>>,
  ): Promise<Answered>;
  readonly read: (id: string) => Promise<Answered>;
  /** Any other call; it is not written down. */
  readonly call: (method: "GET" | "POST", path: string, json?: unknown) => Promise<Answered>;
  readonly close: () => Promise<void>;
}

type Method = "GET" | "POST" | "PATCH" | "DELETE";

interface Content {
  readonly json?: unknown;
}

interface Headers {
  readonly headers?: Readonly<Record<string, string>>;
}

/** A caller of the API at `url()`, asked at each call since a process that starts again has another port. */
export function createCaller(url: () => string): Caller {
  const told: Told[] = [];
  const agent = new Agent({ connections, headersTimeout: answerMsMax, bodyTimeout: answerMsMax });
  const call = async (method: Method, path: string, { json, headers }: Content & Headers = {}): Promise<Answered> => {
    const askedAt = now();
    const content =
      json === undefined
        ? {}
        : { headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(json) };
    try {
      const answer = await request(`${url()}${path}`, { method, dispatcher: agent, ...content });
      const text = await answer.body.text();
      const answeredAt = now();
      return { status: answer.statusCode, body: text, task: taskIn(text), tookMs: answeredAt - askedAt, answeredAt };
    } catch {
      const answeredAt = now();
      return { status: null, body: "", task: null, tookMs: answeredAt - askedAt, answeredAt };
    }
  };
  const noted = async (about: Pick<Told, "call" | "name">, calling: Promise<Answered>): Promise<Answered> => {
    const askedAt = now();
    const answered = await calling;
    const { status, task, answeredAt } = answered;
    told.push({ ...about, status, task, askedAt, answeredAt });
    return answered;
  };
  const accept = (task: Readonly<Record<string, unknown>>, headers?: Headers): Promise<Answered> =>
    noted(
      { call: "accept", name: typeof task["key"] === "string" ? task["key"] : null },
      call("POST", "/v1/tasks", { json: task, ...headers }),
    );
  return {
    told,
    accept: (task) => accept(task),
    acceptInsistently: async (task, idempotencyKey) => {
      while (true) {
        const answered = await accept(task, { headers: { "idempotency-key": idempotencyKey } });
        if (answered.status !== null && answered.status < 500) return answered;
        await sleep(repeatMs);
      }
    },
    cancel: (ref) => {
      const [name, path] = "id" in ref ? [ref.id, ref.id] : [ref.key, `by-key/${encodeURIComponent(ref.key)}`];
      return noted({ call: "cancel", name }, call("DELETE", `/v1/tasks/${path}`));
    },
    change: (id, action) => {
      const path = `/v1/tasks/${id}`;
      const calling =
        typeof action === "string" ? call("POST", `${path}/${action}`) : call("PATCH", path, { json: action });
      return noted({ call: "change", name: id }, calling);
    },
    read: (id) => noted({ call: "read", name: id }, call("GET", `/v1/tasks/${id}`)),
    call: (method, path, json) => call(method, path, json === undefined ? {} : { json }),
    close: () => agent.destroy(),
  };
}

/** This process's clock, as the receiver reads it. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

function taskIn(text: string): ToldTask | null {
  const { id, state, nextAttemptAt, attempts } = JSON.parse(text) as Record<string, unknown>;
  if (typeof id !== "string" || typeof state !== "string") return null;
  return { id, state, nextAttemptAt: Date.parse(String(nextAttemptAt)), attempts: Number(attempts) };
}
