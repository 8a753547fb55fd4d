// Owns the callers' HTTP: keep-alive connections with one request each at a time. A client library costs as much as the service that is
// measured with it, and they share the cores: undici's dispatch took twice the CPU of this.

import { connect, type Socket } from "node:net";

export interface Answer {
  readonly status: number;
  /** To be read when the caller has the time. */
  readText(): string;
}

interface Exchange {
  readonly bytes: string;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

const headEnd = "\r\n\r\n";
/** Servers close what is idle for longer (Node: 5 s), and a request that meets the close is lost. */
const idleMsMax = 2_000;

/** Knows answers with a content-length alone, such as Lapse's: anything else rejects. */
export class HttpLoad {
  readonly #connections: Connection[];
  readonly #host: string;
  readonly #waiting: Exchange[] = [];

  constructor(address: string, count: number) {
    const { hostname, port, host } = new URL(address);
    this.#host = host;
    this.#connections = Array.from(
      { length: count },
      () =>
        new Connection(
          () => connect(Number(port), hostname).setNoDelay(),
          () => this.#waiting.shift(),
        ),
    );
  }

  /** Resolves to the answer, of any status. */
  send(method: "POST" | "DELETE", path: string, json: string | null = null): Promise<Answer> {
    const head = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n`;
    const bytes =
      json === null
        ? `${head}\r\n`
        : `${head}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}${headEnd}${json}`;
    return new Promise((resolve, reject) => {
      const exchange = { bytes, resolve, reject };
      const idle = this.#connections.find((connection) => connection.isIdle);
      if (idle === undefined) this.#waiting.push(exchange);
      else idle.start(exchange);
    });
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }
}

class Connection {
  readonly #open: () => Socket;
  readonly #next: () => Exchange | undefined;
  #socket: Socket | null = null;
  #usedMs = 0;
  #exchange: Exchange | null = null;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  /** Of the answer under way, once its head is there. */
  #answer: { readonly status: number; readonly bodyAt: number; readonly bytes: number } | null = null;

  constructor(open: () => Socket, next: () => Exchange | undefined) {
    this.#open = open;
    this.#next = next;
  }

  get isIdle(): boolean {
    return this.#exchange === null;
  }

  start(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#freshSocket().write(exchange.bytes);
  }

  close(): void {
    this.#socket?.destroy();
  }

  #freshSocket(): Socket {
    if (this.#socket !== null && performance.now() - this.#usedMs < idleMsMax) return this.#socket;
    this.#socket
      ?.removeAllListeners()
      .on("error", () => undefined)
      .destroy();
    const socket = this.#open();
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the service closed a connection")));
    this.#socket = socket;
    return socket;
  }

  #receive(chunk: Buffer): void {
    this.#received.push(chunk);
    this.#receivedBytes += chunk.length;
    this.#answer ??= this.#readHead();
    if (this.#answer === null || this.#receivedBytes < this.#answer.bytes) return;
    const { status, bodyAt, bytes } = this.#answer;
    const received = this.#received;
    const exchange = this.#exchange;
    this.#received = [];
    this.#receivedBytes = 0;
    this.#answer = null;
    this.#exchange = null;
    this.#usedMs = performance.now();
    exchange?.resolve({ status, readText: () => Buffer.concat(received).toString("utf8", bodyAt, bytes) });
    const next = this.#exchange === null ? this.#next() : undefined;
    if (next !== undefined) this.start(next);
  }

  #readHead(): { status: number; bodyAt: number; bytes: number } | null {
    const received = this.#joined();
    const end = received.indexOf(headEnd);
    if (end === -1) return null;
    const head = received.toString("latin1", 0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined) this.#fail(new Error(`an answer without a content-length: ${head}`));
    const bodyAt = end + headEnd.length;
    return { status: Number(head.slice(9, 12)), bodyAt, bytes: bodyAt + Number(length) };
  }

  #joined(): Buffer {
    if (this.#received.length > 1) this.#received = [Buffer.concat(this.#received)];
    return this.#received[0] ?? Buffer.alloc(0);
  }

  #fail(error: Error): void {
    this.#exchange?.reject(error);
    this.#exchange = null;
    this.#socket = null;
    this.#received = [];
    this.#receivedBytes = 0;
    this.#answer = null;
  }
}
