// Owns the set-up of a flow test: a real service, a real receiver with a hook for each test, and waiting on what the API says.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { TaskJson, TestApi } from "./api.ts";
import { type Answerer, type ReceivedRequest, type Receiver, type ReceiverAnswer, startReceiver } from "./receiver.ts";
import { startTestService, type TestService, type TestServiceOptions } from "./service.ts";

const untilMsMax = 10_000;
const lookMs = 15;

/** One answer to all; a list: the first to the first request, the second to the second, the last to all others; or decided by request. */
export type HookAnswer = ReceiverAnswer | readonly ReceiverAnswer[] | Answerer;

/** A path of the receiver that one test has for itself. */
export interface Hook {
  readonly url: string;
  /** What came to it so far. */
  readonly requests: readonly ReceivedRequest[];
  /** Takes the first request that was not taken yet, waiting for it if need be. */
  next(): Promise<ReceivedRequest>;
}

export interface Flow {
  readonly service: TestService;
  readonly api: TestApi;
  readonly receiver: Receiver;
  hook(answer?: HookAnswer): Hook;
  /** Posts a task to a hook of no interest, an hour ahead unless the fields say otherwise; fails unless it is created. */
  create(fields?: Readonly<Record<string, unknown>>): Promise<TaskJson>;
  read(id: string): Promise<TaskJson>;
  /** Waits until the task is in the state, or in one of them. */
  reaches(id: string, ...states: readonly TaskJson["state"][]): Promise<TaskJson>;
  /** A task whose call is under way, held by its receiver until `release`. */
  running(fields?: Readonly<Record<string, unknown>>): Promise<Running>;
  stop(): Promise<void>;
}

export interface Running {
  readonly task: TaskJson;
  readonly hook: Hook;
  /** The request that is held. */
  readonly request: ReceivedRequest;
  /** Answers the call that is held, and all later ones at once: 200 where nothing is said. */
  readonly release: (...answers: readonly ReceiverAnswer[]) => void;
}

/** Starts all that a flow test needs. */
export async function startFlow(options: TestServiceOptions = {}): Promise<Flow> {
  const receiver = await startReceiver();
  const service = await startTestService(options);
  const { api } = service;
  const answerers = new Map<string, Answerer>();
  receiver.answer((request) => answerers.get(request.path)?.(request) ?? {});

  const hook = (answer: HookAnswer = {}): Hook => {
    const path = `/${unique("hook")}`;
    answerers.set(path, toAnswerer(answer));
    return {
      url: receiver.url + path,
      get requests() {
        return receiver.requests.filter((request) => request.path === path);
      },
      next: () => receiver.next((request) => request.path === path),
    };
  };
  const idle = hook();
  const create: Flow["create"] = async (fields = {}) => {
    const due = "dueAt" in fields || "delay" in fields ? {} : { delay: "1h" };
    const answer = await api.post("/v1/tasks", { url: idle.url, ...due, ...fields });
    if (answer.status !== 201) throw new Error(`The task was not created: ${answer.status} ${answer.text}`);
    return answer.task;
  };
  const read = async (id: string): Promise<TaskJson> => (await api.get(`/v1/tasks/${id}`)).task;
  return {
    service,
    api,
    receiver,
    hook,
    create,
    read,
    reaches: (id, ...states) =>
      until(
        () => read(id),
        (task) => states.includes(task.state),
      ),
    running: async (fields = {}) => {
      const { answer, release } = held();
      const called = hook(answer);
      const task = await create({ url: called.url, delay: "0s", ...fields });
      const request = await called.next();
      return { task: await read(task.id), hook: called, request, release };
    },
    async stop() {
      await receiver.close();
      await service.stop();
    },
  };
}

/** An answerer that keeps requests waiting until it is released. */
export function held(): Pick<Running, "release"> & { readonly answer: Answerer } {
  const { promise, resolve } = Promise.withResolvers<Answerer>();
  return {
    answer: async (request) => (await promise)(request),
    release: (...answers) => resolve(inTurn(answers.length === 0 ? [{}] : answers)),
  };
}

/** Reads until what was read fits; rejects after 10 s, unless told otherwise, with what was read last. */
export async function until<T>(
  read: () => T | Promise<T>,
  fits: (value: T) => boolean,
  msMax = untilMsMax,
): Promise<T> {
  const deadlineMs = performance.now() + msMax;
  while (true) {
    const value = await read();
    if (fits(value)) return value;
    if (performance.now() > deadlineMs)
      throw new Error(`Not so within ${msMax} ms; the last that was read: ${JSON.stringify(value)}`);
    await sleep(lookMs);
  }
}

/** A name that nothing else has. */
export function unique(prefix: string): string {
  return `${prefix}-${randomBytes(6).toString("hex")}`;
}

/** Due so soon again that a test need not wait: retries follow one another at once. */
export const promptRetry = { backoff: "fixed", minDelay: "10ms", maxDelay: "10ms", jitter: 0 } as const;

function toAnswerer(answer: HookAnswer): Answerer {
  if (typeof answer === "function") return answer;
  return inTurn(isList(answer) ? answer : [answer]);
}

function isList(answer: ReceiverAnswer | readonly ReceiverAnswer[]): answer is readonly ReceiverAnswer[] {
  return Array.isArray(answer);
}

function inTurn(answers: readonly ReceiverAnswer[]): Answerer {
  let count = 0;
  return () => answers[Math.min(count++, answers.length - 1)] ?? {};
}
