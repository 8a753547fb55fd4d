// Owns a client of GET /v1/events, as a browser's EventSource reads it: blocks, ids, comments, and coming back after the last id.

import { Agent } from "undici";
import type { z } from "zod";
import { eventAnswer } from "../../src/http/schemas/events.ts";
import { until } from "../support/flow.ts";

export type EventJson = z.output<typeof eventAnswer>;

export interface Listener {
  /** All that came, in order, but for resets. */
  readonly events: readonly EventJson[];
  /** The names of all blocks with data, `reset` too. */
  readonly names: readonly string[];
  readonly lastId: string;
  readonly isEnded: boolean;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Waits until events of these types, of the task where it is said, have come; resolves to them. */
  saw(types: readonly string[], taskId?: string): Promise<EventJson[]>;
  close(): Promise<void>;
}

export interface ListenOptions {
  readonly query?: string;
  readonly lastEventId?: string;
  readonly apiKey?: string;
}

/** Resolves once the client knows that it is connected. */
export async function listen(url: string, options: ListenOptions = {}): Promise<Listener> {
  const agent = new Agent({ bodyTimeout: 0 });
  const { query = "", lastEventId, apiKey } = options;
  const answer = await agent.request({
    origin: url,
    path: `/v1/events${query}`,
    method: "GET",
    headers: {
      ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    },
  });
  if (answer.statusCode !== 200) throw new Error(`${answer.statusCode} ${await answer.body.text()}`);
  const events: EventJson[] = [];
  const names: string[] = [];
  let [lastId, rest, isEnded] = ["", "", false];
  const take = (block: string): void => {
    const fields = block.split("\n").map((line) => /^([a-z]*): ?(.*)$/.exec(line));
    const of = (name: string): string | undefined => fields.find((field) => field?.[1] === name)?.[2];
    lastId = of("id") ?? lastId;
    const [data, name] = [of("data"), of("event")];
    if (data === undefined || name === undefined) return;
    names.push(name);
    if (name !== "reset") events.push(eventAnswer.parse(JSON.parse(data)));
  };
  answer.body.setEncoding("utf8");
  answer.body.on("data", (text: string) => {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) take(block);
  });
  answer.body.on("close", () => (isEnded = true)).on("error", () => (isEnded = true));
  const listener: Listener = {
    events,
    names,
    headers: answer.headers,
    get lastId() {
      return lastId;
    },
    get isEnded() {
      return isEnded;
    },
    saw: (types, taskId) =>
      until(
        () => events.filter((event) => taskId === undefined || event.taskId === taskId),
        (seen) => types.every((type) => seen.some((event) => event.type === type)),
      ),
    async close() {
      answer.body.destroy();
      await agent.destroy();
    },
  };
  await until(
    () => lastId,
    (id) => id !== "",
  );
  return listener;
}
