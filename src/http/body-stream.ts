// Owns reading a request's body as it comes, chunk by chunk, with back-pressure; and which connections carry such a request, which may
// take longer than the server gives to others.

import type { IncomingMessage } from "node:http";
import { startTimer } from "../runtime/clock.ts";
import { ApiProblem } from "./problem.ts";

/** Sockets whose request is read so. */
const streaming = new WeakSet<object>();

/** The server's limit on a request's whole time is not for this one: its reader cuts it off where it stands still. */
export function isStreaming(socket: object): boolean {
  return streaming.has(socket);
}

export class BodyStream {
  readonly #request: IncomingMessage;
  readonly #chunks: Buffer[] = [];
  #wake: () => void = () => undefined;
  #isDiscarded = false;

  constructor(request: IncomingMessage) {
    const { socket } = request;
    this.#request = request;
    streaming.add(socket);
    const woken = (): void => this.#wake();
    request.on("data", (chunk: Buffer) => {
      if (this.#isDiscarded) return;
      this.#chunks.push(chunk);
      request.pause();
      woken();
    });
    request.on("end", woken).on("error", woken);
    request.on("close", () => {
      streaming.delete(socket);
      woken();
    });
    request.pause();
  }

  /**
   * The next chunk, or null at the end, and once the rest is discarded. Nothing is read from the connection before it is asked for.
   * Rejects where the connection breaks.
   */
  async next(): Promise<Buffer | null> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) return chunk;
      if (this.#isDiscarded || this.#request.readableEnded) return null;
      if (this.#request.destroyed) throw new ApiProblem("malformed-request", "The request ended before its body did.");
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      this.#request.resume();
      await promise;
    }
  }

  /**
   * Reads and drops the rest, so that a client that reads only after it has sent all gets to see the answer; the connection is cut where
   * the rest takes longer than `msMax`.
   */
  discard(msMax: number): void {
    if (this.#isDiscarded) return;
    this.#isDiscarded = true;
    this.#chunks.length = 0;
    this.#wake();
    if (this.#request.readableEnded || this.#request.destroyed) return;
    const timer = startTimer(msMax, () => this.#request.socket.destroy());
    this.#request.once("close", () => timer.cancel());
    this.#request.resume();
  }
}
