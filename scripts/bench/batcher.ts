// Owns the limit's group commit: what waits together is written by one statement, and the next starts when the last one returned.

export class Batcher<Item> {
  readonly #write: (items: readonly Item[]) => Promise<void>;
  #items: Item[] = [];
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #isWriting = false;

  constructor(write: (items: readonly Item[]) => Promise<void>) {
    this.#write = write;
  }

  /** Resolves once the item is written. */
  add(item: Item): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#items.push(item);
      this.#waiting.push({ resolve, reject });
      if (!this.#isWriting) void this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    // What comes in this turn of the event loop goes along.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#items.length > 0) {
      const items = this.#items;
      const waiting = this.#waiting;
      this.#items = [];
      this.#waiting = [];
      try {
        await this.#write(items);
        for (const { resolve } of waiting) resolve();
      } catch (error) {
        for (const { reject } of waiting) reject(error);
      }
    }
    this.#isWriting = false;
  }
}
