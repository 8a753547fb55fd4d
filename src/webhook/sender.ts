// Owns sending: turns a claimed task into one HTTP call and the call into a result. Redirects are never followed.

import type { AttemptResult } from "../task/attempt-result.ts";
import type { ClaimedTask } from "../task/claimed-task.ts";
import { type HttpMethod, httpMethods, type TaskBody } from "../task/task.ts";
import type { AddressGuard } from "./address-guard.ts";
import { Call, type SendResult } from "./call.ts";
import type { ConfirmTokens } from "./confirm-token.ts";
import { Connections } from "./connections.ts";
import { createConnector } from "./connector.ts";
import { checkHeaders } from "./header-rules.ts";
import { buildHeaders, checkContentType } from "./headers.ts";
import { type SigningKey, sign } from "./signing.ts";
import { readTarget, type Target } from "./target.ts";

const noBytes = Buffer.alloc(0);

export interface SenderParts {
  readonly guard: AddressGuard;
  /** One, or two while one is being rotated out: each signs. */
  readonly signingKeys: readonly SigningKey[];
  readonly confirmTokens: ConfirmTokens;
  /** Of Lapse, for `user-agent`. */
  readonly version: string;
}

export interface SendTerms {
  /** Whether this process still owns the attempt; asked after connecting, just before the first byte of the request is written. */
  readonly mayStart: () => boolean;
  /** Postgres's time in ms since the epoch, for the signature's timestamp. */
  readonly now: () => number;
}

/** What a request without a body is expected to be: some receivers take the body of such a one for the next request. */
const bodilessMethods: ReadonlySet<HttpMethod> = new Set(["GET", "DELETE"]);

/** Sends webhooks. How many at a time is its caller's to bound (slots). */
export class Sender {
  readonly #parts: SenderParts;
  readonly #connections: Connections;
  readonly #calls = new Set<Call>();

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.#connections = new Connections(createConnector(parts.guard));
  }

  /**
   * Makes the attempt's one call. Never rejects for what the world does; `withheld` means that nothing was sent, because `mayStart`
   * said no: nothing is to be recorded then.
   */
  async send(task: ClaimedTask, terms: SendTerms): Promise<SendResult> {
    const target = this.#readTarget(task);
    if ("kind" in target) return target;
    const body = bodyBytes(task.body);
    const call = new Call({
      request: {
        origin: target.origin,
        host: target.hostname,
        path: target.path,
        method: task.method,
        headers: this.#headers(task, body ?? noBytes, terms.now()),
        body,
        timeoutMs: task.timeoutMs,
        // A receiver may close a kept connection in the very moment in which the next request leaves. That attempt is lost to a reset, and
        // a task that is sent at most once would end failed for nothing that its receiver did.
        connection: task.delivery === "at-most-once" ? "fresh" : "any",
        isLast: body !== null && bodilessMethods.has(task.method),
      },
      connections: this.#connections,
      mayStart: terms.mayStart,
    });
    this.#calls.add(call);
    const result = await call.result;
    this.#calls.delete(call);
    return result;
  }

  get callCount(): number {
    return this.#calls.size;
  }

  /** Ends every call in flight: `lost`, or `refused` where nothing had been sent yet. */
  abortAll(): void {
    for (const call of this.#calls) call.abort();
  }

  /** Aborts what is in flight and closes every connection. */
  close(): void {
    this.abortAll();
    this.#connections.closeIdle();
  }

  /** Rows are made by SQL too, and rules may have changed since a task was accepted: everything is checked again here. */
  #readTarget(task: ClaimedTask): AttemptResult | Target {
    const form = readTarget(task.url);
    if (task.damage !== null) return { kind: "unsendable", error: task.damage };
    if ("fault" in form) return { kind: "unsendable", error: `The URL ${form.fault}` };
    const fault = formFault(task);
    if (fault !== null) return { kind: "unsendable", error: fault };
    const { target } = form;
    const urlFault = this.#parts.guard.checkTarget(target);
    if (urlFault === null) return target;
    return { kind: "blocked", error: `egress_blocked: ${target.hostname}: the URL ${urlFault}` };
  }

  #headers(task: ClaimedTask, body: Buffer, now: number): string[] {
    const { signingKeys, confirmTokens, version } = this.#parts;
    const timestampSeconds = Math.floor(now / 1_000);
    return buildHeaders(task, {
      timestampSeconds,
      signature: sign(signingKeys, { id: task.id, timestampSeconds, body }),
      confirmToken: confirmTokens.create(task.id, task.attempt),
      userAgent: `Lapse/${version}`,
    });
  }
}

/** What no setting and no later attempt can mend, besides the URL. */
function formFault(task: ClaimedTask): string | null {
  if (!httpMethods.includes(task.method)) return `The method must be one of ${httpMethods.join(", ")}`;
  const [fault] = checkHeaders(task.headers);
  if (fault !== undefined) return `The header ${JSON.stringify(fault.name)} ${fault.message}`;
  const typeFault = task.body.kind === "raw" ? checkContentType(task.body.contentType) : null;
  return typeFault === null ? null : `The contentType ${typeFault}`;
}

/** The very bytes that are signed and sent. */
function bodyBytes(body: TaskBody): Buffer | null {
  if (body.kind === "none") return null;
  return Buffer.from(body.kind === "payload" ? body.json : body.text);
}
