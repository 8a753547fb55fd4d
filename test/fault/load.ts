// Owns the load of a fault plan: a mix of what callers do, drawn from the plan's seed, at a steady rate.

import { setTimeout as sleep } from "node:timers/promises";
import type { BadReceivers } from "./bad-receivers.ts";
import type { Answered, Caller, TaskInput } from "./caller.ts";
import { isWorthRepeating } from "./caller.ts";
import { hostNow } from "./host-clock.ts";

const queueCount = 4;
/** Nothing is left to chance, so that the checker knows when each retry is due; enough for an unlucky task. */
const retry = { maxAttempts: 20, backoff: "fixed", minDelay: "500ms", jitter: 0 };
/** Callers under way at most: where the API hangs, they would pile up without end. */
const flowsMax = 400;
const repeatMs = 200;
/** A caller that gets no answer goes on for this long after the load has ended. */
const insistMsMax = 60_000;

export interface LoadOptions {
  readonly caller: Caller;
  readonly receivers: BadReceivers;
  readonly random: () => number;
  readonly ratePerSecond: number;
  readonly delayMsMax: number;
}

interface Flow {
  readonly weight: number;
  readonly run: (load: Load) => Promise<unknown>;
}

const flows: readonly Flow[] = [
  { weight: 22, run: async (load) => load.accept(load.task()) },
  { weight: 18, run: async (load) => load.insist(load.task({ key: load.name() }), load.name()) },
  { weight: 6, run: async (load) => load.insist(load.task({ key: load.name() })) },
  { weight: 14, run: cancelNearDue },
  { weight: 3, run: batch },
  { weight: 5, run: debounce },
  { weight: 3, run: keep },
  { weight: 4, run: tombstone },
  { weight: 4, run: pauseAndResume },
  { weight: 3, run: runEarly },
  { weight: 3, run: patch },
  { weight: 3, run: retryFailed },
  { weight: 3, run: atMostOnce },
  { weight: 5, run: confirm },
  { weight: 10, run: badReceiver },
];

const weights = flows.reduce((sum, flow) => sum + flow.weight, 0);

export class Load {
  readonly caller: Caller;
  readonly random: () => number;
  readonly #receivers: BadReceivers;
  readonly #everyMs: number;
  readonly #delayMsMax: number;
  readonly #underWay = new Set<Promise<unknown>>();
  #names = 0;
  #stoppedMs = Number.POSITIVE_INFINITY;

  constructor({ caller, receivers, random, ratePerSecond, delayMsMax }: LoadOptions) {
    this.caller = caller;
    this.random = random;
    this.#receivers = receivers;
    this.#everyMs = 1_000 / ratePerSecond;
    this.#delayMsMax = delayMsMax;
  }

  /** Runs until `stop`; resolves once every caller has gone home. */
  async run(): Promise<void> {
    const startedMs = performance.now();
    for (let flow = 0; this.#stoppedMs === Number.POSITIVE_INFINITY; flow += 1) {
      const next = this.#pick();
      if (this.#underWay.size < flowsMax) this.#begin(next);
      await sleep(Math.max(0, startedMs + (flow + 1) * this.#everyMs - performance.now()));
    }
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  stop(): void {
    this.#stoppedMs = performance.now();
  }

  name(): string {
    this.#names += 1;
    return `n-${this.#names}`;
  }

  between(least: number, most: number): number {
    return Math.floor(least + this.random() * (most - least));
  }

  url(path: string): string {
    return this.#receivers.url(path);
  }

  /** A task with a label of its own, due within 10 s. */
  task(fields: TaskInput = {}, path = this.random() < 0.8 ? "/ok" : "/slow"): TaskInput & { readonly queue: string } {
    const delayMs = this.random() < 0.3 ? 0 : this.between(0, this.#delayMsMax);
    const labels = { call: this.name() };
    const queue = `queue-${this.between(0, queueCount)}`;
    return { url: this.url(path), queue, delay: `${delayMs}ms`, retry, labels, ...fields };
  }

  accept(task: TaskInput): Promise<Answered> {
    return this.caller.accept(task);
  }

  /** As callers should: until it is answered. */
  insist(task: TaskInput, idempotencyKey?: string): Promise<Answered> {
    const key = idempotencyKey === undefined ? {} : { idempotencyKey };
    return this.caller.acceptInsistently(task, { ...key, while: () => this.#isPatient() });
  }

  /** Any call that may be repeated. */
  async untilAnswered(call: () => Promise<Answered>): Promise<Answered> {
    while (true) {
      const answered = await call();
      if (!isWorthRepeating(answered) || !this.#isPatient()) return answered;
      await sleep(repeatMs);
    }
  }

  #isPatient(): boolean {
    return performance.now() < this.#stoppedMs + insistMsMax;
  }

  #pick(): Flow["run"] {
    let left = this.random() * weights;
    for (const { weight, run } of flows) {
      left -= weight;
      if (left < 0) return run;
    }
    return flows[0]?.run ?? (async () => undefined);
  }

  #begin(run: Flow["run"]): void {
    const flow: Promise<unknown> = run(this).finally(() => this.#underWay.delete(flow));
    this.#underWay.add(flow);
  }
}

async function cancelNearDue(load: Load): Promise<void> {
  const delayMs = load.between(200, 4_000);
  const task = load.task({ key: load.name(), delay: `${delayMs}ms` });
  const isByKey = load.random() < 0.5;
  const offsetMs = load.between(-150, 150);
  const accepted = await load.insist(task, load.name());
  if (accepted.task === null) return;
  const { id, nextAttemptAt } = accepted.task;
  await sleep(Math.max(0, nextAttemptAt + offsetMs - hostNow()));
  const ref = isByKey ? { key: String(task["key"]), queue: task.queue } : { id };
  await load.untilAnswered(() => load.caller.cancel(ref));
}

async function batch(load: Load): Promise<void> {
  const tasks = Array.from({ length: load.between(2, 20) }, () => load.task());
  await load.caller.acceptBatch(tasks, { atomic: load.random() < 0.5 });
}

/** A key whose due time is put off again and again. */
async function debounce(load: Load): Promise<void> {
  const task = load.task({ key: load.name(), delay: "1500ms", onConflict: "replace" });
  for (let i = 0; i < 4; i += 1) {
    await load.untilAnswered(() => load.accept(task));
    await sleep(400);
  }
}

async function keep(load: Load): Promise<void> {
  const task = load.task({ key: load.name(), onConflict: "keep" });
  await Promise.all([load.insist(task), load.insist(task)]);
}

/** A cancel that comes before the create. */
async function tombstone(load: Load): Promise<void> {
  const task = load.task({ key: load.name() });
  const planted = await load.untilAnswered(() => load.caller.plantTombstone(String(task["key"]), task.queue, "10s"));
  if (planted.status === 200) await load.accept(task);
}

async function pauseAndResume(load: Load): Promise<void> {
  const pauseMs = load.between(300, 3_000);
  const accepted = await load.insist(load.task({ delay: `${load.between(500, 3_000)}ms` }), load.name());
  const id = accepted.task?.id;
  if (id === undefined) return;
  const paused = await load.untilAnswered(() => load.caller.change(id, "pause"));
  await sleep(pauseMs);
  // It may have been paused although the last answer says that it cannot be.
  if (paused.status !== null) await load.untilAnswered(() => load.caller.change(id, "resume"));
}

async function runEarly(load: Load): Promise<void> {
  const accepted = await load.insist(load.task({ delay: "8s" }), load.name());
  const id = accepted.task?.id;
  await sleep(500);
  if (id !== undefined) await load.caller.change(id, "run");
}

async function patch(load: Load): Promise<void> {
  const accepted = await load.insist(load.task({ delay: "2s" }), load.name());
  const id = accepted.task?.id;
  if (id !== undefined) await load.caller.change(id, { delay: `${load.between(1_000, 5_000)}ms` });
}

/** A receiver that says 410 at first: its task fails for good, until a caller has it tried anew. */
async function retryFailed(load: Load): Promise<void> {
  const accepted = await load.insist(load.task({ delay: "500ms" }, "/gone-once"), load.name());
  const id = accepted.task?.id;
  if (id === undefined) return;
  const until = performance.now() + 10_000;
  while ((await load.caller.read(id)).task?.state !== "failed" && performance.now() < until) await sleep(500);
  await load.caller.change(id, "retry");
}

async function atMostOnce(load: Load): Promise<void> {
  const path = ["/ok", "/slow", "/nul", "/reset", "/hang"][load.between(0, 5)] ?? "/ok";
  await load.insist(load.task({ delivery: "at-most-once", timeout: "1s" }, path), load.name());
}

/** The customer pays just as the receiver asks whether it may act. */
async function confirm(load: Load): Promise<void> {
  const offsetMs = load.between(-20, 60);
  const accepted = await load.insist(load.task({ delay: `${load.between(100, 2_000)}ms` }, "/confirm"), load.name());
  if (accepted.task === null) return;
  const { id, nextAttemptAt } = accepted.task;
  await sleep(Math.max(0, nextAttemptAt + offsetMs - hostNow()));
  await load.untilAnswered(() => load.caller.cancel({ id }));
}

async function badReceiver(load: Load): Promise<void> {
  const paths = ["/flaky", "/again", "/busy", "/reset", "/cut", "/hang", "/huge", "/nul"];
  const path = paths[load.between(0, paths.length)] ?? "/flaky";
  await load.insist(load.task({ timeout: "1s" }, path), load.name());
}
