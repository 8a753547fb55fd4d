// Owns taking turns: of much work that asks at once, only so much runs side by side; the rest waits in line.

export class Turns {
  readonly #sideBySideMax: number;
  readonly #line: (() => void)[] = [];
  #running = 0;

  constructor(sideBySideMax: number) {
    this.#sideBySideMax = sideBySideMax;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    // Who ends hands its turn on, so that nobody who comes just then can slip in.
    if (this.#running >= this.#sideBySideMax) await new Promise<void>((resolve) => this.#line.push(resolve));
    else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#line.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
