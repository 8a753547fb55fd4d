// Owns one HTTP call, from connecting to its result. The result comes once; whatever undici still reports after it is ignored.

import type { Dispatcher } from "undici";
import { monotonicMs, startTimer, type Timer } from "../runtime/clock.ts";
import { failpoint } from "../runtime/failpoint.ts";
import type { AnswerHeaders, AttemptResult } from "../task/attempt-result.ts";
import { formatDuration } from "../task/duration.ts";
import type { Connection, Connections } from "./connections.ts";
import { failedToAnswer, failedToConnect } from "./failure.ts";
import { Snippet } from "./snippet.ts";

/** An answer's body is read this far; the connection is then dropped, since the status has decided. */
const bodyBytesMax = 64 * 1024;
/** All that may come for one call, announcements (1xx), chunk extensions and trailers included, of which a body's cap knows nothing. */
const answerBytesMax = 1024 * 1024;
/** How often what came is counted, besides at every announcement. */
const countEveryMs = 1_000;
/** Below this a status is an announcement (1xx), and the answer is still to come. */
const finalStatusMin = 200;
/** An answer that ends with its head, whatever length that speaks of (RFC 9112, section 6.3). */
const noContentStatus = 204;

export type SendResult = AttemptResult | { readonly kind: "withheld" };

export interface CallRequest {
  readonly origin: string;
  /** What errors call the target. */
  readonly host: string;
  readonly path: string;
  readonly method: Dispatcher.HttpMethod;
  readonly headers: string[];
  readonly body: Buffer | null;
  readonly timeoutMs: number;
  readonly connection: "any" | "fresh";
  /** No further call may follow on its connection. */
  readonly isLast: boolean;
}

export class Call implements Dispatcher.DispatchHandler {
  readonly result: Promise<SendResult>;
  readonly #request: CallRequest;
  readonly #connections: Connections;
  #connection: Connection;
  #bytesReadBefore: number;
  readonly #mayStart: () => boolean;
  readonly #resolve: (result: SendResult) => void;
  readonly #deadlineMs: number;
  readonly #snippet = new Snippet();
  #state: "connecting" | "sent" | "ended" = "connecting";
  #timer: Timer | null = null;
  #status: number | null = null;
  #answerHeaders: AnswerHeaders = { retryAfter: null, reschedule: null, schedule: null, noRetry: null, location: null };
  #bodyBytes = 0;

  /** Begins the call at once. `mayStart` is asked after connecting, just before the request is written. */
  constructor(parts: { request: CallRequest; connections: Connections; mayStart: () => boolean }) {
    const { promise, resolve } = Promise.withResolvers<SendResult>();
    this.result = promise;
    this.#resolve = resolve;
    this.#request = parts.request;
    this.#connections = parts.connections;
    this.#mayStart = parts.mayStart;
    this.#deadlineMs = monotonicMs() + parts.request.timeoutMs;
    this.#connection = parts.connections.take(parts.request.origin, parts.request.connection);
    this.#bytesReadBefore = this.#connection.bytesRead;
    this.#startTimer();
    // Only once the event loop has asked the sockets is it known that a receiver has closed a kept connection. undici waits for the end of
    // the turn, which is too soon for a call that begins in a socket's own event: each one just after a close was lost to a reset (100 of
    // 100; none so). No throughput was lost by it (16,000 calls a second on one core, with and without).
    if (this.#connection.wasUsed) setImmediate(() => this.#dispatch());
    else this.#dispatch();
  }

  /** For a drain that waits no longer. What was not sent is known not to have been: it may be tried again, also at most once. */
  abort(): void {
    const result: SendResult =
      this.#state === "sent"
        ? { kind: "lost", error: "The call was still open when its process had to stop" }
        : { kind: "refused", error: "No connection yet when the process had to stop" };
    this.#end(result, "drop");
  }

  /** undici: connected, nothing written yet. The last moment to send nothing. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    const mayStart = this.#state === "connecting" && this.#mayStart();
    if (mayStart) {
      failpoint("fire.connected");
      this.#state = "sent";
      return;
    }
    // undici writes a request once; should it ever come back with one that was sent, a second copy must not leave.
    const wasSent = this.#state === "sent";
    this.#end(wasSent ? failedToAnswer(null) : { kind: "withheld" }, "drop");
    controller.abort(new Error("withheld"));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    failpoint("fire.answering");
    if (status < finalStatusMin) return this.#countAnswer();
    this.#status = status;
    this.#answerHeaders = {
      retryAfter: headerText(headers["retry-after"]),
      reschedule: headerText(headers["lapse-reschedule"]),
      schedule: headerText(headers["lapse-schedule"]),
      noRetry: headerText(headers["lapse-no-retry"]),
      location: headerText(headers["location"]),
    };
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === "ended") return;
    this.#bodyBytes += chunk.length;
    this.#snippet.add(chunk);
    if (this.#bodyBytes > bodyBytesMax) this.#answered("drop");
  }

  onResponseEnd(): void {
    this.#answered("keep");
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    // A kept connection whose receiver reset it while it was idle: nothing was sent, so it costs no attempt.
    if (this.#state === "connecting" && this.#connection.wasUsed) return this.#dispatchAfresh();
    if (this.#status === noContentStatus) return this.#answered("drop");
    const result = this.#state === "sent" ? failedToAnswer(error) : failedToConnect(error, this.#request.host);
    this.#end(result, "drop");
  }

  #dispatch(): void {
    const { path, method, headers, body, isLast } = this.#request;
    this.#connection.client.dispatch({ path, method, headers, body, reset: isLast }, this);
  }

  #dispatchAfresh(): void {
    this.#connection.destroy();
    this.#connection = this.#connections.take(this.#request.origin, "fresh");
    this.#bytesReadBefore = 0;
    this.#dispatch();
  }

  #answered(connection: "keep" | "drop"): void {
    const status = this.#status;
    if (status === null) throw new Error("An answer's body came before its status");
    this.#end({ kind: "answered", status, headers: this.#answerHeaders, snippet: this.#snippet.text() }, connection);
  }

  /** One timer is capped (runtime/clock.ts), and may fire early by a fraction: it looks at the deadline each time. */
  #startTimer(): void {
    const leftMs = this.#deadlineMs - monotonicMs();
    this.#timer = startTimer(Math.min(leftMs, countEveryMs), () => this.#lookAtTime());
  }

  #lookAtTime(): void {
    if (monotonicMs() >= this.#deadlineMs) return this.#timeOut();
    this.#countAnswer();
    if (this.#state !== "ended") this.#startTimer();
  }

  /** A receiver that never comes to the point would keep this process reading for the whole of the timeout. */
  #countAnswer(): void {
    if (this.#connection.bytesRead - this.#bytesReadBefore <= answerBytesMax) return;
    this.#end({ kind: "reset", error: "The answer goes on and on without being one" }, "drop");
  }

  #timeOut(): void {
    const within = formatDuration(Math.ceil(this.#request.timeoutMs));
    if (this.#state === "connecting")
      return this.#end({ kind: "refused", error: `No connection within ${within}` }, "drop");
    const came = this.#status === null ? "No answer" : `Status ${this.#status}, but not the whole answer`;
    this.#end({ kind: "timed-out", error: `${came} within ${within}` }, "drop");
  }

  #end(result: SendResult, connection: "keep" | "drop"): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#timer?.cancel();
    if (connection === "keep") this.#connections.giveBack(this.#connection);
    else this.#connection.destroy();
    this.#resolve(result);
  }
}

/** A header given several times is one list (RFC 9110, section 5.3), which none of ours may be: it will not be understood. */
function headerText(value: string | string[] | undefined): string | null {
  if (value === undefined) return null;
  return typeof value === "string" ? value : value.join(", ");
}
