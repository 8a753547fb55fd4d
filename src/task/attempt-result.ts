// Owns what one call can come to: what the world did, as a value.

/** What the receiver's answer said beyond its status, each header as it was sent, or null. */
export interface AnswerHeaders {
  readonly retryAfter: string | null;
  readonly reschedule: string | null;
  readonly schedule: string | null;
  readonly noRetry: string | null;
  readonly location: string | null;
}

export type AttemptResult =
  /** A whole answer came (its body perhaps cut at the cap). */
  | { readonly kind: "answered"; readonly status: number; readonly headers: AnswerHeaders; readonly snippet: string }
  /** The request was sent, and no whole answer came within the timeout. */
  | { readonly kind: "timed-out"; readonly error: string }
  /** The request was sent, and the connection broke, or what came was not HTTP. */
  | { readonly kind: "reset"; readonly error: string }
  /** No connection: nothing was sent. */
  | { readonly kind: "refused"; readonly error: string }
  /** The address or the port is not allowed: nothing was sent. */
  | { readonly kind: "blocked"; readonly error: string }
  /** No request can be made of the task, now or later: nothing was sent. */
  | { readonly kind: "unsendable"; readonly error: string }
  /** The call was aborted by a drain, or its process died: whether the receiver acted is unknown. */
  | { readonly kind: "lost"; readonly error: string };
