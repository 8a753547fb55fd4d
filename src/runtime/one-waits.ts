// Owns waiting in the name of many: of those who need the same lock one waits, and where it waited in vain the others know.

export class OneWaits<Outcome> {
  readonly #waiting = new Map<string, Promise<Outcome>>();
  readonly #isInVain: (outcome: Outcome) => boolean;

  constructor(isInVain: (outcome: Outcome) => boolean) {
    this.#isInVain = isInVain;
  }

  has(name: string): boolean {
    return this.#waiting.has(name);
  }

  /** Runs `work` when nobody else runs under the name. A wait in vain that was under way is shared; a rejection is not. */
  async run(name: string, work: () => Promise<Outcome>): Promise<Outcome> {
    for (let other = this.#waiting.get(name); other !== undefined; other = this.#waiting.get(name)) {
      const outcome = await other.catch(() => null);
      if (outcome !== null && this.#isInVain(outcome)) return outcome;
    }
    const own = work();
    this.#waiting.set(name, own);
    try {
      return await own;
    } finally {
      this.#waiting.delete(name);
    }
  }
}
