// Owns the queues' rows as accepting needs them: a queue comes into being at its first use, and its tasks take over its defaults.

import { sql } from "kysely";
import { monotonicMs } from "../runtime/clock.ts";
import type { QueueDefaults } from "../task/queue.ts";
import type { Connection, Database } from "./database.ts";

/** A change of a queue's defaults holds in other processes within this. */
export const defaultsAgeMaxMs = 1_000;

/** Makes rows for the queues that have none. */
export async function makeQueues(connection: Connection, names: readonly string[]): Promise<void> {
  await sql`insert into lapse.queues (name) select name from unnest(${names}::text[]) as q (name) order by name on conflict do nothing`.execute(
    connection,
  );
}

/** Makes queues of the names that SQL was the first to use. Rows of transactions still open are not seen, and not waited for. */
export async function adoptNewQueues(connection: Connection): Promise<void> {
  const found = await sql<{ name: string }>`select distinct name from lapse.new_queues`.execute(connection);
  if (found.rows.length === 0) return;
  const names = found.rows.map((row) => row.name);
  await makeQueues(connection, names);
  // In this order: a task whose queue has no row, and that nothing names, would never be found.
  await sql`delete from lapse.new_queues n using lapse.queues q where q.name = n.name and n.name = any(${names}::text[])`.execute(
    connection,
  );
}

async function readDefaults(connection: Connection): Promise<Map<string, QueueDefaults>> {
  const found = await sql<{ name: string; defaults: QueueDefaults }>`
    select name, defaults from lapse.queues where defaults <> '{}'`.execute(connection);
  return new Map(found.rows.map(({ name, defaults }) => [name, defaults]));
}

export async function readPausedQueues(connection: Connection): Promise<string[]> {
  const found = await sql<{ name: string }>`select name from lapse.queues where paused`.execute(connection);
  return found.rows.map(({ name }) => name);
}

/** Remembers which queues have a row, and their defaults for a while, so that accepting costs no statement of its own for them. */
export class KnownQueues {
  readonly #database: Database;
  readonly #known = new Set<string>(["default"]);
  /** Rows under way. A batch of a thousand tasks in a new queue asks for one, a thousand times. */
  readonly #making = new Map<string, Promise<void>>();
  #defaults: ReadonlyMap<string, QueueDefaults> = new Map();
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | null = null;
  #changes = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  /** To be awaited before tasks of the queues are accepted: makes rows for those that have none, and has their defaults at hand. */
  async ensure(names: readonly string[]): Promise<void> {
    if (!names.every((name) => this.#known.has(name))) {
      const unknown = [...new Set(names)].filter((name) => !this.#known.has(name)).toSorted();
      const others = unknown.filter((name) => !this.#making.has(name));
      if (others.length > 0) {
        const made = this.#make(others);
        // Whoever waits for another name first may be told of that one's failure alone.
        made.catch(() => undefined);
        for (const name of others) this.#making.set(name, made);
      }
      for (const name of unknown) await this.#making.get(name);
    }
    const oldestMs = monotonicMs() - defaultsAgeMaxMs;
    while (this.#readAtMs < oldestMs) {
      this.#reading ??= this.#read();
      await this.#reading;
    }
  }

  /** As they stood less than a second before `ensure` was called, or later. */
  defaultsOf(name: string): QueueDefaults {
    return this.#defaults.get(name) ?? {};
  }

  /** They were changed here: what was read, or is being read, is old. */
  forgetDefaults(): void {
    this.#readAtMs = Number.NEGATIVE_INFINITY;
    this.#changes += 1;
  }

  async #make(names: readonly string[]): Promise<void> {
    try {
      await this.#database.query((connection) => makeQueues(connection, names));
      for (const name of names) this.#known.add(name);
    } finally {
      for (const name of names) this.#making.delete(name);
    }
  }

  async #read(): Promise<void> {
    const startedMs = monotonicMs();
    const changes = this.#changes;
    try {
      const defaults = await this.#database.query(readDefaults);
      if (changes !== this.#changes) return;
      this.#defaults = defaults;
      this.#readAtMs = startedMs;
    } finally {
      this.#reading = null;
    }
  }
}
