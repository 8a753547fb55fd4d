// Owns importing in tests: a request that is sent piece by piece while its answer is read line by line, or left unread.

import { type ClientRequest, type IncomingMessage, request } from "node:http";
import type { ProblemJson } from "./api.ts";

export interface ImportLine {
  readonly line?: number;
  readonly problem?: ProblemJson;
  readonly accepted?: number;
  readonly refused?: number;
  readonly done?: boolean;
}

export interface ImportCall {
  /** Sends a piece; resolves once there is room for another. */
  send(text: string | Buffer): Promise<void>;
  end(): void;
  /** Cuts the connection. */
  destroy(): void;
  /** What was answered so far. */
  readonly told: readonly ImportLine[];
  /** The first line that fits, waiting for it if need be; rejects where the answer ends without it. */
  next(fits: (line: ImportLine) => boolean): Promise<ImportLine>;
  /** Reads on, where reading was put off. */
  read(): void;
  /** All that was answered, once the answer has ended; rejects where it was cut off. */
  readonly ended: Promise<readonly ImportLine[]>;
  readonly status: Promise<number>;
}

export interface ImportOptions {
  readonly apiKey?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Nothing of the answer is read before `read` is called. */
  readonly isReadLater?: boolean;
}

export function openImport(url: string, { apiKey, headers, isReadLater = false }: ImportOptions = {}): ImportCall {
  const sent = request(`${url}/v1/tasks/import`, {
    method: "POST",
    headers: {
      "content-type": "application/x-ndjson",
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      ...headers,
    },
  });
  sent.flushHeaders();
  const told: ImportLine[] = [];
  let look: () => void = () => undefined;
  const reading = Promise.withResolvers<void>();
  if (!isReadLater) reading.resolve();
  const answered = answerOf(sent);
  const ended = (async () => {
    const answer = await answered;
    await reading.promise;
    for await (const line of linesOf(answer)) {
      told.push(JSON.parse(line) as ImportLine);
      look();
    }
    return told;
  })();
  ended.catch(() => undefined).finally(() => look());
  return {
    told,
    ended,
    status: answered.then(({ statusCode }) => statusCode ?? 0),
    send: async (text) => {
      if (sent.write(text) || sent.destroyed) return;
      const room = Promise.withResolvers<void>();
      sent.once("drain", room.resolve).once("close", room.resolve);
      await room.promise;
      sent.off("drain", room.resolve).off("close", room.resolve);
    },
    end: () => void sent.end(),
    destroy: () => void sent.destroy(),
    read: () => reading.resolve(),
    next: async (fits) => {
      let isOver = false;
      void ended.catch(() => undefined).finally(() => (isOver = true));
      while (true) {
        const found = told.find(fits);
        if (found !== undefined) return found;
        if (isOver) throw new Error(`No such line came, but ${JSON.stringify(told.slice(-5))}`);
        await new Promise<void>((resolve) => (look = resolve));
      }
    },
  };
}

/** Sends all, and resolves to all that was answered. */
export async function importAll(
  url: string,
  text: string | Buffer,
  options?: ImportOptions,
): Promise<readonly ImportLine[]> {
  const call = openImport(url, options);
  await call.send(text);
  call.end();
  return call.ended;
}

async function answerOf(sent: ClientRequest): Promise<IncomingMessage> {
  // A connection that is cut after the answer has begun is the answer's fault to tell.
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  sent.on("response", resolve).on("error", reject);
  return promise;
}

async function* linesOf(answer: IncomingMessage): AsyncGenerator<string> {
  let rest = "";
  answer.setEncoding("utf8");
  for await (const piece of answer) {
    const lines = (rest + String(piece)).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
