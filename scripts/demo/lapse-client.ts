// Owns the shop's calls to Lapse. Every one of them may safely be repeated, so trouble on the way is met by repeating it.

import { setTimeout as sleep } from "node:timers/promises";

const triesMax = 5;
const retryAfterMsDefault = 200;
/** Longer than the longest wait that the shop asks for. */
const answerMsMax = 20_000;
/** Lapse cannot answer just now; it may have done what it was asked all the same. */
const repeatableStatuses = new Set([429, 503]);

/** Of the contract's task, what the shop looks at. */
export interface Task {
  readonly id: string;
  readonly key: string;
  readonly state: string;
  readonly dueAt: string;
  readonly attempts: number;
}

export interface NewTask {
  readonly url: string;
  readonly delay: string;
  readonly key: string;
  readonly payload: unknown;
  readonly timeout?: string;
  readonly retry?: Readonly<Record<string, unknown>>;
}

export interface AttemptRef {
  readonly taskId: string;
  readonly attempt: number;
  /** The `lapse-confirm-token` that came with the attempt. */
  readonly confirmToken: string;
}

/**
 * `cancelled`: Lapse will not fire it, whatever happens. `too-late`: it fired, or its receiver was told to go ahead.
 * `undecided`: the call is still in flight after all the waiting. Ask again.
 */
export type CancelAnswer = "cancelled" | "too-late" | "undecided";

export interface LapseClient {
  schedule(task: NewTask): Promise<Task>;
  /** `wait`: how long to wait for a call in flight to end, so that the answer is final. */
  cancelByKey(key: string, options: { wait: string }): Promise<CancelAnswer>;
  /** Whether the receiver of this attempt may act. */
  confirm(attempt: AttemptRef): Promise<boolean>;
  signingSecrets(): Promise<readonly string[]>;
  /** Reads anything else; rejects unless it is found. */
  read<T>(path: string): Promise<T>;
}

/** An API on loopback needs no key; any other takes one as `authorization: Bearer …`. */
export function createLapseClient(baseUrl: string): LapseClient {
  const read = async <T>(path: string): Promise<T> => readBody<T>(await send(`${baseUrl}${path}`, {}), [200]);
  return {
    async schedule(task) {
      // No Idempotency-Key is needed: the very same request again is answered with the task that has the key.
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify(task);
      return readBody<Task>(await send(`${baseUrl}/v1/tasks`, { method: "POST", headers, body }), [200, 201]);
    },

    async cancelByKey(key, { wait }) {
      const url = `${baseUrl}/v1/tasks/by-key/${encodeURIComponent(key)}?wait=${wait}`;
      const answer = await send(url, { method: "DELETE" });
      await readBody(answer, [200, 202, 409]);
      if (answer.status === 200) return "cancelled";
      return answer.status === 409 ? "too-late" : "undecided";
    },

    async confirm({ taskId, attempt, confirmToken }) {
      const headers = { "content-type": "application/json", "lapse-confirm-token": confirmToken };
      const body = JSON.stringify({ attempt });
      const answer = await send(`${baseUrl}/v1/tasks/${taskId}/confirm`, { method: "POST", headers, body });
      await readBody(answer, [200, 409]);
      return answer.status === 200;
    },

    signingSecrets: async () => (await read<{ secrets: readonly string[] }>("/v1/signing-secrets")).secrets,
    read,
  };
}

/** The first answer that says something; rejects where Lapse cannot be reached, try after try. */
async function send(url: string, init: RequestInit): Promise<Response> {
  for (let tries = 1; ; tries += 1) {
    const outcome = await tryOnce(url, init);
    if (outcome instanceof Response && !repeatableStatuses.has(outcome.status)) return outcome;
    if (tries === triesMax) {
      if (outcome instanceof Response) return outcome;
      throw new Error(`Lapse does not answer ${init.method ?? "GET"} ${url}`, { cause: outcome });
    }
    const retryAfterSeconds = outcome instanceof Response ? Number(outcome.headers.get("retry-after")) : 0;
    if (outcome instanceof Response) await outcome.body?.cancel();
    await sleep(retryAfterSeconds * 1_000 || retryAfterMsDefault);
  }
}

async function tryOnce(url: string, init: RequestInit): Promise<Response | Error> {
  try {
    return await fetch(url, { ...init, signal: AbortSignal.timeout(answerMsMax) });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function readBody<T>(answer: Response, expected: readonly number[]): Promise<T> {
  const text = await answer.text();
  if (!expected.includes(answer.status)) throw new Error(`Lapse answered ${answer.url} with ${answer.status}: ${text}`);
  return JSON.parse(text) as T;
}
