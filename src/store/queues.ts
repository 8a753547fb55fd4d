// Owns the queues' rows. A queue comes into being at its first use.

import { sql } from "kysely";
import type { Connection, Database } from "./database.ts";

/** Makes rows for the queues that have none. */
export async function makeQueues(connection: Connection, names: readonly string[]): Promise<void> {
  await sql`insert into lapse.queues (name) select name from unnest(${names}::text[]) as q (name) order by name on conflict do nothing`.execute(
    connection,
  );
}

/** Remembers which queues are known to have a row, so that accepting costs no statement for them. */
export class KnownQueues {
  readonly #database: Database;
  readonly #known = new Set<string>(["default"]);

  constructor(database: Database) {
    this.#database = database;
  }

  async ensure(names: Iterable<string>): Promise<void> {
    const unknown = [...new Set(names)].filter((name) => !this.#known.has(name)).toSorted();
    if (unknown.length === 0) return;
    await this.#database.query((connection) => makeQueues(connection, unknown));
    for (const name of unknown) this.#known.add(name);
  }
}
