// Owns rows of schedules made past the code under test, and reading what became of them.

import { v7 as uuidv7 } from "uuid";
import type { TestStore } from "../store/store.ts";

export const secondMs = 1_000;
export const tz = "2026a";

interface Made {
  readonly id: string;
  readonly at: number;
  readonly late: number;
  readonly state: string;
}

export function scheduleRows(store: TestStore) {
  /** An active schedule of every second, whose next occurrence was `lateMs` ago. */
  async function schedule(columns: Readonly<Record<string, unknown>> = {}, lateMs = 0): Promise<string> {
    const id = uuidv7();
    const next = Math.floor(Date.now() / secondMs) * secondMs - lateMs;
    const trigger = { type: "interval", everyMs: secondMs, startAt: next - 86_400_000, endAt: null, timezone: "UTC" };
    const row = {
      id,
      name: id,
      trigger: JSON.stringify(trigger),
      queue: "default",
      url: "https://shop.example/hooks",
      tz_version: tz,
      next_occurrence_at: new Date(next).toISOString(),
      look_at: new Date(next - 15_000).toISOString(),
      created_at: new Date().toISOString(),
      updated_at: new Date().toISOString(),
      max_instances: 1_000_000,
      ...columns,
    };
    const names = Object.keys(row);
    await store.query(
      `insert into lapse.schedules (${names.join(", ")}) values (${names.map((_, i) => `$${i + 1}`).join(", ")})`,
      Object.values(row),
    );
    return id;
  }

  const tasksOf = (id: string): Promise<Made[]> =>
    store.query<Made>(
      `select id, (extract(epoch from occurrence_at) * 1000)::float8 as at, state,
       (extract(epoch from due_at - occurrence_at) * 1000)::float8 as late
     from lapse.tasks where schedule_id = $1 order by occurrence_at`,
      [id],
    );
  const standing = async (id: string) => {
    const rows = await store.query<{ state: string; error: string | null; tz_version: string; next: Date | null }>(
      "select state, error, tz_version, next_occurrence_at as next from lapse.schedules where id = $1",
      [id],
    );
    return rows[0];
  };
  const end = (id: string) => store.query("delete from lapse.schedules where id = $1", [id]);
  return { schedule, tasksOf, standing, end };
}
