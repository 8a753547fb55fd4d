// Owns the checks of how a long command says how far it is.

import { describe, expect, test } from "vitest";
import { Progress, standText } from "../../src/cli/progress.ts";

const clearLine = "\r\u001b[K";

function begin(isTerminal: boolean) {
  let nowMs = 0;
  const written: string[] = [];
  const progress = new Progress({ write: (text) => void written.push(text), isTerminal, nowMs: () => nowMs });
  return { progress, written, at: (ms: number) => (nowMs = ms) };
}

const half = { accepted: 1_234_000, refused: 2, share: 0.5 };

describe("on a terminal", () => {
  test("a bar is drawn over, at most ten times a second", () => {
    const { progress, written, at } = begin(true);
    for (let ms = 0; ms <= 1_000; ms += 10) {
      at(ms);
      progress.show(half);
    }
    expect(written).toHaveLength(10);
    expect(written.at(-1)).toBe(
      `${clearLine}[##########----------] 50 %, 1,234,000 accepted, 2 refused, 1,234,002/s, 1 s left`,
    );
  });

  test("the bar is taken away for a line, once", () => {
    const { progress, written, at } = begin(true);
    at(200);
    progress.show(half);
    progress.clear();
    progress.clear();
    expect(written.slice(1)).toEqual([clearLine]);
  });

  test("of an input without a known end there is no bar", () => {
    const { progress, written, at } = begin(true);
    at(200);
    progress.show({ ...half, share: null });
    expect(written).toEqual([`${clearLine}1,234,000 accepted, 2 refused, 6,170,010/s`]);
  });
});

test("elsewhere a whole line comes every 5 s, and nothing is drawn over", () => {
  const { progress, written, at } = begin(false);
  for (let ms = 0; ms <= 12_000; ms += 100) {
    at(ms);
    progress.show(half);
  }
  progress.clear();
  expect(written).toEqual([
    "50 %, 1,234,000 accepted, 2 refused, 246,800/s, 5 s left\n",
    "50 %, 1,234,000 accepted, 2 refused, 123,400/s, 10 s left\n",
  ]);
});

test.each([
  [{ accepted: 0, refused: 0, share: 0 }, 0, "0 %, 0 accepted, 0 refused, 0/s"],
  [{ accepted: 999, refused: 1, share: 1 }, 2_000, "100 %, 999 accepted, 1 refused, 500/s, 0 s left"],
])("%j after %i ms is %s", (stand, elapsedMs, text) => {
  expect(standText(stand, elapsedMs)).toBe(text);
});
