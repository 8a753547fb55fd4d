// Owns what callers do and are told: calls of the API, each written down with its answer.

import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import { parseDuration } from "../../src/task/duration.ts";
import type { Told, ToldTask } from "./history.ts";
import { hostNow } from "./host-clock.ts";

const connections = 100;
/** No answer of the API takes longer, also with a server away; a process that is stopped or killed never answers. */
const answerMsMax = 20_000;
/** Sooner than a Retry-After asks for: a caller that cannot wait. */
const repeatMs = 100;
const delayLimits = { minMs: 0, maxMs: 366 * 86_400_000 };

export interface Answered {
  /** Null: no answer came. */
  readonly status: number | null;
  readonly body: string;
  readonly task: ToldTask | null;
  readonly tookMs: number;
  readonly answeredAt: number;
}

export type TaskInput = Readonly<Record<string, unknown>>;
export type TaskName = { readonly id: string } | { readonly key: string; readonly queue?: string };

/** Who repeats a call until it is answered. */
export interface Insistence {
  readonly idempotencyKey?: string;
  /** Gives up when it no longer holds. */
  readonly while?: () => boolean;
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

interface Content {
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

type About = Pick<Told, "call" | "name"> & Partial<Told>;

/** A caller of the API at `url()`, asked at each call since a process that starts again has another port. */
export class Caller {
  readonly told: Told[] = [];
  readonly #url: () => string;
  readonly #agent: Agent;

  constructor(url: () => string, waitMsMax = answerMsMax) {
    this.#url = url;
    this.#agent = new Agent({ connections, headersTimeout: waitMsMax, bodyTimeout: waitMsMax });
  }

  accept(task: TaskInput): Promise<Answered> {
    return this.#accept(task, {});
  }

  /** As a caller should after a 503 or no answer: again, with the same Idempotency-Key or key, until it is answered. */
  async acceptInsistently(task: TaskInput, how: string | Insistence): Promise<Answered> {
    const { idempotencyKey, while: isWanted = () => true } = typeof how === "string" ? { idempotencyKey: how } : how;
    const about = { firstAskedAt: hostNow(), ...(idempotencyKey === undefined ? {} : { idempotencyKey }) };
    while (true) {
      const answered = await this.#accept(task, about);
      if (!isWorthRepeating(answered) || !isWanted()) return answered;
      await sleep(repeatMs);
    }
  }

  /** Several in one call; each is written down. */
  async acceptBatch(tasks: readonly TaskInput[], { atomic = false } = {}): Promise<Answered> {
    const askedAt = hostNow();
    const answered = await this.#call("POST", "/v1/tasks/batch", { json: { tasks, atomic } });
    const items = answered.status === 200 ? itemsIn(answered.body) : [];
    const { answeredAt } = answered;
    for (const [i, task] of tasks.entries()) {
      const { status = answered.status, task: shown = null } = items[i] ?? {};
      this.told.push({ ...aboutAccept(task), firstAskedAt: askedAt, status, task: shown, askedAt, answeredAt });
    }
    return answered;
  }

  cancel(ref: TaskName): Promise<Answered> {
    const [name, path] = "id" in ref ? [ref.id, ref.id] : [ref.key, pathOfKey(ref)];
    return this.#noted({ call: "cancel", name }, this.#call("DELETE", `/v1/tasks/${path}`));
  }

  /** A cancel of a key whose task is yet to come. */
  plantTombstone(key: string, queue: string, lifetime: string): Promise<Answered> {
    const json = { queue, keys: [key], tombstone: lifetime };
    const about: About = { call: "tombstone", name: key, action: lifetime };
    return this.#noted(about, this.#call("POST", "/v1/tasks/cancel", { json }));
  }

  /** A call on one task, such as `POST` of `/run`; a PATCH where there is a body. */
  change(id: string, action: "pause" | "resume" | "run" | "retry" | TaskInput): Promise<Answered> {
    const path = `/v1/tasks/${id}`;
    const isNamed = typeof action === "string";
    const calling = isNamed ? this.#call("POST", `${path}/${action}`) : this.#call("PATCH", path, { json: action });
    return this.#noted({ call: "change", name: id, action: isNamed ? action : "patch" }, calling);
  }

  read(id: string): Promise<Answered> {
    return this.#noted({ call: "read", name: id }, this.#call("GET", `/v1/tasks/${id}`));
  }

  /** What a receiver asks before it acts. */
  confirm(id: string, attempt: number): Promise<Answered> {
    const calling = this.#call("POST", `/v1/tasks/${id}/confirm`, { json: { attempt } });
    return this.#noted({ call: "confirm", name: id, attempt }, calling);
  }

  /** Any other call; it is not written down. */
  call(method: "GET" | "POST" | "PUT", path: string, json?: unknown): Promise<Answered> {
    return this.#call(method, path, json === undefined ? {} : { json });
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  #accept(task: TaskInput, about: Partial<Told>): Promise<Answered> {
    const headers = about.idempotencyKey === undefined ? {} : { "idempotency-key": about.idempotencyKey };
    const noting = { ...aboutAccept(task), firstAskedAt: hostNow(), ...about };
    return this.#noted(noting, this.#call("POST", "/v1/tasks", { json: task, headers }));
  }

  async #noted(about: About, calling: Promise<Answered>): Promise<Answered> {
    const askedAt = hostNow();
    const answered = await calling;
    const { status, task, answeredAt } = answered;
    this.told.push({ ...about, status, task, askedAt, answeredAt });
    return answered;
  }

  async #call(method: Method, path: string, { json, headers }: Content = {}): Promise<Answered> {
    const askedAt = hostNow();
    const content =
      json === undefined
        ? {}
        : { headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(json) };
    try {
      const answer = await request(`${this.#url()}${path}`, { method, dispatcher: this.#agent, ...content });
      const text = await answer.body.text();
      const answeredAt = hostNow();
      return { status: answer.statusCode, body: text, task: taskIn(text), tookMs: answeredAt - askedAt, answeredAt };
    } catch {
      const answeredAt = hostNow();
      return { status: null, body: "", task: null, tookMs: answeredAt - askedAt, answeredAt };
    }
  }
}

/** No answer, one that may hide a success, or one that says that the first of two is still being answered. */
export function isWorthRepeating({ status, body }: Answered): boolean {
  return status === null || status >= 500 || (status === 409 && body.includes("idempotency-in-progress"));
}

function pathOfKey({ key, queue }: { readonly key: string; readonly queue?: string }): string {
  return `by-key/${encodeURIComponent(key)}${queue === undefined ? "" : `?queue=${queue}`}`;
}

function aboutAccept({ key, onConflict, delay, labels }: TaskInput): About {
  const parsed = typeof delay === "string" ? parseDuration(delay, delayLimits) : { ms: 0 };
  const label = (labels as Readonly<Record<string, string>> | undefined)?.["call"];
  return {
    call: "accept",
    name: typeof key === "string" ? key : null,
    ...("ms" in parsed ? { delayMs: parsed.ms } : {}),
    ...(typeof onConflict === "string" ? { action: onConflict } : {}),
    ...(label === undefined ? {} : { label }),
  };
}

interface BatchItem {
  readonly status?: number;
  readonly task?: ToldTask | null;
}

function itemsIn(body: string): BatchItem[] {
  const { items } = JSON.parse(body) as { readonly items: readonly { status: number; task?: unknown }[] };
  return items.map(({ status, task }) => ({ status, task: toToldTask(task) }));
}

function taskIn(text: string): ToldTask | null {
  return toToldTask(JSON.parse(text));
}

/** Also of a problem that names a task's id and state: what it does not name is NaN. */
function toToldTask(value: unknown): ToldTask | null {
  const { id, state, nextAttemptAt, attempts, version } = (value ?? {}) as Record<string, unknown>;
  if (typeof id !== "string" || typeof state !== "string") return null;
  return {
    id,
    state,
    nextAttemptAt: Date.parse(String(nextAttemptAt)),
    attempts: Number(attempts),
    version: Number(version),
  };
}
