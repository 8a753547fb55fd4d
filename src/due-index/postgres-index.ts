// Owns the due index where there is no Redis: the partial index of the tasks themselves. It needs no upkeep, so that entering, moving and
// removing are nothing to do.

import type { DueIndex, Taken, TakeRequest } from "./due-index.ts";

/** The one statement that it stands on. */
export interface DueReader {
  readDue(queue: string, limit: number): Promise<Taken>;
}

export class PostgresIndex implements DueIndex {
  readonly #reader: DueReader;

  constructor(reader: DueReader) {
    this.#reader = reader;
  }

  async take({ queue, limit }: TakeRequest): Promise<Taken> {
    return this.#reader.readDue(queue, limit);
  }

  async put(): Promise<void> {}

  async move(): Promise<void> {}

  async remove(): Promise<void> {}

  async reset(): Promise<void> {}
}
