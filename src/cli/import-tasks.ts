// Owns `lapse import`: a file of tasks, one a line, goes to a running Lapse as it is read, and what was refused is told by its line.

import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { text as textOf } from "node:stream/consumers";
import { LineSplitter } from "../http/line-splitter.ts";
import { detailOf } from "./problem-text.ts";
import type { Progress } from "./progress.ts";

export interface ImportTasksOptions {
  /** As it was given, `-` for the standard input. */
  readonly file: string;
  /** Where Lapse listens. */
  readonly base: string;
  readonly apiKey: string | null;
  /** Lines before this one, from 1, are left out. */
  readonly fromLine: number;
}

export interface ImportTasksParts {
  readonly input: Readable;
  /** Null where it is not known. */
  readonly bytes: number | null;
  readonly progress: Progress;
  readonly print: (line: string) => void;
  readonly complain: (line: string) => void;
}

/** Far more than the problem of any line. */
const answerLineBytesMax = 16 * 1024 * 1024;
const newline = 0x0a;
/** Of a connection that had stood. */
const brokenCodes: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE"]);

/** A line of Lapse's answer. */
interface Told {
  readonly line?: number;
  readonly problem?: unknown;
  readonly accepted?: number;
  readonly refused?: number;
  readonly done?: boolean;
}

/** Imports a file; false unless every line of it was accepted. Throws where no Lapse answers, or it takes no import. */
export async function importTasks(options: ImportTasksOptions, parts: ImportTasksParts): Promise<boolean> {
  const { file, fromLine } = options;
  const { input, bytes, progress, print, complain } = parts;
  const sent = { bytes: 0, lines: 0 };
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sent.bytes += chunk.length;
      sent.lines += linesIn(chunk);
      done(null, chunk);
    },
  });
  const exchange = send(options, [input, counted, linesFrom(fromLine)]);
  const answer = await exchange.answered;
  if (answer.statusCode !== 200) throw new Error(await refusalOf(answer));
  let counts = { accepted: 0, refused: 0 };
  let last: Told | null = null;
  try {
    for await (const said of linesOf(answer)) {
      if (said.done !== undefined) last = said;
      else if (said.line !== undefined) {
        progress.clear();
        complain(`${file}:${said.line + fromLine - 1}: ${detailOf(said.problem)}`);
      }
      const { accepted, refused } = said;
      if (accepted === undefined || refused === undefined) continue;
      counts = { accepted, refused };
      // Of what was sent a part is on its way, or waits.
      const told = (fromLine - 1 + accepted + refused) / Math.max(1, sent.lines);
      progress.show({ ...counts, share: bytes === null ? null : Math.min(1, told * (sent.bytes / bytes)) });
    }
  } catch {
    // The connection broke; what was told until then is told below.
  }
  exchange.end();
  progress.clear();
  print(`${counts.accepted} accepted, ${counts.refused} refused`);
  if (last?.done === true) return counts.refused === 0;
  // Blank lines count for no task: a line too early is told, never one too late.
  const next = fromLine - 1 + (last?.line ?? counts.accepted + counts.refused + 1);
  const why = last === null ? "the connection broke" : detailOf(last.problem);
  complain(`the import stopped before line ${next}: ${why}`);
  complain(`go on with --from-line ${next}; tasks with keys that stand already are not made twice`);
  return false;
}

interface Exchange {
  /** Rejects where nobody answers. */
  readonly answered: Promise<IncomingMessage>;
  /** Sends no more. */
  end(): void;
}

function send({ base, apiKey }: ImportTasksOptions, [input, ...through]: [Readable, ...Transform[]]): Exchange {
  const url = new URL("/v1/tasks/import", base);
  const authorization = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
  const headers = { "content-type": "application/x-ndjson", ...authorization };
  const sent = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, { method: "POST", headers });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    sent.on("response", resolve);
    sent.on("error", ({ code }: NodeJS.ErrnoException) =>
      reject(
        new Error(
          brokenCodes.has(code ?? "")
            ? "the connection broke before anything was answered: import again; tasks with keys are not made twice"
            : `no Lapse answers at ${base}: start it, or name its address with --url`,
        ),
      ),
    );
  });
  // Where Lapse ends the import first, what is left of the file goes nowhere.
  pipeline([input, ...through, sent]).catch(() => undefined);
  return {
    answered,
    end: () => {
      input.destroy();
      sent.destroy();
    },
  };
}

function linesIn(chunk: Buffer): number {
  let lines = 0;
  for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, at + 1)) lines += 1;
  return lines;
}

/** Leaves out what comes before a line. */
function linesFrom(line: number): Transform {
  let left = line - 1;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      let from = 0;
      while (left > 0) {
        const at = chunk.indexOf(newline, from);
        if (at === -1) return done();
        from = at + 1;
        left -= 1;
      }
      done(null, chunk.subarray(from));
    },
  });
}

async function* linesOf(answer: IncomingMessage): AsyncGenerator<Told> {
  const lines = new LineSplitter(answerLineBytesMax);
  for await (const chunk of answer) {
    for (const line of lines.push(chunk as Buffer)) if (line.fault === null) yield JSON.parse(line.text) as Told;
  }
}

async function refusalOf(answer: IncomingMessage): Promise<string> {
  const text = await textOf(answer);
  const hint = answer.statusCode === 401 ? ": set LAPSE_API_KEY, or give --api-key" : "";
  try {
    return `Lapse answered ${answer.statusCode}: ${detailOf(JSON.parse(text))}${hint}`;
  } catch {
    return `${answer.statusCode} was answered, which is no word of Lapse's${hint}`;
  }
}
