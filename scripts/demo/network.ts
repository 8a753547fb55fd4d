// Owns what lies between Lapse and the shop: it notes every call that passes, and loses some of the answers, as networks do.

import type { RequestHandler, Response } from "express";

/** Of so many answers to first attempts that were acted upon, one is lost. */
const lossPeriod = 25;

export interface Call {
  readonly taskId: string;
  readonly attempt: number;
  /** When its head had come, by this host's clock, in ms since the epoch. */
  readonly arrivedAt: number;
  /** The `lapse-due-at` it came with. */
  readonly dueAt: number;
  /** What the shop answered; null while it has not. */
  status: number | null;
  isAnswerLost: boolean;
}

export class Network {
  readonly calls: Call[] = [];
  #acted = 0;

  /** In front of the shop's receiver. */
  readonly middleware: RequestHandler = (request, response, next) => {
    const call: Call = {
      taskId: request.get("webhook-id") ?? "",
      attempt: Number(request.get("lapse-attempt")),
      arrivedAt: Date.now(),
      dueAt: Date.parse(request.get("lapse-due-at") ?? ""),
      status: null,
      isAnswerLost: false,
    };
    this.calls.push(call);
    const end = response.end.bind(response) as (...rest: unknown[]) => Response;
    const passOrLose = (...rest: unknown[]): Response => {
      call.status = response.statusCode;
      call.isAnswerLost = this.#loses(call);
      if (!call.isAnswerLost) return end(...rest);
      request.socket.resetAndDestroy();
      return response;
    };
    Object.assign(response, { end: passOrLose });
    next();
  };

  #loses({ status, attempt }: Call): boolean {
    if (status !== 200 || attempt !== 1) return false;
    this.#acted += 1;
    return this.#acted % lossPeriod === 1;
  }
}
