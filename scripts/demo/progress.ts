// Owns what is shown while orders come and go: one line that changes on a terminal, a line every other second elsewhere.

import type { OrderCounts } from "./orders.ts";

const terminalMs = 100;
const plainMs = 2_000;
const clearLine = "\r\u001b[K";

export interface ProgressOptions {
  readonly out: NodeJS.WriteStream;
  readonly orderCount: number;
  readonly count: () => OrderCounts;
}

export interface Progress extends Disposable {
  /** Shows the last state, which stays. */
  end(): void;
}

/** Shows progress until it ends or is disposed of. */
export function startProgress({ out, orderCount, count }: ProgressOptions): Progress {
  const startedMs = performance.now();
  const show = (): void => {
    const { placed, paid, lapsed, waiting } = count();
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
    const line = `${seconds.padStart(5)} s   placed ${placed}/${orderCount}   paid ${paid}   lapsed ${lapsed}   waiting ${waiting}`;
    out.write(out.isTTY ? clearLine + line.slice(0, out.columns - 1) : `${line}\n`);
  };
  const timer = setInterval(show, out.isTTY ? terminalMs : plainMs);
  let isOver = false;
  const stop = (): void => {
    if (isOver) return;
    isOver = true;
    clearInterval(timer);
    if (out.isTTY) out.write("\n");
  };
  return {
    end() {
      show();
      stop();
    },
    [Symbol.dispose]: stop,
  };
}
