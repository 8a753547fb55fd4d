// Owns knowing what is under way: whoever stops waits for it.

export class UnderWay {
  readonly #works = new Set<Promise<unknown>>();

  run<T>(work: () => Promise<T>): Promise<T> {
    const running = work().finally(() => this.#works.delete(running));
    this.#works.add(running);
    return running;
  }

  /** Resolves when nothing is under way, however it ended. */
  async ended(): Promise<void> {
    while (this.#works.size > 0) await Promise.allSettled(this.#works);
  }
}
