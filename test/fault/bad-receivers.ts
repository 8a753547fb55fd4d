// Owns the receivers of a fault plan: a good origin and a bad one, whose answers depend on the path and the attempt alone, and what they saw.

import { setTimeout as sleep } from "node:timers/promises";
import type { ReceivedRequest, Receiver, ReceiverAnswer } from "../support/receiver.ts";
import { startReceiver } from "../support/receiver.ts";
import type { Caller } from "./caller.ts";
import type { ReceiverSaid, Seen } from "./history.ts";
import { hostNow, toHostTime } from "./host-clock.ts";

/** Above what Lapse reads of an answer. */
const hugeBytes = 512 * 1024;
const slowMs = 400;
const rescheduleMs = 1_000;
const hangs = { hang: true } as const;

const huge = Buffer.alloc(hugeBytes, "x");
/** NUL, and bytes that are no UTF-8. */
const unstorable = Buffer.from([0x61, 0x00, 0xff, 0xfe, 0x00, 0xed, 0xa0, 0x80]);

/** How a path answers an attempt, counted from 1. A task is sent to one path alone. */
const answers: Readonly<Record<string, (attempt: number) => ReceiverAnswer>> = {
  "/ok": () => ({}),
  "/slow": () => ({ delayMs: slowMs }),
  "/flaky": (attempt) => ({ status: attempt <= 2 ? 500 : 200 }),
  "/gone-once": (attempt) => ({ status: attempt === 1 ? 410 : 200 }),
  "/again": (attempt) => (attempt <= 2 ? { headers: { "lapse-reschedule": `${rescheduleMs}ms` } } : {}),
  "/busy": (attempt) => (attempt === 1 ? { status: 503, headers: { "retry-after": "1" } } : {}),
  "/reset": (attempt) => (attempt === 1 ? { reset: true } : {}),
  "/cut": (attempt) => (attempt === 1 ? { body: "an answer that breaks off", isCutShort: true } : {}),
  "/hang": (attempt) => (attempt === 1 ? hangs : {}),
  "/huge": () => ({ body: huge }),
  "/nul": (attempt) => ({ status: attempt === 1 ? 500 : 200, body: unstorable }),
  "/confirm": () => ({}),
};

export class BadReceivers {
  readonly #good: Receiver;
  readonly #bad: Receiver;
  readonly #said = new Map<ReceivedRequest, ReceiverSaid>();
  #caller: Caller | null = null;

  private constructor(good: Receiver, bad: Receiver) {
    this.#good = good;
    this.#bad = bad;
    for (const receiver of [good, bad]) receiver.answer((request) => this.#answer(request));
  }

  static async start(): Promise<BadReceivers> {
    return new BadReceivers(await startReceiver(), await startReceiver());
  }

  /** Where `/confirm` asks before it acts. */
  confirmBy(caller: Caller): void {
    this.#caller = caller;
  }

  /** What keeps nobody waiting is of the good origin. */
  url(path: string): string {
    const isBad = ["/hang", "/reset", "/cut", "/busy"].includes(path);
    return `${(isBad ? this.#bad : this.#good).url}${path}`;
  }

  get badUrl(): string {
    return this.#bad.url;
  }

  get seen(): Seen[] {
    return [...this.#good.requests, ...this.#bad.requests].map((request) => ({
      id: String(request.headers["webhook-id"]),
      attempt: attemptOf(request),
      dueAt: Date.parse(String(request.headers["lapse-due-at"])),
      timestamp: Number(request.headers["webhook-timestamp"]) * 1_000,
      arrivedAt: toHostTime(request.arrivedAt),
      said: this.#said.get(request) ?? null,
    }));
  }

  get count(): number {
    return this.#good.requests.length + this.#bad.requests.length;
  }

  async close(): Promise<void> {
    await Promise.all([this.#good.close(), this.#bad.close()]);
  }

  async #answer(request: ReceivedRequest): Promise<ReceiverAnswer> {
    const attempt = attemptOf(request);
    const id = String(request.headers["webhook-id"]);
    const { delayMs = 0, ...answer }: ReceiverAnswer = answers[request.path]?.(attempt) ?? {};
    if (delayMs > 0) await sleep(delayMs);
    if (request.path === "/confirm") await this.#caller?.confirm(id, attempt);
    if (answer.hang) return answer;
    const isWhole = !answer.reset && !answer.isCutShort;
    const again = answer.headers?.["lapse-reschedule"] === undefined ? null : rescheduleMs;
    this.#said.set(request, { at: hostNow(), status: isWhole ? (answer.status ?? 200) : null, rescheduleMs: again });
    return answer;
  }
}

function attemptOf({ headers }: ReceivedRequest): number {
  return Number(headers["lapse-attempt"]);
}
