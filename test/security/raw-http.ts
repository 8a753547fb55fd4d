// Owns talking to the API over a bare socket: bytes as a test has them, which no client library would send.

import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A server that neither answers nor closes for so long does not. */
const silenceMsMax = 10_000;

export interface RawAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RawConnection {
  readonly socket: Socket;
  /** All that came so far. */
  received(): string;
  /** Resolves with all that came once the server has closed the connection; rejects where it does not. */
  readonly closed: () => Promise<string>;
}

export function openRaw(url: string): RawConnection {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  let text = "";
  const ended = Promise.withResolvers<void>();
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => (text += chunk));
  // A server that closes while bytes are still on their way resets the connection; what it said before has come.
  socket.on("error", () => ended.resolve()).on("end", () => ended.resolve());
  return {
    socket,
    received: () => text,
    closed: async () => {
      const timer = setTimeout(
        () => ended.reject(new Error(`The connection stays open; it said: ${text}`)),
        silenceMsMax,
      );
      await ended.promise.finally(() => clearTimeout(timer));
      return text;
    },
  };
}

/** Sends the bytes and resolves to the answers, once the server has closed. */
export async function sendRaw(url: string, bytes: string): Promise<RawAnswer[]> {
  const connection = openRaw(url);
  connection.socket.write(bytes, "latin1");
  return parseAnswers(await connection.closed());
}

/** Answers of a stated length, one after the other. */
export function parseAnswers(text: string): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = text; rest !== ""; ) {
    const [, status, head = ""] = /^HTTP\/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(rest) ?? [];
    if (status === undefined) throw new Error(`Not an answer: ${rest}`);
    const lines = head.split("\r\n").filter((line) => line !== "");
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
    );
    const bodyAt = rest.indexOf("\r\n\r\n") + 4;
    const bodyEnd = bodyAt + Number(headers["content-length"] ?? 0);
    answers.push({ status: Number(status), headers, body: rest.slice(bodyAt, bodyEnd) });
    rest = rest.slice(bodyEnd);
  }
  return answers;
}
