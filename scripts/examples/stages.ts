// Owns what both examples poll: an order on its way through stages, each done after a few looks, and the server that Lapse calls.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a look at the stage that is under way finds. */
export type Look = "not yet" | "next stage" | "all done" | "failed";

export interface ExampleOptions {
  /** Lapse's. */
  readonly url: string;
  /** Between two looks. */
  readonly every: string;
  /** The stage that fails, if any. */
  readonly failing: string | null;
  readonly say: (line: string) => void;
}

export interface Ended {
  readonly outcome: "all done" | "failed";
  readonly looks: number;
  /** As Lapse shows the task, or the schedule. */
  readonly state: string;
}

const stages = ["payment", "packing", "shipping"] as const;
/** Real stages take their time; these are done at the second look. */
const looksPerStage = 2;

/** The job's own memory: which stage is under way. A real one keeps it where it keeps its orders. */
export class StagedJob {
  readonly #failing: string | null;
  #stage = 0;
  #looksAtStage = 0;
  #looks = 0;

  constructor(failing: string | null) {
    this.#failing = failing;
  }

  get looks(): number {
    return this.#looks;
  }

  look(): Look {
    this.#looks += 1;
    this.#looksAtStage += 1;
    if (this.#looksAtStage < looksPerStage) return "not yet";
    if (stages[this.#stage] === this.#failing) return "failed";
    this.#stage += 1;
    this.#looksAtStage = 0;
    return this.#stage === stages.length ? "all done" : "next stage";
  }
}

/** A server for webhooks on a free port of loopback; each request is answered with the headers that `answer` says. */
export async function serveHook(
  answer: (request: IncomingMessage) => { status: number; headers: Readonly<Record<string, string>> },
): Promise<{ url: string; close: () => void }> {
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const { status, headers } = answer(request);
    request.resume().on("end", () => response.writeHead(status, headers).end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close().closeAllConnections() };
}

/** Calls Lapse; throws what it refuses. */
export async function call(method: string, url: string, body?: object): Promise<Readonly<Record<string, unknown>>> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(url, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Readonly<Record<string, unknown>>;
}

const readAgainMs = 50;

/** Reads until the state is one of those; the answer to the last look is on its way when this is called. */
export async function untilState(url: string, states: readonly string[]): Promise<string> {
  while (true) {
    const { state } = await call("GET", url);
    if (states.includes(String(state))) return String(state);
    await new Promise((resolve) => setTimeout(resolve, readAgainMs));
  }
}
