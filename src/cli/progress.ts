// Owns how far a long command is, on standard error: a bar that is drawn over where a person looks on, a line now and then where none does.

export interface ProgressParts {
  readonly write: (text: string) => void;
  /** Whether what is written can be drawn over. */
  readonly isTerminal: boolean;
  /** Of a monotonic clock. */
  readonly nowMs: () => number;
}

export interface Stand {
  readonly accepted: number;
  readonly refused: number;
  /** From 0 to 1; null where nobody knows how much there is. */
  readonly share: number | null;
}

const barCells = 20;
const drawEveryMs = 100;
const printEveryMs = 5_000;
const clearLine = "\r\u001b[K";

export class Progress {
  readonly #parts: ProgressParts;
  readonly #startedMs: number;
  #shownMs: number;
  #isDrawn = false;

  constructor(parts: ProgressParts) {
    this.#parts = parts;
    this.#startedMs = parts.nowMs();
    this.#shownMs = this.#startedMs;
  }

  /** May be called as often as there is news. */
  show(stand: Stand): void {
    const { write, isTerminal, nowMs } = this.#parts;
    const now = nowMs();
    if (now - this.#shownMs < (isTerminal ? drawEveryMs : printEveryMs)) return;
    this.#shownMs = now;
    const text = standText(stand, now - this.#startedMs);
    write(isTerminal ? `${clearLine}${barOf(stand.share)}${text}` : `${text}\n`);
    this.#isDrawn = isTerminal;
  }

  /** Takes the bar away, so that a line can be printed. */
  clear(): void {
    if (this.#isDrawn) this.#parts.write(clearLine);
    this.#isDrawn = false;
  }
}

function barOf(share: number | null): string {
  if (share === null) return "";
  const full = Math.round(share * barCells);
  return `[${"#".repeat(full)}${"-".repeat(barCells - full)}] `;
}

/** `52 %, 520,000 accepted, 3 refused, 21,304/s, 23 s left`. */
export function standText({ accepted, refused, share }: Stand, elapsedMs: number): string {
  const perSecond = elapsedMs > 0 ? ((accepted + refused) * 1_000) / elapsedMs : 0;
  const leftSeconds = share === null || share === 0 ? null : (elapsedMs * (1 - share)) / share / 1_000;
  return [
    ...(share === null ? [] : [`${Math.floor(share * 100)} %`]),
    `${grouped(accepted)} accepted`,
    `${grouped(refused)} refused`,
    `${grouped(Math.round(perSecond))}/s`,
    ...(leftSeconds === null ? [] : [`${grouped(Math.ceil(leftSeconds))} s left`]),
  ].join(", ");
}

/** 1234567 is 1,234,567. */
function grouped(count: number): string {
  return String(count).replaceAll(/\B(?=(?:\d{3})+$)/g, ",");
}
