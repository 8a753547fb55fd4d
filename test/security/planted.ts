// Owns tasks whose rows were changed behind the API's back, as SQL may do, or as they were accepted under other rules: what the API would
// have refused is then for the sender to stop.

import pg from "pg";
import type { TaskJson } from "../support/api.ts";
import { until } from "../support/flow.ts";
import type { TestService } from "../support/service.ts";

/** The most that a batch takes, and that a page of a listing holds. */
const [batchMax, pageMax] = [1_000, 500];

export interface Planter {
  /** Has one task for each value fire, with the value in that column of its row; resolves to all of them, ended. */
  fire(
    column: "url" | "headers" | "method" | "content_type",
    values: readonly string[],
    task?: object,
  ): Promise<TaskJson[]>;
  close(): Promise<void>;
}

export async function startPlanter({ api, databaseUrl }: TestService): Promise<Planter> {
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();

  const plant = async (column: string, values: readonly string[], task: object): Promise<void> => {
    const { items } = (await api.post("/v1/tasks/batch", { tasks: values.map(() => task) })).as<{
      items: { task: TaskJson }[];
    }>();
    await database.query(
      `update lapse.tasks set ${column} = given.value::${column === "headers" ? "jsonb" : "text"},
         due_at = date_trunc('milliseconds', now()), next_attempt_at = now()
       from unnest($1::uuid[], $2::text[]) as given (id, value) where tasks.id = given.id`,
      [items.map((item) => item.task.id), values],
    );
  };
  const countLive = async (queue: string): Promise<number> => {
    const { rows } = await database.query<{ live: number }>(
      "select count(*)::int as live from lapse.tasks where queue = $1 and finished_at is null",
      [queue],
    );
    return rows[0]?.live ?? 0;
  };
  const read = async (queue: string): Promise<TaskJson[]> => {
    const items: TaskJson[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const from: string = cursor === "" ? "" : `&cursor=${cursor}`;
      const page: { items: TaskJson[]; nextCursor: string | null } = (
        await api.get(`/v1/tasks?queue=${queue}&limit=${pageMax}${from}`)
      ).as();
      items.push(...page.items);
      cursor = page.nextCursor;
    }
    return items;
  };
  return {
    async fire(column, values, task = {}) {
      const queue = `planted-${crypto.randomUUID()}`;
      const fields = { url: "https://shop.example/", delay: "1h", queue, retry: { maxAttempts: 1 }, ...task };
      for (let at = 0; at < values.length; at += batchMax) await plant(column, values.slice(at, at + batchMax), fields);
      await until(
        () => countLive(queue),
        (live) => live === 0,
      );
      return read(queue);
    },
    close: () => database.end(),
  };
}
